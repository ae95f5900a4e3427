package compute

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fairshare"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
)

// clusterKind stands for the kind of clusters, of which pools know no more than that it is there.
var clusterKind = resource.Define("cluster", "clusters", resource.Options[struct{}, struct{}]{Scope: resource.InCloud})

// poolWorld is a cloud of two hosts with 4 threads of 2500 MHz and 8 GiB, and pools.
type poolWorld struct {
	*testing.T
	db        *store.DB
	pools     PoolWriters
	hosts     *store.SpecWriter[host.Spec, host.Status]
	vms       *store.SpecWriter[VMSpec, VMStatus]
	instances *store.SpecWriter[InstanceSpec, InstanceStatus]
}

func newPoolWorld(t *testing.T) *poolWorld {
	db := store.NewDB(memory.New(), resource.NewCatalog(Pools, VMs, Instances, host.Hosts, clusterKind))
	db.Now, db.Inline = func() time.Time { return time.Unix(1_700_000_000, 0) }, true
	l := store.NewRegistry()
	w := &poolWorld{t, db, NewPoolWriters(l), store.Specs(l, host.Hosts, "test"), store.Specs(l, VMs, "test"), store.Specs(l, Instances, "test")}
	clusters := store.Specs(l, clusterKind, "test")
	w.commit(func(_ *store.Snapshot, b *store.Batch) error {
		for id, name := range map[resource.ID]string{"core": "default", "edge": "edge"} {
			clusters.Create(b, &resource.Record[struct{}, struct{}]{Meta: resource.Meta{ID: id, Name: name}})
		}
		for _, id := range []resource.ID{"h1", "h2"} {
			h := &host.Host{Meta: resource.Meta{ID: id, Name: string(id)}, Spec: host.Spec{ClusterID: "core"}}
			h.Status.Inventory = host.Inventory{Threads: 4, MHz: 2500, MemoryMiB: 8192}
			w.hosts.Create(b, h)
		}
		return nil
	})
	return w
}

func (w *poolWorld) try(fill func(*store.Snapshot, *store.Batch) error) error {
	w.Helper()
	b := w.db.Begin()
	err := fill(w.db.Snapshot(), b)
	if err == nil {
		err = w.db.Commit(w.Context(), b)
	}
	if caught := w.db.CatchUp(w.Context()); caught != nil {
		w.Fatal(caught)
	}
	return err
}

func (w *poolWorld) commit(fill func(*store.Snapshot, *store.Batch) error) {
	w.Helper()
	if err := w.try(fill); err != nil {
		w.Fatal(err)
	}
}

// pool makes one, as the API does.
func (w *poolWorld) pool(id, parent resource.ID, change func(*PoolSpec)) error {
	w.Helper()
	return w.try(func(snap *store.Snapshot, b *store.Batch) error {
		p := &Pool{Meta: resource.Meta{ID: id, Name: string(id)}, Spec: PoolSpec{ParentID: parent}}
		change(&p.Spec)
		if err := createPool(snap, b, p); err != nil {
			return err
		}
		w.pools.Specs.Create(b, p)
		return nil
	})
}

func refuses(t *testing.T, err error, kind fault.Kind, says ...string) {
	t.Helper()
	if !fault.Is(err, kind) {
		t.Fatalf("it says %v, which is no %s", err, kind)
	}
	for _, word := range says {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("%q does not say %q", err, word)
		}
	}
}

// vm makes one in a pool that is to run, as the API does, and an instance of it on a host.
func (w *poolWorld) vm(id, pool, on resource.ID, cpu CPUPolicy) error {
	w.Helper()
	return w.try(func(snap *store.Snapshot, b *store.Batch) error {
		vm := &VM{Meta: resource.Meta{ID: id, Name: string(id), Project: "p"}, Spec: VMSpec{CPUs: 2, MemoryMiB: 1024, PoolID: pool, Power: Running, CPUPolicy: cpu}}
		vm.Status.HostID = on
		if err := admitVM(snap, b, nil, vm); err != nil {
			return err
		}
		w.vms.Create(b, vm)
		i := &Instance{Meta: resource.Meta{ID: "i-" + id, Name: string(id), Project: "p"}, Spec: InstanceSpec{VMID: id, HostID: on, PoolID: pool, CPUs: 2, MemoryMiB: 1024, CPUPolicy: cpu}}
		w.instances.Create(b, i)
		return nil
	})
}

func (w *poolWorld) change(id resource.ID, change func(*PoolSpec)) error {
	return w.try(func(snap *store.Snapshot, b *store.Batch) error {
		old := store.Find(snap, Pools, id)
		spec := old.Spec
		change(&spec)
		if err := changePool(snap, b, old, &spec); err != nil {
			return err
		}
		w.pools.Specs.Set(b, old, func(s *PoolSpec) { *s = spec })
		return nil
	})
}

func (w *poolWorld) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func reserving(mhz int64) func(*PoolSpec) {
	return func(s *PoolSpec) { s.CPUReservationMHz = mhz }
}

func TestAPoolReservesNoMoreThanItsParentOrItsCluster(t *testing.T) {
	w := newPoolWorld(t)
	w.must(w.pool("gold", "", reserving(12_000)))
	refuses(t, w.pool("silver", "", reserving(9000)), fault.Exhausted, "cluster default have 20000 MHz", "nobody has reserved 8000")
	w.must(w.pool("silver", "", reserving(8000)))
	w.must(w.pool("web", "gold", reserving(10_000)))
	refuses(t, w.pool("db", "gold", reserving(3000)), fault.Exhausted, "gold has 12000 MHz reserved, of which 2000 are free", "virga pool set gold --cpu-reservation 13000")
	refuses(t, w.change("gold", reserving(9000)), fault.Precondition, "10000 MHz")
	refuses(t, w.change("gold", reserving(13_000)), fault.Exhausted, "nobody has reserved 12000")
	refuses(t, w.pool("memory", "gold", func(s *PoolSpec) { s.MemoryReservationMiB = 64 }), fault.Exhausted, "--memory-reservation 64MiB")
	refuses(t, w.pool("much", "", func(s *PoolSpec) { s.MemoryReservationMiB = 16_385 }), fault.Exhausted, "16384 MiB")

	t.Run("what it has already it keeps though a host goes", func(t *testing.T) {
		w.commit(func(snap *store.Snapshot, b *store.Batch) error {
			w.hosts.Delete(b, store.Find(snap, host.Hosts, "h2"))
			return nil
		})
		w.must(w.change("gold", func(s *PoolSpec) { s.CPUShares = 7 }))
	})
}

func TestAPoolIsOfOneClusterAndHasOneParent(t *testing.T) {
	w := newPoolWorld(t)
	w.must(w.pool("gold", "", reserving(0)))
	if p := store.Find(w.db.Snapshot(), Pools, "gold"); p.Spec.ClusterID != "core" {
		t.Errorf("it is of cluster %q", p.Spec.ClusterID)
	}
	refuses(t, w.pool("web", "gold", func(s *PoolSpec) { s.ClusterID = "edge" }), fault.Invalid, "another cluster, default")
	refuses(t, w.pool("web", "none", reserving(0)), fault.NotFound, "virga pool list")
	refuses(t, w.change("gold", func(s *PoolSpec) { s.ClusterID = "edge" }), fault.Invalid, "cannot be changed")
	refuses(t, w.change("gold", func(s *PoolSpec) { s.ParentID = "gold" }), fault.Invalid, "cannot be changed")
	up := resource.ID("gold")
	for n := range MaxPoolDepth - 1 {
		next := resource.ID(fmt.Sprint("p", n))
		w.must(w.pool(next, up, reserving(0)))
		up = next
	}
	refuses(t, w.pool("deep", up, reserving(0)), fault.Invalid, "at most 8 pools")
}

func TestAPoolWithPoolsOrVMsStays(t *testing.T) {
	w := newPoolWorld(t)
	w.must(w.pool("gold", "", reserving(0)))
	w.must(w.pool("web", "gold", reserving(0)))
	w.must(w.vm("a", "web", "h1", CPUPolicy{}))
	remove := func(id resource.ID) error {
		return w.try(func(snap *store.Snapshot, b *store.Batch) error {
			w.pools.Specs.Delete(b, store.Find(snap, Pools, id))
			return nil
		})
	}
	refuses(t, remove("gold"), fault.Precondition, "web")
	refuses(t, remove("web"), fault.Precondition, "a")
}

func TestAVMReservesOfItsPool(t *testing.T) {
	w := newPoolWorld(t)
	w.must(w.pool("gold", "", reserving(3000)))
	w.must(w.vm("a", "gold", "h1", CPUPolicy{CPUReservationMHz: 2000}))
	refuses(t, w.vm("b", "gold", "h1", CPUPolicy{CPUReservationMHz: 1001}), fault.Exhausted, "VM b", "1000 are free", "virga pool set gold --cpu-reservation 3001")
	w.must(w.vm("b", "gold", "h2", CPUPolicy{CPUReservationMHz: 1000}))
	w.must(w.vm("c", "gold", "h2", CPUPolicy{}))
	refuses(t, w.vm("d", "nowhere", "h1", CPUPolicy{}), fault.NotFound, "virga pool list")

	t.Run("a tenant is not told of commands of operators", func(t *testing.T) {
		err := w.vm("e", "gold", "h1", CPUPolicy{CPUReservationMHz: 5000})
		if told := fault.OutsideOf(err); !strings.Contains(told, "ask an operator") || strings.Contains(told, "virga pool set") {
			t.Error(told)
		}
	})
	t.Run("one that is stopped reserves nothing, and starts when there is space", func(t *testing.T) {
		snap := w.db.Snapshot()
		stopped := *store.Find(snap, VMs, "a")
		stopped.Spec.Power = Stopped
		w.must(admitVM(snap, w.db.Begin(), store.Find(snap, VMs, "a"), &stopped))
		w.commit(func(_ *store.Snapshot, b *store.Batch) error {
			w.vms.Set(b, store.Find(w.db.Snapshot(), VMs, "a"), func(s *VMSpec) { s.Power = Stopped })
			return nil
		})
		w.must(w.vm("f", "gold", "h1", CPUPolicy{CPUReservationMHz: 1500}))
		snap = w.db.Snapshot()
		started := *store.Find(snap, VMs, "a")
		started.Spec.Power = Running
		refuses(t, admitVM(snap, w.db.Begin(), store.Find(snap, VMs, "a"), &started), fault.Exhausted, "500 are free")
	})
	t.Run("a pool of another project is none", func(t *testing.T) {
		w.must(w.pool("theirs", "", func(s *PoolSpec) { s.CPUShares = 5 }))
		snap := w.db.Snapshot()
		theirs := *store.Find(snap, Pools, "theirs")
		refuses(t, changePool(snap, w.db.Begin(), store.Find(snap, Pools, "gold"), &PoolSpec{ClusterID: "core", ProjectID: "other", CPUPolicy: CPUPolicy{CPUReservationMHz: 3000}}), fault.Precondition, "is in it")
		w.must(changePool(snap, w.db.Begin(), &theirs, &PoolSpec{ClusterID: "core", ProjectID: "other"}))
	})
	t.Run("one that runs on a host of another cluster", func(t *testing.T) {
		w.commit(func(snap *store.Snapshot, b *store.Batch) error {
			w.hosts.Set(b, store.Find(snap, host.Hosts, "h2"), func(s *host.Spec) { s.ClusterID = "edge" })
			return nil
		})
		snap := w.db.Snapshot()
		vm := *store.Find(snap, VMs, "c")
		vm.Status.InstanceID = "i-c"
		refuses(t, admitVM(snap, w.db.Begin(), store.Find(snap, VMs, "c"), &vm), fault.Precondition, "cluster default", "virga vm stop c")
	})
}

func TestHostsAreToldTheirPartsAndThenNothing(t *testing.T) {
	w := newPoolWorld(t)
	w.must(w.pool("gold", "", func(s *PoolSpec) { s.CPUReservationMHz, s.CPULimitMHz = 6000, 8000 }))
	w.must(w.pool("web", "gold", reserving(2000)))
	for id, on := range map[resource.ID]resource.ID{"a": "h1", "b": "h1", "c": "h1", "d": "h2"} {
		w.must(w.vm(id, "web", on, CPUPolicy{}))
	}
	s := &PoolSpreader{DB: w.db, Statuses: w.pools.Statuses}
	spread := func() (revision int64) {
		w.must(s.Spread(t.Context()))
		w.must(w.db.CatchUp(t.Context()))
		return w.db.Revision()
	}
	first := spread()
	gold, web := store.Find(w.db.Snapshot(), Pools, "gold"), store.Find(w.db.Snapshot(), Pools, "web")
	if p := gold.Status.Parts; len(p) != 2 || p[0].CPULimitMHz != 6000 || p[1].CPULimitMHz != 2000 || p[0].CPUShares != 3000 || p[1].CPUReservationMHz != 1500 {
		t.Errorf("three of four VMs are on h1: %+v", p)
	}
	if gold.Status.CPUReservedMHz != 2000 || gold.Status.VMs != 4 || web.Status.VMs != 4 || web.Status.Parts[0].CPUReservationMHz != 1500 {
		t.Errorf("%+v, %+v", gold.Status, web.Status)
	}
	if hosts := Pools.Hosts(web); !slices.Equal(hosts, []resource.ID{"h1", "h2"}) {
		t.Errorf("agents of %v see it", hosts)
	}
	if ready, err := poolReady(gold); !ready || err != nil {
		t.Errorf("%v, %v", ready, err)
	}
	if again := spread(); again != first {
		t.Errorf("a second look at the same writes: revision %d, then %d", first, again)
	}
	w.commit(func(snap *store.Snapshot, b *store.Batch) error {
		w.instances.Delete(b, store.Find(snap, Instances, "i-d"))
		return nil
	})
	spread()
	if p := store.Find(w.db.Snapshot(), Pools, "web").Status.Parts; len(p) != 1 || p[0].CPUReservationMHz != 2000 {
		t.Errorf("nobody is on h2 any more: %+v", p)
	}
}

func TestSmallChangesAreNotTold(t *testing.T) {
	part := PoolPart{HostID: "h", CPUPolicy: CPUPolicy{CPUShares: 1000, CPUReservationMHz: 200}}
	for _, c := range []struct {
		change func(*PoolPart)
		same   bool
	}{
		{func(*PoolPart) {}, true},
		{func(p *PoolPart) { p.CPUShares = 1040 }, true},
		{func(p *PoolPart) { p.CPUShares = 1100 }, false},
		{func(p *PoolPart) { p.CPUReservationMHz = 0 }, false},
		{func(p *PoolPart) { p.CPULimitMHz = 1 }, false},
		{func(p *PoolPart) { p.MemoryLimitMiB = 64 }, false},
		{func(p *PoolPart) { p.HostID = "other" }, false},
	} {
		now := part
		c.change(&now)
		if got := sameParts([]PoolPart{part}, []PoolPart{now}); got != c.same {
			t.Errorf("%+v is the same: %v", now, got)
		}
	}
	if sameParts([]PoolPart{part}, nil) {
		t.Error("a host that is not there any more is told nothing")
	}
}

func TestAnyPoolsAreSpreadWithinWhatTheyHave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := poolFacts{}
		for i := range rapid.IntRange(1, 4).Draw(t, "hosts") {
			f.hosts = append(f.hosts, poolHost{resource.ID(fmt.Sprint("h", i)), rapid.Int64Range(0, 96_000).Draw(t, "mhz"), rapid.Int64Range(0, 1<<20).Draw(t, "mib"), 3000})
		}
		policy := func() (CPUPolicy, MemoryPolicy) {
			amount := rapid.SampledFrom([]int64{0, 1, 100, 5000, 100_000})
			return CPUPolicy{amount.Draw(t, "shares"), amount.Draw(t, "reservation"), amount.Draw(t, "limit")},
				MemoryPolicy{amount.Draw(t, "shares"), amount.Draw(t, "reservation"), amount.Draw(t, "limit")}
		}
		id := rapid.SampledFrom([]resource.ID{"", "p0", "p1", "p2", "p3"})
		for i := range rapid.IntRange(1, 4).Draw(t, "pools") {
			p := &Pool{Meta: resource.Meta{ID: resource.ID(fmt.Sprint("p", i))}}
			if p.Spec.ParentID = id.Draw(t, "parent"); p.Spec.ParentID >= p.ID {
				p.Spec.ParentID = "" // a parent is made before those in it
			}
			p.Spec.CPUPolicy, p.Spec.MemoryPolicy = policy()
			f.pools = append(f.pools, p)
		}
		slices.Reverse(f.pools)
		for range rapid.IntRange(0, 10).Draw(t, "VMs") {
			m := poolMember{pool: id.Draw(t, "pool"), host: rapid.SampledFrom([]resource.ID{"h0", "h1", "h9"}).Draw(t, "host"),
				cpus: rapid.Int64Range(1, 8).Draw(t, "cpus"), mib: rapid.Int64Range(64, 8192).Draw(t, "memory"), demandMHz: fairshare.Unlimited, activeMiB: rapid.Int64Range(0, 8192).Draw(t, "active")}
			f.members = append(f.members, m) // without a reservation, so that those of pools are all there is
		}
		parts := spreadPools(f)
		for _, p := range f.pools {
			var mhz, limit int64
			for _, part := range parts[p.ID] {
				mhz, limit = mhz+part.CPUReservationMHz, limit+part.CPULimitMHz
				if part.CPUShares < 1 || part.MemoryShares < 1 || p.Spec.CPULimitMHz == 0 && part.CPULimitMHz != 0 {
					t.Fatalf("%+v of %+v", part, p.Spec)
				}
			}
			if mhz > effective(f.pools, p) || p.Spec.CPULimitMHz > 0 && limit > p.Spec.CPULimitMHz+int64(len(f.hosts)) {
				t.Fatalf("pool %s reserves %d and may have %d; its parts are %+v", p.ID, p.Spec.CPUReservationMHz, p.Spec.CPULimitMHz, parts[p.ID])
			}
		}
		slices.Reverse(f.members)
		slices.Reverse(f.hosts)
		if again := spreadPools(f); fmt.Sprint(again) != fmt.Sprint(parts) {
			t.Fatalf("the order of the facts decides: %v, then %v", parts, again)
		}
	})
}

// effective is what a pool reserves, or what those in it do where that is more.
func effective(all []*Pool, p *Pool) int64 {
	var inside int64
	for _, child := range all {
		if child.Spec.ParentID == p.ID {
			inside += effective(all, child)
		}
	}
	return max(p.Spec.CPUReservationMHz, inside)
}
