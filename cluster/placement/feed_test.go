package placement

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/cluster"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/storage"
)

// world is a view with hosts in it, and the gate that follows it.
type world struct {
	db          *store.DB
	registry    *store.Registry
	gate        *Gate
	claims      *store.SpecWriter[ClaimSpec, ClaimStatus]
	clusters    *cluster.Writer
	hosts       *store.SpecWriter[host.Spec, host.Status]
	lives       *store.SpecWriter[host.LivenessSpec, host.LivenessStatus]
	stores      *store.SpecWriter[storage.DatastoreSpec, storage.DatastoreStatus]
	allocations *store.SpecWriter[storage.AllocationSpec, storage.AllocationStatus]
}

func newWorld() *world {
	l := store.NewRegistry()
	db := store.NewDB(memory.New(), resource.NewCatalog(cluster.Clusters, host.Hosts, host.Livenesses, host.Removals, Claims, AffinityRules, storage.Datastores, storage.Allocations))
	db.Inline, db.Now = true, func() time.Time { return time.Unix(1_700_000_000, 0) }
	w := &world{db: db, registry: l, clusters: cluster.NewRight(l), claims: NewRight(l), hosts: store.Specs(l, host.Hosts, "t"), lives: store.Specs(l, host.Livenesses, "t"),
		stores: store.Specs(l, storage.Datastores, "t"), allocations: store.Specs(l, storage.Allocations, "t")}
	w.gate = NewGate(db, w.claims)
	return w
}

func (w *world) do(fill func(*store.Batch)) {
	b := w.db.Begin()
	fill(b)
	if err := w.db.Commit(context.Background(), b); err != nil {
		panic(err)
	}
}

func (w *world) addHost(name string, life host.LifeState) resource.ID {
	h := host.New(resource.ID(name), name)
	h.Status.Inventory, h.Status.Profile.MachineType = host.Inventory{Threads: 4, MHz: 2500, MemoryMiB: 8192}, "pc-q35-7.2"
	w.do(func(b *store.Batch) {
		w.hosts.Create(b, h, "holder")
		w.lives.Create(b, &host.Liveness{Meta: resource.Meta{Name: "l-" + name}, Spec: host.LivenessSpec{HostID: h.ID}, Status: host.LivenessStatus{State: life}})
	})
	return h.ID
}

// shown is what of a state makes a difference, without the order in which it was heard of.
func shown(s *State) map[string]any {
	out := map[string]any{}
	for i, n := range s.nodes {
		if !n.known && n.claimed == (Demand{}) {
			continue
		}
		var reached []string
		for _, at := range n.stores {
			reached = append(reached, string(s.stores[at].id))
		}
		slices.Sort(reached)
		if n.stores = nil; !n.known {
			n = node{id: n.id, claimed: n.claimed}
		}
		out["host "+string(s.nodes[i].id)] = fmt.Sprintf("%+v %v", n, reached)
	}
	for rule, members := range s.members {
		members = slices.Clone(members)
		slices.SortFunc(members, func(a, b member) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
		out["rule "+string(rule)] = members
	}
	for _, d := range s.stores {
		if d.known {
			out["store "+string(d.id)] = d
		}
	}
	return out
}

func TestFeedEqualsARebuildAfterAnyChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w, made := newWorld(), 0
		for range rapid.IntRange(1, 30).Draw(t, "changes") {
			made++
			name := fmt.Sprintf("x%d", made)
			snap := w.db.Snapshot()
			hosts, claims := store.Every(snap, host.Hosts), store.Every(snap, Claims)
			clusters := store.Every(snap, cluster.Clusters)
			stores, allocations := store.Every(snap, storage.Datastores), store.Every(snap, storage.Allocations)
			pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "which") }
			act := rapid.IntRange(0, 14).Draw(t, "act")
			switch {
			case act == 0 || len(hosts) == 0:
				w.addHost(name, rapid.SampledFrom([]host.LifeState{host.Alive, host.Lost, ""}).Draw(t, "life"))
			case act == 1:
				_ = w.gate.Place(context.Background(), Request{Workload: resource.Ref{Kind: "vm", ID: resource.ID(name)}, Demand: Demand{CPUs: 1, MemoryMiB: 512}},
					func(*store.Batch, Choice) error { return nil })
			case act == 2:
				rules := rapid.SliceOfNDistinct(rapid.SampledFrom([]resource.ID{"r1", "r2", "r3"}), 0, 3, rapid.ID[resource.ID]).Draw(t, "rules")
				w.do(func(b *store.Batch) {
					w.claims.Create(b, &Claim{Spec: ClaimSpec{HostID: hosts[pick(len(hosts))].ID, Demand: Demand{CPUs: 2, MemoryMiB: 100}, AffinityRuleIDs: rules}})
				})
			case act == 14 && len(claims) > 0:
				w.do(func(b *store.Batch) { w.gate.SetRules(b, claims[pick(len(claims))], []resource.ID{"r2"}) })
			case act == 3 && len(claims) > 0:
				w.do(func(b *store.Batch) { w.claims.Delete(b, claims[pick(len(claims))]) })
			case act == 4:
				h := hosts[pick(len(hosts))]
				w.do(func(b *store.Batch) {
					w.hosts.Set(b, h, func(s *host.Spec) { s.Mode, s.MemoryOvercommitPercent = host.Maintenance, 150 })
				})
			case act == 5:
				h := hosts[pick(len(hosts))]
				w.do(func(b *store.Batch) { w.hosts.Delete(b, h); store.Release(b, h, "holder") })
			case act == 6:
				d := &storage.Datastore{Meta: resource.Meta{Name: name}, Status: storage.DatastoreStatus{Phase: storage.DatastoreReady, CapacityMiB: 1000, FreeMiB: 900}}
				for _, h := range hosts[:rapid.IntRange(0, len(hosts)).Draw(t, "reached by")] {
					d.Status.HostIDs = append(d.Status.HostIDs, h.ID)
				}
				w.do(func(b *store.Batch) { w.stores.Create(b, d) })
			case act == 7 && len(stores) > 0:
				b := w.db.Begin()
				w.stores.Delete(b, stores[pick(len(stores))])
				_ = w.db.Commit(context.Background(), b) // refused while something lies on it
			case act == 8 && len(stores) > 0:
				w.do(func(b *store.Batch) {
					w.allocations.Create(b, &storage.Allocation{Spec: storage.AllocationSpec{DatastoreID: stores[pick(len(stores))].ID, SizeMiB: 70}})
				})
			case act == 10:
				w.do(func(b *store.Batch) {
					w.clusters.Create(b, &cluster.Cluster{Meta: resource.Meta{Name: name}, Spec: cluster.Spec{CPUOvercommitPercent: 300, MemoryOvercommitPercent: 120}})
				})
			case act == 11 && len(clusters) > 0:
				c, h := clusters[pick(len(clusters))], hosts[pick(len(hosts))]
				w.do(func(b *store.Batch) { w.hosts.Set(b, h, func(s *host.Spec) { s.ClusterID = c.ID }) })
			case act == 12 && len(clusters) > 0:
				c := clusters[pick(len(clusters))]
				b := w.db.Begin()
				if c.Spec.CPUOvercommitPercent == 300 {
					w.clusters.Set(b, c, func(s *cluster.Spec) { s.CPUOvercommitPercent, s.MemoryOvercommitPercent = 50, 200 })
				} else {
					w.clusters.Delete(b, c)
				}
				_ = w.db.Commit(context.Background(), b) // a deletion is refused while a host is in it
			case act == 13 && len(claims) > 0:
				to := Demand{CPUs: rapid.Int64Range(0, 3).Draw(t, "cpus"), CPUReservationMHz: rapid.Int64Range(0, 9000).Draw(t, "MHz")}
				var broken error
				if rapid.Bool().Draw(t, "breaks") {
					broken = errors.New("broken")
				}
				_ = w.gate.Resize(context.Background(), claims[pick(len(claims))], "VM", to, func(*store.Batch) error { return broken })
			case act == 9 && len(allocations) > 0:
				a := allocations[pick(len(allocations))]
				w.do(func(b *store.Batch) { w.allocations.Set(b, a, func(s *storage.AllocationSpec) { s.SizeMiB += 30 }) })
			}
			if got, want := shown(w.gate.State()), shown(NewFeed(w.db.Snapshot()).State); !reflect.DeepEqual(got, want) {
				t.Fatalf("after act %d the state is\n%v, built anew\n%v", act, got, want)
			}
		}
	})
}

func TestFeedThatHearsOfAChangeTwiceCountsItOnce(t *testing.T) {
	w := newWorld()
	id := w.addHost("h1", host.Alive)
	w.do(func(b *store.Batch) {
		w.claims.Create(b, &Claim{Spec: ClaimSpec{HostID: id, Demand: Demand{CPUs: 2, MemoryMiB: 100}}})
	})
	f := NewFeed(w.db.Snapshot())
	for range 2 {
		f.Apply([]store.Delta{{New: store.Every(w.db.Snapshot(), Claims)[0]}})
	}
	if got := f.node(id).claimed; got != (Demand{CPUs: 2, MemoryMiB: 100}) {
		t.Errorf("claimed are %+v", got)
	}
}

func TestClaimWhoseCommitFailsIsGivenBack(t *testing.T) {
	w := newWorld()
	id := w.addHost("h1", host.Alive)
	before := shown(w.gate.State())
	r := Request{Workload: resource.Ref{Kind: "vm", ID: "a"}, Demand: Demand{CPUs: 2, MemoryMiB: 4096}}
	broken := errors.New("broken")
	err := w.gate.Place(t.Context(), r, func(_ *store.Batch, on Choice) error {
		if got := w.gate.State().node(id).claimed; on.HostID != id || got != r.Demand {
			t.Errorf("while it is being committed, %+v is claimed on %s", got, on.Host)
		}
		return broken
	})
	if !errors.Is(err, broken) || !reflect.DeepEqual(before, shown(w.gate.State())) {
		t.Errorf("after %v the state is %v", err, shown(w.gate.State()))
	}
}

func TestResizedClaimIsCountedAsItWasAndAsItWillBe(t *testing.T) {
	w := newWorld()
	id := w.addHost("h1", host.Alive) // 4 threads of 2500 MHz, 16 vCPUs
	claim := func(cpus, mhz int64) *Claim {
		c := &Claim{Spec: ClaimSpec{HostID: id, Demand: Demand{CPUs: cpus, CPUReservationMHz: mhz}}}
		w.do(func(b *store.Batch) { w.claims.Create(b, c) })
		return store.Find(w.db.Snapshot(), Claims, c.ID)
	}
	now := func() Demand { return w.gate.State().node(id).claimed }
	one, _ := claim(4, 4000), claim(4, 4000)
	to, broken := Demand{CPUs: 3, CPUReservationMHz: 6000}, errors.New("broken")
	err := w.gate.Resize(t.Context(), one, "VM one", to, func(*store.Batch) error {
		if now() != (Demand{CPUs: 8, CPUReservationMHz: 10_000}) {
			t.Errorf("while it is being committed %+v is claimed", now())
		}
		return broken
	})
	if !errors.Is(err, broken) || now() != (Demand{CPUs: 8, CPUReservationMHz: 8000}) {
		t.Errorf("after %v %+v is claimed", err, now())
	}
	nothing := func(*store.Batch) error { return nil }
	if err := w.gate.CheckResize(one, "VM one", to); err != nil {
		t.Error(err)
	}
	if err := w.gate.Resize(t.Context(), one, "VM one", to, nothing); err != nil || now() != (Demand{CPUs: 7, CPUReservationMHz: 10_000}) {
		t.Errorf("after %v %+v is claimed", err, now())
	}
	one = store.Find(w.db.Snapshot(), Claims, one.ID)
	for _, c := range []struct {
		to    Demand
		kind  fault.Kind
		words string
	}{
		{Demand{CPUs: 4, CPUReservationMHz: 6001}, fault.Exhausted, "give VM one more of host h1: not enough CPU that nobody has reserved (needs 1 MHz more; 0 of 10000 MHz are free)"},
		{Demand{CPUs: 2, CPUReservationMHz: 6001}, fault.Precondition, "2 of them can never use the 6001 MHz"},
		{Demand{CPUs: 13, CPUReservationMHz: 6000}, fault.Exhausted, "not enough vCPUs (needs 10 more; 9 of 16 are free)"},
		{Demand{CPUs: 12, CPUReservationMHz: 5000}, "", ""},
	} {
		err := w.gate.CheckResize(one, "VM one", c.to)
		if fault.KindOf(err) != c.kind || err != nil && (!strings.Contains(err.Error(), c.words) || strings.Contains(fault.OutsideOf(err), "h1")) {
			t.Errorf("to %+v: %v (%s)", c.to, err, fault.OutsideOf(err))
		}
	}
	w.do(func(b *store.Batch) { w.claims.Delete(b, one) })
	if err := w.gate.CheckResize(one, "VM one", to); !fault.Is(err, fault.Conflict) {
		t.Errorf("a claim that is gone: %v", err)
	}
}

func TestManyAtOnceNeverPromiseMoreThanThereIs(t *testing.T) {
	w := newWorld()
	id := w.addHost("h1", host.Alive) // 8192 MiB
	var all sync.WaitGroup
	var mu sync.Mutex
	placed, refused := 0, 0
	var commits sync.Mutex // the memory store of a test has one goroutine
	for i := range 20 {
		all.Go(func() {
			r := Request{Workload: resource.Ref{Kind: "vm", ID: resource.ID(fmt.Sprint(i))}, Demand: Demand{CPUs: 1, MemoryMiB: 1024}}
			commits.Lock()
			err := w.gate.Place(context.Background(), r, func(*store.Batch, Choice) error { return nil })
			commits.Unlock()
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				placed++
			} else if fault.Is(err, fault.Exhausted) {
				refused++
			}
		})
	}
	all.Wait()
	if placed != 8 || refused != 12 || w.gate.State().node(id).claimed != (Demand{CPUs: 8, MemoryMiB: 8192}) {
		t.Errorf("%d were placed and %d refused; claimed are %+v", placed, refused, w.gate.State().node(id).claimed)
	}
	w.do(func(b *store.Batch) {
		w.gate.Release(b, resource.Ref{ID: store.Every(w.db.Snapshot(), Claims)[0].Spec.Workload.ID}, "")
	})
	if got := w.gate.State().node(id).claimed; got != (Demand{CPUs: 7, MemoryMiB: 7168}) {
		t.Errorf("after one was released %+v is claimed", got)
	}
}

func TestOvercommittedHostOf6GiBAt150PercentTakesThreeVMsOf3GiB(t *testing.T) {
	w := newWorld()
	textbook := &cluster.Cluster{Meta: resource.Meta{ID: "c", Name: "textbook"}, Spec: cluster.Spec{CPUOvercommitPercent: 100, MemoryOvercommitPercent: 150}}
	h := host.New("h1", "h1")
	h.Spec.ClusterID = textbook.ID
	h.Status.Profile.MachineType = "pc-q35-7.2"
	h.Status.Inventory = host.Inventory{Sockets: 4, CoresPerSocket: 4, ThreadsPerCore: 2, Threads: 32, MHz: 3000, MemoryMiB: 6144}
	w.do(func(b *store.Batch) {
		w.clusters.Create(b, textbook)
		w.hosts.Create(b, h)
		w.lives.Create(b, &host.Liveness{Spec: host.LivenessSpec{HostID: h.ID}, Status: host.LivenessStatus{State: host.Alive}})
	})
	for i := range 4 {
		r := Request{Name: "VM", Workload: resource.Ref{Kind: "vm", ID: resource.ID(fmt.Sprint(i))}, Demand: Demand{CPUs: 1, MemoryMiB: 3072}}
		err := w.gate.Place(t.Context(), r, func(*store.Batch, Choice) error { return nil })
		if i < 3 && err != nil || i == 3 && !fault.Is(err, fault.Exhausted) {
			t.Errorf("VM %d: %v", i, err)
		}
	}
	if total := w.gate.State().node(h.ID).total; total != (Demand{CPUs: 32, MemoryMiB: 9216, CPUReservationMHz: 96_000, MemoryReservationMiB: 6144}) {
		t.Errorf("it can promise %+v; want 32 vCPUs and 9216 MiB", total)
	}
	w.do(func(b *store.Batch) {
		w.clusters.Set(b, store.Find(w.db.Snapshot(), cluster.Clusters, textbook.ID), func(s *cluster.Spec) { s.CPUOvercommitPercent, s.MemoryOvercommitPercent = 200, 200 })
	})
	if total := w.gate.State().node(h.ID).total; total != (Demand{CPUs: 64, MemoryMiB: 12288, CPUReservationMHz: 96_000, MemoryReservationMiB: 6144}) {
		t.Errorf("after a change of its cluster it can promise %+v", total)
	}
	w.do(func(b *store.Batch) {
		w.hosts.Set(b, host.Find(w.db.Snapshot(), h.ID), func(s *host.Spec) { s.MemoryOvercommitPercent = 100 })
	})
	if total := w.gate.State().node(h.ID).total; total != (Demand{CPUs: 64, MemoryMiB: 6144, CPUReservationMHz: 96_000, MemoryReservationMiB: 6144}) {
		t.Errorf("its own setting does not come before its cluster's: %+v", total)
	}
}
