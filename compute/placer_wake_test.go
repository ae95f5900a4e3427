package compute_test

import (
	"testing"

	"github.com/virga-cloud/virga/cluster"
	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/storage"
)

// woken lets the VM loop step for what changes concern, as its runner does, and for nothing else: no
// resync, and no time passes.
type woken struct {
	*world
	queue []resource.ID
}

func (w *woken) commit(fill func(*store.Batch)) {
	w.t.Helper()
	b := w.db.Begin()
	fill(b)
	if err := w.db.Commit(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
	for range 100 {
		if len(w.queue) == 0 {
			return
		}
		id := w.queue[0]
		w.queue = w.queue[1:]
		if err := w.loop(w.t.Context(), id); err != nil {
			w.t.Fatal(err)
		}
	}
	w.t.Fatal("the loop does not come to rest")
}

// reach says which hosts reach the datastore.
func (w *woken) reach(b *store.Batch, hosts ...resource.ID) {
	store.Statuses(store.NewRegistry(), storage.Datastores, "agent").Set(b, store.Find(w.db.Snapshot(), storage.Datastores, "d"),
		func(s *storage.DatastoreStatus) { s.HostIDs = hosts })
}

// TestCapacityThatComesWakesWhoWaitsForIt: hosts are full of memory, or the datastore of promises, or a host
// is in maintenance; the VM that waits is placed by the change that helps, and by no other.
func TestCapacityThatComesWakesWhoWaitsForIt(t *testing.T) {
	anAllocation := &storage.Allocation{Meta: resource.Meta{ID: "a", Project: "default"}, Spec: storage.AllocationSpec{VolumeID: "v", DatastoreID: "d", SizeMiB: 1900}}
	for name, c := range map[string]struct {
		memory int64 // that the VM wants: 8192 are free on h2
		before func(*woken, *store.Batch)
		helps  func(*woken, *store.Batch)
	}{
		"a claim is given back": {4000, func(w *woken, b *store.Batch) {
			w.claims.Create(b, &placement.Claim{Meta: resource.Meta{ID: "c", Project: "default"}, Spec: placement.ClaimSpec{Workload: w.record().Ref(), HostID: "h2", Demand: placement.Demand{MemoryMiB: 6000}}})
		}, func(w *woken, b *store.Batch) {
			w.claims.Delete(b, store.Find(w.db.Snapshot(), placement.Claims, "c"))
		}},
		"a claim shrinks": {4000, func(w *woken, b *store.Batch) {
			w.claims.Create(b, &placement.Claim{Meta: resource.Meta{ID: "c", Project: "default"}, Spec: placement.ClaimSpec{Workload: w.record().Ref(), HostID: "h2", Demand: placement.Demand{MemoryMiB: 6000}}})
		}, func(w *woken, b *store.Batch) {
			w.claims.Set(b, store.Find(w.db.Snapshot(), placement.Claims, "c"), func(s *placement.ClaimSpec) { s.Demand.MemoryMiB = 4000 })
		}},
		"a host comes": {10_000, nil, func(w *woken, b *store.Batch) {
			h := resource.Copy(store.Find(w.db.Snapshot(), host.Hosts, "h2"))
			h.Meta = resource.Meta{ID: "h3", Name: "h3"}
			h.Status.Inventory.MemoryMiB = 16_384
			w.hostSpecs.Create(b, h)
			w.lives.Create(b, &host.Liveness{Spec: host.LivenessSpec{HostID: "h3"}, Status: host.LivenessStatus{State: host.Alive}})
			w.reach(b, "h1", "h2", "h3")
		}},
		"a host leaves maintenance": {8000, func(w *woken, b *store.Batch) {
			w.hostSpecs.Set(b, store.Find(w.db.Snapshot(), host.Hosts, "h2"), func(s *host.Spec) { s.Mode = host.Maintenance })
		}, func(w *woken, b *store.Batch) {
			w.hostSpecs.Set(b, store.Find(w.db.Snapshot(), host.Hosts, "h2"), func(s *host.Spec) { s.Mode = host.Active })
		}},
		"a cluster promises more": {10_000, func(w *woken, b *store.Batch) {
			store.Specs(w.registry, cluster.Clusters, "api").Create(b, &cluster.Cluster{Meta: resource.Meta{ID: "more"}, Spec: cluster.Spec{CPUOvercommitPercent: 100, MemoryOvercommitPercent: 100}})
			w.hostSpecs.Set(b, store.Find(w.db.Snapshot(), host.Hosts, "h2"), func(s *host.Spec) { s.ClusterID = "more" })
		}, func(w *woken, b *store.Batch) {
			store.Specs(store.NewRegistry(), cluster.Clusters, "api").Set(b, store.Find(w.db.Snapshot(), cluster.Clusters, "more"), func(s *cluster.Spec) { s.MemoryOvercommitPercent = 200 })
		}},
		"an allocation is given back": {1000, func(w *woken, b *store.Batch) {
			store.Specs(w.registry, storage.Allocations, "storage").Create(b, anAllocation)
		}, func(w *woken, b *store.Batch) {
			store.Specs(store.NewRegistry(), storage.Allocations, "storage").Delete(b, store.Find(w.db.Snapshot(), storage.Allocations, "a"))
		}},
		"a datastore grows": {1000, func(w *woken, b *store.Batch) {
			store.Specs(w.registry, storage.Allocations, "storage").Create(b, anAllocation)
		}, func(w *woken, b *store.Batch) {
			store.Statuses(store.NewRegistry(), storage.Datastores, "agent").Set(b, store.Find(w.db.Snapshot(), storage.Datastores, "d"), func(s *storage.DatastoreStatus) { s.CapacityMiB = 2000 })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			plain, _ := newWorld(t)
			w := &woken{world: plain}
			w.db.Subscribe(func(deltas []store.Delta) {
				for _, d := range deltas {
					w.queue = append(w.queue, w.reconciler.Affected(w.catalog, d)...)
				}
			})
			w.commit(func(b *store.Batch) {
				w.reach(b, "h1", "h2")
				if c.before != nil {
					c.before(w, b)
				}
			})
			w.commit(func(b *store.Batch) {
				v := &storage.Volume{Meta: resource.Meta{ID: "new", Name: "new", Project: "default"}, Spec: storage.VolumeSpec{SizeMiB: 150}}
				w.volumeSpecs.Create(b, v)
				w.vms.Create(b, &compute.VM{Meta: resource.Meta{ID: "late", Name: "late", Project: "default"},
					Spec:   compute.VMSpec{CPUs: 1, MemoryMiB: c.memory, Power: compute.Running, Disks: []compute.Disk{{Name: "disk0", VolumeID: "new"}}},
					Status: compute.VMStatus{Disks: []compute.DiskStatus{{Name: "disk0", VolumeID: "new", Model: compute.VirtioBlk}}}}, compute.Holder)
			})
			late := func() *compute.VM { return store.Find(w.db.Snapshot(), compute.VMs, "late") }
			if vm := late(); vm.Status.InstanceID != "" || len(vm.Status.Problems) == 0 {
				t.Fatalf("it does not wait: %+v", vm.Status)
			}
			w.commit(func(b *store.Batch) { // a change that helps nobody, and wakes it all the same
				w.lives.Create(b, &host.Liveness{Spec: host.LivenessSpec{HostID: "nobody"}, Status: host.LivenessStatus{State: host.Lost}})
			})
			if vm := late(); vm.Status.InstanceID != "" {
				t.Fatalf("it was placed without capacity: %+v", vm.Status)
			}
			w.commit(func(b *store.Batch) { c.helps(w, b) })
			if vm := late(); vm.Status.InstanceID == "" {
				t.Errorf("it still waits: %+v", vm.Status)
			}
		})
	}
}
