package sim

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/cluster"
	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	computeon "github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// invariants remember what must never fall, and when the records were judged last.
type invariants struct {
	revision int64
	epochs   map[resource.ID]int64
	starts   map[resource.ID]map[resource.ID]bool // VM -> instances that were seen running
}

func newInvariants() invariants {
	return invariants{epochs: map[resource.ID]int64{}, starts: map[resource.ID]map[resource.ID]bool{}}
}

// seenGuest is a guest on a host.
type seenGuest struct {
	computeon.Guest
	h  *Host
	vm computeon.VMConfig
}

// guests are those on all hosts but the removed: of what runs there somebody has vouched that it does
// not, and no invariant can help who vouches wrongly. Stories ask for it by themselves.
func (c *Cluster) guests() []seenGuest {
	var out []seenGuest
	for _, h := range c.hosts {
		if host.Removed(c.all.Snapshot(), h.ID) {
			continue
		}
		for _, g := range h.guests.Guests() {
			m, _ := h.guests.VM(g.ID)
			out = append(out, seenGuest{g, h, m})
		}
	}
	return out
}

// judge checks the invariants after a step that has changed anything.
func (c *Cluster) judge() {
	if !c.touched && c.all.Revision() == c.invariants.revision {
		return
	}
	c.touched = false
	snap := c.all.Snapshot()
	c.judgeGuests(snap)
	c.judgeHosts(snap)
	if revision := c.all.Revision(); revision != c.invariants.revision {
		c.judgeSight(snap)
		c.invariants.revision = revision
		c.judgeEpochs(snap)
		c.judgeAddresses(snap)
		c.judgeClaims(snap)
		c.judgeHolders(snap)
		c.judgeUses(snap)
	}
}

// opened reports whether a guest has its disks open for writing.
func opened(s computeon.State) bool {
	return s.Alive() && s != computeon.Incoming && s != computeon.Received && s != computeon.Sent
}

// judgeGrown: a file that a guest has open is grown by its QEMU alone.
func (c *Cluster) judgeGrown(volumeID resource.ID) {
	for _, g := range c.guests() {
		for _, d := range g.vm.Disks {
			if d.ID == volumeID && g.State.Alive() {
				c.fail("volume %s was grown behind the back of its guest on %s (%s)", volumeID, g.h.Name, g.State)
			}
		}
	}
}

func (c *Cluster) judgeGuests(snap *store.Snapshot) {
	of, writer := map[resource.ID][]seenGuest{}, map[resource.ID]seenGuest{}
	for _, g := range c.guests() {
		if !g.State.Alive() || c.orphans[g.ID] {
			continue
		}
		of[g.vm.VMID] = append(of[g.vm.VMID], g)
		if g.State == computeon.Running {
			c.judgeRunning(snap, g)
		}
		if !opened(g.State) {
			continue
		}
		c.judgeOpen(snap, g)
		c.judgeLayers(snap, g)
		for _, d := range g.vm.Disks {
			if other, twice := writer[d.ID]; twice {
				c.fail("volume %s is open for writing on %s (%s) and on %s (%s)", d.ID, other.h.Name, other.State, g.h.Name, g.State)
			}
			writer[d.ID] = g
		}
	}
	for _, id := range slices.Sorted(maps.Keys(of)) {
		c.judgeVM(id, of[id])
	}
}

// judgeOpen: what a guest has open is attached to its instance, until the guest has let go of it.
func (c *Cluster) judgeOpen(snap *store.Snapshot, g seenGuest) {
	if i := store.Find(snap, compute.Instances, g.ID); i == nil || host.Removed(snap, g.h.ID) {
		return
	}
	for _, d := range g.vm.Disks {
		attached := slices.ContainsFunc(store.Referring(snap, storage.Attachments, g.ID), func(a *storage.Attachment) bool {
			return a.Spec.VolumeID == d.ID && a.Status.Phase != storage.AttachmentClosed
		})
		if !attached {
			c.fail("the guest of VM %s on %s has volume %s open, which is not attached to it any more", g.vm.Name, g.h.Name, d.ID)
		}
	}
}

// judgeVM looks at all living guests of one VM.
func (c *Cluster) judgeVM(id resource.ID, guests []seenGuest) {
	running, incoming := 0, 0
	for _, g := range guests {
		if g.State == computeon.Running {
			running++
		}
		if g.vm.Incoming {
			incoming++
		}
	}
	switch {
	case running > 1:
		c.fail("VM %s runs %d times", id, running)
	case len(guests) > 2:
		c.fail("VM %s has %d guests", id, len(guests))
	case len(guests) == 2 && incoming == 0:
		c.fail("VM %s has two guests on %s and %s, and none of them came by a migration", id, guests[0].h.Name, guests[1].h.Name)
	}
}

// judgeRunning: only the instance that is the VM runs.
func (c *Cluster) judgeRunning(snap *store.Snapshot, g seenGuest) {
	if c.invariants.starts[g.vm.VMID] == nil {
		c.invariants.starts[g.vm.VMID] = map[resource.ID]bool{}
	}
	c.invariants.starts[g.vm.VMID][g.ID] = true
	vm := store.Find(snap, compute.VMs, g.vm.VMID)
	if vm == nil {
		c.fail("a guest of VM %s runs on %s, and there is no such VM", g.vm.VMID, g.h.Name)
	}
	if vm.Status.InstanceID != g.ID && vm.Deleting == nil {
		c.fail("a guest of VM %s runs on %s, and the VM is instance %q, not %q", vm.Name, g.h.Name, vm.Status.InstanceID, g.ID)
	}
}

// judgeHosts: everything on a host belongs to a record.
func (c *Cluster) judgeHosts(snap *store.Snapshot) {
	for _, g := range c.guests() {
		i := store.Find(snap, compute.Instances, g.ID)
		if (i == nil || i.Spec.HostID != g.h.ID) && !c.orphans[g.ID] {
			c.fail("a guest (%s) on %s has no instance", g.State, g.h.Name)
		}
	}
	if c.truth.life.ID != firstLife {
		return // what was made after a backup stays though it has no record
	}
	for _, h := range c.hosts {
		if host.Removed(snap, h.ID) {
			continue
		}
		for _, port := range h.wires.list() {
			if store.Find(snap, network.PortBindings, port.PortBindingID) == nil {
				c.fail("port %s on %s has no port binding", port.Device, h.Name)
			}
		}
	}
	for _, name := range c.reached() {
		for _, id := range c.disks.Volumes(name) {
			if len(store.Referring(snap, storage.Allocations, id)) == 0 {
				c.fail("the file of volume %s on %s has no allocation", id, name)
			}
		}
	}
}

func (c *Cluster) judgeEpochs(snap *store.Snapshot) {
	rises := func(id resource.ID, epoch int64, what string) {
		if epoch < c.invariants.epochs[id] {
			c.fail("the epoch of %s %s fell from %d to %d", what, id, c.invariants.epochs[id], epoch)
		}
		c.invariants.epochs[id] = epoch
	}
	for _, r := range store.Every(snap, compute.VMs) {
		rises(r.ID, r.Status.Epoch, "VM")
	}
	for _, r := range store.Every(snap, compute.Instances) {
		rises(r.ID, r.Spec.Epoch, "instance")
	}
	for _, r := range store.Every(snap, storage.Attachments) {
		rises(r.ID, r.Spec.Epoch, "attachment")
	}
	for _, r := range store.Every(snap, network.PortBindings) {
		rises(r.ID, r.Spec.Epoch, "portbinding")
	}
}

func (c *Cluster) judgeAddresses(snap *store.Snapshot) {
	seen := map[string]string{}
	for _, p := range store.Every(snap, network.Ports) {
		for _, key := range []string{p.Status.MAC, p.Status.Address} {
			key = string(p.Spec.NetworkID) + key
			if other := seen[key]; other != "" {
				c.fail("ports %s and %s have one address", other, p.Name)
			}
			seen[key] = p.Name
		}
	}
}

func (c *Cluster) judgeClaims(snap *store.Snapshot) {
	for _, h := range c.hosts {
		var cpus, mib, reserved int64
		for _, claim := range store.Referring(snap, placement.Claims, h.ID) {
			cpus, mib, reserved = cpus+claim.Spec.CPUs, mib+claim.Spec.MemoryMiB, reserved+claim.Spec.CPUReservationMHz
			if store.Find(snap, compute.VMs, claim.Spec.Workload.ID) == nil {
				c.fail("claim %s on %s is of no VM", claim.Name, h.Name)
			}
		}
		if cpus > h.threads*cluster.DefaultCPUOvercommitPercent/100 || mib > h.mib || reserved > h.threads*clockMHz {
			c.fail("%s has promised %d vCPUs, %d MiB and %d MHz, and has %d threads of %d MHz and %d MiB", h.Name, cpus, mib, reserved, h.threads, clockMHz, h.mib)
		}
	}
}

var holders = []string{compute.Holder, network.Holder, storage.Holder, operation.Holder, "liveness", "removal", compute.AgentHolder}

// judgeHolders: what is being deleted waits only for holders that exist.
func (c *Cluster) judgeHolders(snap *store.Snapshot) {
	for _, kind := range kinds.All() {
		for x := range snap.OfKind(kind.Kind) {
			head := x.Head()
			if head.Deleting == nil {
				continue
			}
			if len(head.Holders) == 0 {
				c.fail("%s is being deleted, held by nobody, and there", head.Ref())
			}
			for _, holder := range head.Holders {
				if !slices.Contains(holders, holder) {
					c.fail("%s is held by %s, which is nobody", head.Ref(), holder)
				}
				if holder == compute.AgentHolder && !c.namesHost(kind, x) {
					c.fail("%s is held by an agent, and names no host that exists", head.Ref())
				}
			}
		}
	}
}

func (c *Cluster) namesHost(kind resource.Descriptor, x resource.Object) bool {
	return slices.ContainsFunc(kind.Refs(x), func(r resource.Ref) bool {
		return r.Kind == host.Hosts.Kind && c.hostOf(r.ID) != nil
	})
}

// judgeUses: nothing goes while somebody still uses it.
func (c *Cluster) judgeUses(snap *store.Snapshot) {
	needs := func(user resource.Ref, id resource.ID, what string) {
		if snap.Lookup(id) == nil {
			c.fail("%s is there, and its %s %s is gone", user, what, id)
		}
	}
	for _, r := range store.Every(snap, compute.Instances) {
		needs(r.Ref(), r.Spec.VMID, "VM")
	}
	for _, r := range store.Every(snap, storage.Attachments) {
		needs(r.Ref(), r.Spec.Workload.ID, "VM")
		needs(r.Ref(), r.Spec.VolumeID, "volume")
	}
	for _, r := range store.Every(snap, network.PortBindings) {
		needs(r.Ref(), r.Spec.Workload.ID, "VM")
		needs(r.Ref(), r.Spec.PortID, "port")
	}
	for _, r := range store.Every(snap, storage.Allocations) {
		needs(r.Ref(), r.Spec.VolumeID, "volume")
	}
}

// judgeClaimants: whoever reserves capacity on a host is there. Checked at quiescence.
func (c *Cluster) judgeClaimants() {
	snap := c.all.Snapshot()
	for _, claim := range store.Every(snap, placement.Claims) {
		if !slices.ContainsFunc(store.Referring(snap, compute.Instances, claim.Spec.Workload.ID), func(i *compute.Instance) bool {
			return i.Spec.HostID == claim.Spec.HostID
		}) {
			c.fail("claim %s reserves capacity on a host where its VM is not", claim.Name)
		}
	}
}

// judgeKeys: every unique key belongs to a record that exists. Checked at quiescence.
func (c *Cluster) judgeKeys() {
	entries, _, err := c.truth.memory.List(c.ctx(), store.NameKind)
	c.must(err)
	snap := c.all.Snapshot()
	for _, e := range entries {
		owner := resource.ID(strings.Trim(string(e.Value), `"`))
		if snap.Lookup(owner) == nil {
			c.fail("key %s belongs to %s, which is gone", e.Key, owner)
		}
	}
}

// judgeSight: what a member of a project reads names no host, by its name or its id, unless the member said it.
func (c *Cluster) judgeSight(snap *store.Snapshot) {
	for _, kind := range c.all.Catalog().All() {
		if kind.Scope != resource.InProject {
			continue
		}
		for x := range snap.OfKind(kind.Kind) {
			if x.Head().Project == "" || x.Head().Revision <= c.invariants.revision { // an event of a host is the operator's
				continue
			}
			text, err := json.Marshal(kind.See(x, resource.Reader, ""))
			if err != nil {
				c.fail("write down %s: %v", x.Head().Ref(), err)
				return
			}
			for _, h := range c.hosts {
				if name, told := h.toldIn(string(text)); told {
					c.fail("a member of the project reads the host %s in %s", name, text)
				}
			}
		}
	}
}

// toldIn reports whether a text names a host. The datastore of its own is called after it, and may be named.
func (h *Host) toldIn(text string) (string, bool) {
	text = strings.ReplaceAll(text, "local-"+h.Name, "local")
	text = strings.ReplaceAll(text, `"hostID":"`+string(h.ID)+`"`, "")
	for _, word := range []string{h.Name, string(h.ID)} {
		if hasWord(text, word) {
			return word, true
		}
	}
	return "", false
}

// hasWord reports whether a word stands in a text by itself.
func hasWord(text, word string) bool {
	inWord := func(b byte) bool {
		return b == '-' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
	}
	for i := strings.Index(text, word); i >= 0; {
		end := i + len(word)
		if (i == 0 || !inWord(text[i-1])) && (end == len(text) || !inWord(text[end])) {
			return true
		}
		next := strings.Index(text[end:], word)
		if next < 0 {
			return false
		}
		i = end + next
	}
	return false
}
