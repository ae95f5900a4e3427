package placement

import (
	"slices"

	"github.com/virga-cloud/virga/cluster"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/host/numa"
	"github.com/virga-cloud/virga/storage"
)

// claimed is one claim that is counted. It is reserved until its commit is seen in the view.
type claimed struct {
	hostID   resource.ID
	demand   Demand
	parts    []host.NUMAPart
	reserved bool
	workload resource.ID
	rules    []resource.ID
	// before is what the claim was until it was resized; nil: there was none.
	before *claimed
}

type promised struct {
	datastoreID resource.ID
	mib         int64
}

// Feed keeps a State current from what changes in the view. Each record is counted by its id, so that
// hearing of a change twice, or of one that the first picture showed already, changes nothing.
type Feed struct {
	*State
	claims map[resource.ID]claimed
	space  map[resource.ID]promised
	// hosts and clusters are those that are there: a host's totals follow its cluster's settings.
	hosts    map[resource.ID]*host.Host
	clusters map[resource.ID]*cluster.Cluster
	// reachedBy is by which hosts a datastore was reached last, by its place.
	reachedBy map[int][]resource.ID
}

// Kinds are those that the answer depends on.
var Kinds = []resource.Kind{cluster.Clusters.Kind, host.Hosts.Kind, host.Livenesses.Kind, host.Removals.Kind, Claims.Kind, storage.Datastores.Kind, storage.Allocations.Kind, AffinityRules.Kind}

// MayFree reports whether who was refused has a reason to ask again, now that a record of these kinds has
// changed: a promise that was made frees nothing, but a claim that was resized may.
func MayFree(snap *store.Snapshot, x resource.Object) bool {
	switch head := x.Head(); head.Kind {
	case Claims.Kind:
		return head.Generation > 1 || snap.Lookup(head.ID) == nil
	case storage.Allocations.Kind:
		return snap.Lookup(head.ID) == nil
	case AffinityRules.Kind:
		return head.Generation > 1
	}
	return true
}

// NewFeed begins with what a snapshot shows.
func NewFeed(snap *store.Snapshot) *Feed {
	f := &Feed{State: newState(), claims: map[resource.ID]claimed{}, space: map[resource.ID]promised{}, reachedBy: map[int][]resource.ID{},
		hosts: map[resource.ID]*host.Host{}, clusters: map[resource.ID]*cluster.Cluster{}}
	for _, kind := range Kinds {
		for x := range snap.OfKind(kind) {
			f.apply(store.Delta{New: x})
		}
	}
	return f
}

// Apply follows changes of the view, in their order.
func (f *Feed) Apply(deltas []store.Delta) {
	for _, d := range deltas {
		f.apply(d)
	}
}

func (f *Feed) apply(d store.Delta) {
	x, gone := d.New, d.New == nil
	if gone {
		x = d.Old
	}
	switch r := x.(type) {
	case *host.Host:
		f.host(r, gone)
	case *cluster.Cluster:
		f.cluster(r, gone)
	case *host.Liveness:
		n := f.node(r.Spec.HostID)
		n.life = r.Status.State
		if gone || n.life == "" {
			n.life = host.Unknown
		}
	case *host.Removal:
		f.node(r.Spec.HostID).removed = !gone
	case *Claim:
		f.uncount(r.ID)
		if !gone {
			f.count(r.ID, claimed{hostID: r.Spec.HostID, demand: r.Spec.Demand, parts: r.Spec.NUMA, workload: r.Spec.Workload.ID, rules: r.Spec.AffinityRuleIDs})
		}
	case *storage.Datastore:
		f.datastore(r, gone)
	case *storage.Allocation:
		f.allocation(r, gone)
	}
}

func (f *Feed) host(h *host.Host, gone bool) {
	n := f.node(h.ID)
	n.name, n.clusterID, n.zone, n.known = h.Name, h.Spec.ClusterID, h.Spec.Zone, !gone && h.Deleting == nil
	n.mode, n.machineType, n.version = h.Spec.Mode, h.Status.Profile.MachineType, machineVersion(h.Status.Profile.MachineType)
	if f.hosts[h.ID] = h; gone {
		delete(f.hosts, h.ID)
	}
	f.size(n, h)
	n.problem = ""
	if len(h.Status.Problems) > 0 {
		n.problem = h.Status.Problems[0].Message
	}
}

// size says what a host can promise in all, and on each of its memory nodes.
func (f *Feed) size(n *node, h *host.Host) {
	var of *cluster.Spec
	if c := f.clusters[h.Spec.ClusterID]; c != nil {
		of = &c.Spec
	}
	cpu, memory := cluster.Ratios(&h.Spec, of)
	inv := h.Status.Inventory
	pages := h.Status.Profile
	own := inv.MemoryMiB - inv.ReservedMemoryMiB - pages.HugeMiB()
	n.mhz = inv.MHz
	n.total = Demand{
		CPUs: inv.Threads * cpu / 100, MemoryMiB: own * memory / 100,
		CPUReservationMHz: inv.Threads * inv.MHz, MemoryReservationMiB: own,
		Huge2MMiB: 2 * pages.HugePages2MiB, Huge1GMiB: 1024 * pages.HugePages1GiB,
	}
	n.layOut(numa.Cells(&inv, cpu))
}

// cluster follows the settings of a cluster, for all its hosts.
func (f *Feed) cluster(c *cluster.Cluster, gone bool) {
	if f.clusters[c.ID] = c; gone {
		delete(f.clusters, c.ID)
	}
	for id, h := range f.hosts {
		if h.Spec.ClusterID == c.ID {
			f.size(f.node(id), h)
		}
	}
}

func (f *Feed) count(id resource.ID, c claimed) {
	f.claims[id] = c
	f.Claim(c.hostID, c.demand, c.parts)
	f.join(c.rules, member{c.workload, c.hostID})
}

func (f *Feed) uncount(id resource.ID) {
	if c, there := f.claims[id]; there {
		f.Free(c.hostID, c.demand, c.parts)
		f.leave(c.rules, member{c.workload, c.hostID})
		delete(f.claims, id)
	}
}

// Reserve counts a claim that is about to be committed. Cancel takes it back if the commit failed; a
// claim that was seen in the view meanwhile stays.
func (f *Feed) Reserve(id resource.ID, on Choice, r *Request) {
	f.count(id, claimed{hostID: on.HostID, demand: r.Demand, parts: on.NUMA, workload: r.Workload.ID, rules: r.ruleIDs(), reserved: true})
}

// Resize counts a claim as large as it was and as it is about to be, until its commit is seen. Cancel takes
// that back.
func (f *Feed) Resize(id resource.ID, to Demand) {
	before := f.claims[id]
	f.uncount(id)
	f.count(id, claimed{hostID: before.hostID, demand: before.demand.most(to), parts: before.parts, workload: before.workload, rules: before.rules, reserved: true, before: &before})
}

// Cancel takes back what was counted before its commit.
func (f *Feed) Cancel(id resource.ID) {
	c := f.claims[id]
	if !c.reserved {
		return
	}
	f.uncount(id)
	if c.before != nil {
		f.count(id, *c.before)
	}
}

func (f *Feed) datastore(d *storage.Datastore, gone bool) {
	st, at := f.store(d.ID)
	st.name, st.known, st.ready = d.Name, !gone, d.Deleting == nil && d.Status.Phase == storage.DatastoreReady
	st.capacityMiB, st.freeMiB = d.Status.CapacityMiB, d.Status.FreeMiB
	var want []resource.ID
	if !gone {
		want = d.Status.HostIDs
	}
	if slices.Equal(f.reachedBy[at], want) {
		return
	}
	for _, id := range f.reachedBy[at] {
		n := f.node(id)
		n.stores = slices.DeleteFunc(slices.Clone(n.stores), func(s int) bool { return s == at })
	}
	for _, id := range want {
		n := f.node(id)
		n.stores = append(slices.Clone(n.stores), at)
	}
	f.reachedBy[at] = want
}

func (f *Feed) allocation(a *storage.Allocation, gone bool) {
	if old, there := f.space[a.ID]; there {
		st, _ := f.store(old.datastoreID)
		st.promisedMiB -= old.mib
		delete(f.space, a.ID)
	}
	if !gone {
		f.space[a.ID] = promised{a.Spec.DatastoreID, a.Spec.SizeMiB}
		st, _ := f.store(a.Spec.DatastoreID)
		st.promisedMiB += a.Spec.SizeMiB
	}
}
