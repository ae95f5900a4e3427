package compute

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// RecordCopy is what a host keeps of the records of one VM that it runs or whose disks it looks after, or of one
// volume that no VM has. Where a backup of the cloud is brought back that is older than the VM, it is registered by it.
type RecordCopy struct {
	// ID is the VM's or the volume's.
	ID resource.ID `json:"id"`
	// Digest changes with each change of the records.
	Digest string `json:"digest"`
	// Content is a RecordSet as JSON, and Signature that of the cloud's authority, so that a host returns nothing but
	// what it was given.
	Content   []byte `json:"content"`
	Signature []byte `json:"signature"`
}

// RecordSet is the records of one VM or volume as they were at one instant.
type RecordSet struct {
	// Kind, ID and Name are the VM's or the volume's, Project is the name of its project.
	Kind    resource.Kind `json:"kind"`
	ID      resource.ID   `json:"id"`
	Name    string        `json:"name"`
	Project string        `json:"project"`
	// Taken is when the server read them.
	Taken time.Time `json:"taken"`
	// Records are all, those that others need first.
	Records []json.RawMessage `json:"records"`
}

// Signer signs what hosts keep for the cloud, and knows its signature again.
type Signer interface {
	Sign(purpose string, content []byte) ([]byte, error)
	Signed(purpose string, content, signature []byte) bool
}

// copyPurpose is what such a signature is good for.
const copyPurpose = "virga record copy"

// whose lists the VMs and volumes whose records a host keeps, by id: the VMs that run on it, and those whose disks it
// looks after.
func whose(snap *store.Snapshot, hostID resource.ID) []resource.ID {
	found := map[resource.ID]bool{}
	for _, i := range store.Referring(snap, Instances, hostID) {
		if i.Spec.HostID == hostID {
			found[i.Spec.VMID] = true
		}
	}
	for _, a := range store.Referring(snap, storage.Allocations, hostID) {
		if a.Spec.OwnerHostID == hostID {
			found[diskOf(snap, a.Spec.VolumeID)] = true
		}
	}
	var out []resource.ID
	for id := range found {
		if x := snap.Lookup(id); x != nil && x.Head().Deleting == nil {
			out = append(out, id)
		}
	}
	slices.Sort(out)
	return out
}

// diskOf gives the VM that a volume is a disk of, or the volume itself.
func diskOf(snap *store.Snapshot, volumeID resource.ID) resource.ID {
	for _, vm := range store.Referring(snap, VMs, volumeID) {
		if slices.ContainsFunc(vm.Status.Disks, func(d DiskStatus) bool { return d.VolumeID == volumeID }) {
			return vm.ID
		}
	}
	return volumeID
}

// gathering collects the records of one VM or volume.
type gathering struct {
	snap    *store.Snapshot
	catalog *resource.Catalog
	seen    map[resource.ID]bool
	out     []resource.Object
}

// gather lists the records of a VM or volume, those that others need first: what it alone needs, what was made for
// it, and what of its project all that needs.
func gather(catalog *resource.Catalog, snap *store.Snapshot, id resource.ID) []resource.Object {
	g := &gathering{snap: snap, catalog: catalog, seen: map[resource.ID]bool{}}
	if x := snap.Lookup(id); x != nil {
		g.own(x)
	}
	return g.out
}

// own takes a record that belongs to what is gathered.
func (g *gathering) own(x resource.Object) {
	if g.seen[x.Head().ID] || x.Head().Deleting != nil {
		return
	}
	g.seen[x.Head().ID] = true
	g.needs(x)
	g.out = append(g.out, x)
	for y := range g.snap.Mentioning(x.Head().ID) {
		if g.goesWith(y, x.Head().ID) {
			g.own(y)
		}
	}
}

// needs takes what a record needs: what it has alone whole, of the rest the record.
func (g *gathering) needs(x resource.Object) {
	kind, _ := g.catalog.Lookup(x.Head().Kind)
	if tenant, known := g.catalog.Tenant(); known && kind.Scope == resource.InProject {
		g.lend(tenant.Kind, x.Head().Project)
	}
	for _, n := range kind.Needs(x) {
		other := g.snap.Lookup(n.ID)
		switch {
		case other == nil:
		case n.Tie == resource.Alone:
			g.own(other)
		case n.Tie == resource.Keeping:
			g.lend(n.Kind, n.ID)
		}
	}
}

// lend takes a record that others may use too, with what it needs in turn. Hosts and what they have, other VMs and
// volumes must be there when the records come back.
func (g *gathering) lend(kind resource.Kind, id resource.ID) {
	x, of := g.snap.Lookup(id), descriptor(g.catalog, kind)
	if x == nil || g.seen[id] || x.Head().Deleting != nil || isRoot(kind) || of.Scope == resource.InCloud && !of.Tenant && kind != Pools.Kind {
		return
	}
	g.seen[id] = true
	g.needs(x)
	g.out = append(g.out, x)
	if kind == networkKind {
		for y := range g.snap.Mentioning(id) {
			if y.Head().Kind == subnetKind {
				g.lend(subnetKind, y.Head().ID)
			}
		}
	}
}

// goesWith reports whether a record was made for another one and is lost with it.
func (g *gathering) goesWith(y resource.Object, id resource.ID) bool {
	kind := descriptor(g.catalog, y.Head().Kind)
	if kind.Past || kind.Needs == nil || isRoot(kind.Kind) || slices.Contains(passing, kind.Kind) {
		return false
	}
	return y.Head().OwnedBy(id) || slices.ContainsFunc(kind.Needs(y), func(n resource.Need) bool {
		return n.ID == id && (n.Tie != resource.Keeping || kind.Kind == storage.VolumeSnapshots.Kind)
	})
}

// The kinds by which people know what they have lost, those that pass, and those of networks.
func isRoot(kind resource.Kind) bool { return kind == VMs.Kind || kind == storage.Volumes.Kind }

var passing = []resource.Kind{"operation", "task", "evacuation"}

const (
	networkKind resource.Kind = "network"
	subnetKind  resource.Kind = "subnet"
)

func descriptor(catalog *resource.Catalog, kind resource.Kind) resource.Descriptor {
	d, _ := catalog.Lookup(kind)
	return d
}

// moves reports whether a VM of what was gathered is on its way from one host to another. Its records speak of an
// operation; those from before or after are kept.
func moves(records []resource.Object) bool {
	return slices.ContainsFunc(records, func(x resource.Object) bool {
		i, is := x.(*Instance)
		return is && (i.Spec.Outgoing != nil || i.Spec.Incoming != nil)
	})
}

// digestOf is a word that changes with each change of the records.
func digestOf(records []resource.Object) string {
	h := sha256.New()
	for _, x := range records {
		h.Write([]byte(x.Head().ID))
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(x.Head().Revision)))
	}
	return base64.RawURLEncoding.EncodeToString(h.Sum(nil)[:18])
}

// copyOf writes down and signs what was gathered.
func copyOf(snap *store.Snapshot, id resource.ID, records []resource.Object, by Signer, now time.Time) (RecordCopy, error) {
	root := snap.Lookup(id).Head()
	set := RecordSet{Kind: root.Kind, ID: id, Name: root.Name, Project: snap.NameOf(root.Project), Taken: now}
	for _, x := range records {
		text, err := resource.Encode(x)
		if err != nil {
			return RecordCopy{}, fault.New(fault.Internal, "write down %s: %w", x.Head().Ref(), err)
		}
		set.Records = append(set.Records, text)
	}
	content, err := json.Marshal(set)
	if err != nil {
		return RecordCopy{}, fault.New(fault.Internal, "write down the records of %s %s: %w", root.Kind, root.Name, err)
	}
	signature, err := by.Sign(copyPurpose, content)
	return RecordCopy{ID: id, Digest: digestOf(records), Content: content, Signature: signature}, err
}

// Set reads what a copy has, without judging whether it was signed.
func (c RecordCopy) Set() (set RecordSet, err error) {
	if err = json.Unmarshal(c.Content, &set); err == nil && set.ID != c.ID {
		err = fault.New(fault.Invalid, "it is of %s", set.ID)
	}
	return set, fault.Wrap(err, "read the records that were kept of %s", c.ID)
}

// read gives the records of a copy that the cloud has signed.
func (c RecordCopy) read(catalog *resource.Catalog, by Signer) (set RecordSet, out []resource.Object, err error) {
	if set, err = c.Set(); err != nil {
		return set, nil, err
	}
	if !by.Signed(copyPurpose, c.Content, c.Signature) {
		return set, nil, fault.New(fault.Denied, "the records of %s %s are not as this cloud gave them out: a backup of another cloud was brought back, or somebody has changed them; nothing is registered by them", set.Kind, set.Name)
	}
	for _, text := range set.Records {
		var head resource.Meta
		if err := json.Unmarshal(text, &head); err != nil {
			return set, nil, fault.New(fault.Invalid, "read the records of %s %s: %w", set.Kind, set.Name, err)
		}
		kind, known := catalog.Lookup(head.Kind)
		if !known {
			return set, nil, fault.New(fault.Precondition, "the records of %s %s have a %s, which this server does not know; update it", set.Kind, set.Name, head.Kind)
		}
		x, err := kind.Decode(text, 0)
		if err != nil {
			return set, nil, fault.New(fault.Invalid, "read the records of %s %s: %w", set.Kind, set.Name, err)
		}
		out = append(out, x)
	}
	return set, out, nil
}
