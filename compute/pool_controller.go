package compute

import (
	"context"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/fairshare"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// spreadEvery is how often pools are spread anew without a reason: demand is no record.
const spreadEvery = 5 * time.Second

// PoolWriters are the halves of resource pools.
type PoolWriters struct {
	Specs    *store.SpecWriter[PoolSpec, PoolStatus]
	Statuses *store.StatusWriter[PoolSpec, PoolStatus]
}

// PoolSpreader tells the hosts what they have of each resource pool.
type PoolSpreader struct {
	DB       *store.DB
	Statuses *store.StatusWriter[PoolSpec, PoolStatus]
	// Figures asks hosts what their guests use; nil: nobody is asked. A host that does not answer is left out.
	Figures func(context.Context, []resource.ID) map[resource.ID]HostFigures

	// What hints there are in memory: demands by instance, in MHz, smoothed, and when they were asked for.
	demands map[resource.ID]int64
	asked   time.Time
}

// smooth is how many looks what an instance demands is the mean of: demand that comes and goes in a second moves nothing.
const smooth = 4

// ask looks at what the instances on hosts demand. It remembers only those that were told of.
func (s *PoolSpreader) ask(ctx context.Context, hosts []resource.ID) {
	if s.Figures == nil || s.DB.Now().Sub(s.asked) < spreadEvery-time.Second {
		return
	}
	s.asked = s.DB.Now()
	now := map[resource.ID]int64{}
	for _, h := range s.Figures(ctx, hosts) {
		for id, f := range h.Guests {
			now[id] = f.CPUDemandMHz
			if before, known := s.demands[id]; known {
				now[id] = (before*(smooth-1) + f.CPUDemandMHz) / smooth
			}
		}
	}
	s.demands = now
}

// Chore is its work.
func (s *PoolSpreader) Chore() part.Chore {
	return part.Chore{Name: "compute/pools", Every: spreadEvery, Wakes: []resource.Kind{Pools.Kind, Instances.Kind, VMs.Kind}, Together: 100 * time.Millisecond, Do: s.Spread}
}

// Spread looks at all pools and tells what has changed, all of one cluster in one commit: a pool's parts fit to those
// of its parent.
func (s *PoolSpreader) Spread(ctx context.Context) error {
	snap := s.DB.Snapshot()
	clusters := map[resource.ID]*poolFacts{}
	for _, p := range store.Every(snap, Pools) {
		f := clusters[p.Spec.ClusterID]
		if f == nil {
			f = &poolFacts{}
			clusters[p.Spec.ClusterID] = f
		}
		f.pools = append(f.pools, p)
	}
	if len(clusters) == 0 {
		return nil
	}
	var hosts []resource.ID
	for _, h := range store.Every(snap, host.Hosts) {
		if clusters[h.Spec.ClusterID] != nil && host.StateOf(snap, h.ID) == host.Alive {
			hosts = append(hosts, h.ID)
		}
	}
	s.ask(ctx, hosts)
	s.gather(snap, clusters)
	b, changed := s.DB.Begin(), false
	for _, f := range clusters {
		changed = s.tell(b, snap, *f) || changed
	}
	if !changed {
		return nil
	}
	return s.DB.Commit(ctx, b)
}

// gather finds the hosts of clusters, and what runs there.
func (s *PoolSpreader) gather(snap *store.Snapshot, clusters map[resource.ID]*poolFacts) {
	of := map[resource.ID]*poolFacts{}
	for _, h := range store.Every(snap, host.Hosts) {
		f, inv := clusters[h.Spec.ClusterID], h.Status.Inventory
		if f == nil {
			continue
		}
		of[h.ID] = f
		f.hosts = append(f.hosts, poolHost{id: h.ID, mhz: inv.Threads * inv.MHz, mib: max(0, inv.MemoryMiB-inv.ReservedMemoryMiB), threadMHz: inv.MHz})
	}
	for _, i := range store.Every(snap, Instances) {
		f := of[i.Spec.HostID]
		if f == nil || i.Deleting != nil || i.Status.Phase == InstanceStopped {
			continue
		}
		demand, known := s.demands[i.ID]
		if !known {
			demand = fairshare.Unlimited
		}
		f.members = append(f.members, poolMember{pool: i.Spec.PoolID, host: i.Spec.HostID, cpus: i.Spec.CPUs, mib: i.Spec.MemoryMiB,
			CPUPolicy: i.Spec.CPUPolicy, MemoryPolicy: i.Spec.MemoryPolicy, demandMHz: demand, activeMiB: fairshare.Unlimited})
	}
}

// tell writes what the pools of a cluster are now, and reports whether anything has changed.
func (s *PoolSpreader) tell(b *store.Batch, snap *store.Snapshot, f poolFacts) (changed bool) {
	parts := spreadPools(f)
	for _, p := range f.pools {
		changed = changed || !sameParts(p.Status.Parts, parts[p.ID])
	}
	vms := inPools(f)
	for _, p := range f.pools {
		r := reservedIn(snap, p.ID, "")
		now := PoolStatus{Observed: p.Status.Observed, CPUReservedMHz: r.mhz, MemoryReservedMiB: r.mib, VMs: vms[p.ID], Parts: p.Status.Parts}
		now.SeenGeneration = p.Generation
		if changed || p.Status.SeenGeneration < p.Generation {
			now.Parts = parts[p.ID]
		}
		if p.Status.SeenGeneration == now.SeenGeneration && p.Status.CPUReservedMHz == r.mhz && p.Status.MemoryReservedMiB == r.mib &&
			p.Status.VMs == now.VMs && slices.Equal(p.Status.Parts, now.Parts) {
			continue
		}
		changed = true
		s.Statuses.Set(b, p, func(t *PoolStatus) { *t = now })
	}
	return changed
}

// inPools counts the VMs of each pool, with those of the pools in it.
func inPools(f poolFacts) map[resource.ID]int64 {
	parents, out := map[resource.ID]resource.ID{}, map[resource.ID]int64{}
	for _, p := range f.pools {
		parents[p.ID] = p.Spec.ParentID
	}
	for _, m := range f.members {
		at := m.pool
		for range len(parents) {
			if _, there := parents[at]; !there {
				break
			}
			out[at]++
			at = parents[at]
		}
	}
	return out
}

// RegisterPools offers resource pools.
func RegisterPools(a *httpapi.API, w *store.SpecWriter[PoolSpec, PoolStatus]) {
	httpapi.Register(a, Pools, httpapi.Routes[PoolSpec, PoolStatus]{
		Specs: w, Check: CheckPool, Ready: poolReady,
		Creating: func(_ context.Context, c *httpapi.Call, p *Pool) error { return createPool(c.Snapshot, c.Batch, p) },
		Changing: func(_ context.Context, c *httpapi.Call, old *Pool, spec *PoolSpec) error {
			return changePool(c.Snapshot, c.Batch, old, spec)
		},
	})
}

// clusterOf is the cluster that a VM must run in, as its pool is of it; empty: any.
func clusterOf(snap *store.Snapshot, vm *VM) resource.ID {
	if p := store.Find(snap, Pools, vm.Spec.PoolID); p != nil {
		return p.Spec.ClusterID
	}
	return ""
}
