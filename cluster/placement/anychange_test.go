package placement

import (
	"fmt"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/cluster"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/storage"
)

// anyRecord is one of few records that placement reads, in any condition.
func anyRecord(t *rapid.T) resource.Object {
	pick := func(prefix string) resource.ID {
		return resource.ID(fmt.Sprint(prefix, rapid.IntRange(0, 2).Draw(t, prefix)))
	}
	switch rapid.IntRange(0, 6).Draw(t, "kind") {
	case 0:
		h := host.New(pick("h"), "")
		h.Name = "host-" + string(h.ID)
		h.Spec.ClusterID = rapid.SampledFrom([]resource.ID{"", "c0", "c1"}).Draw(t, "cluster")
		h.Spec.Mode = rapid.SampledFrom([]host.Mode{host.Active, host.Active, host.Maintenance}).Draw(t, "mode")
		h.Status.Profile.MachineType = rapid.SampledFrom([]string{"pc-q35-7.2", "pc-q35-7.2", ""}).Draw(t, "QEMU")
		h.Status.Inventory = host.Inventory{Threads: 8, MemoryMiB: 8192, ReservedMemoryMiB: rapid.Int64Range(0, 2).Draw(t, "reserved") * 100}
		if rapid.Bool().Draw(t, "two nodes") {
			h.Status.Inventory.NUMA = []host.NUMANode{{Node: 0, MemoryMiB: 4096, CPUs: []int{0, 1, 2, 3}}, {Node: 1, MemoryMiB: 4096, CPUs: []int{4, 5, 6, 7}}}
		}
		if rapid.IntRange(0, 4).Draw(t, "leaves") == 0 {
			h.Deleting = &h.Created
		}
		return h
	case 1:
		c := &cluster.Cluster{Spec: cluster.Spec{CPUOvercommitPercent: rapid.SampledFrom([]int64{50, 100, 400}).Draw(t, "CPU"), MemoryOvercommitPercent: 150}}
		c.ID = pick("c")
		return c
	case 2:
		of := pick("h")
		l := &host.Liveness{Spec: host.LivenessSpec{HostID: of}, Status: host.LivenessStatus{State: rapid.SampledFrom([]host.LifeState{host.Alive, host.Alive, host.Lost, ""}).Draw(t, "life")}}
		l.ID = "life-" + of
		return l
	case 3:
		of := pick("h")
		r := &host.Removal{Spec: host.RemovalSpec{HostID: of}}
		r.ID = "removal-" + of
		return r
	case 4:
		c := &Claim{Spec: ClaimSpec{HostID: pick("h"), Demand: Demand{CPUs: 2, MemoryMiB: rapid.Int64Range(1, 3).Draw(t, "GiB") * 1000}}}
		c.ID = pick("claim")
		if rapid.Bool().Draw(t, "bound") {
			c.Spec.NUMA = []host.NUMAPart{{Node: rapid.IntRange(0, 1).Draw(t, "node"), CPUs: c.Spec.CPUs, MemoryMiB: c.Spec.MemoryMiB}}
		}
		return c
	case 5:
		d := &storage.Datastore{Status: storage.DatastoreStatus{Phase: storage.DatastoreReady, CapacityMiB: 1000, FreeMiB: rapid.Int64Range(0, 9).Draw(t, "free") * 100}}
		d.ID = pick("d")
		d.Name = "store-" + string(d.ID)
		d.Status.HostIDs = rapid.SliceOfNDistinct(rapid.SampledFrom([]resource.ID{"h0", "h1", "h2"}), 0, 3, rapid.ID[resource.ID]).Draw(t, "reached by")
		return d
	}
	a := &storage.Allocation{Spec: storage.AllocationSpec{DatastoreID: pick("d"), SizeMiB: rapid.Int64Range(1, 9).Draw(t, "size") * 100}}
	a.ID = pick("allocation")
	return a
}

// Records come, change and go in any order, and some are heard of twice: what counts is what is there in
// the end.
func TestAFeedKnowsWhatIsThereHoweverItHeardOfIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := NewFeed(newWorld().db.Snapshot())
		there := map[resource.ID]resource.Object{}
		for range rapid.IntRange(1, 40).Draw(t, "changes") {
			r := anyRecord(t)
			d := store.Delta{Old: there[r.Head().ID], New: r}
			if d.Old != nil && rapid.IntRange(0, 3).Draw(t, "goes") == 0 {
				d.New = nil
				delete(there, r.Head().ID)
			} else {
				there[r.Head().ID] = r
			}
			f.Apply([]store.Delta{d})
			if d.New != nil && rapid.Bool().Draw(t, "twice") {
				f.Apply([]store.Delta{d})
			}
		}
		again := NewFeed(newWorld().db.Snapshot())
		order := slices.Sorted(func(yield func(resource.ID) bool) {
			for id := range there {
				if !yield(id) {
					return
				}
			}
		})
		for _, id := range rapid.Permutation(order).Draw(t, "order") {
			again.Apply([]store.Delta{{New: there[id]}})
		}
		if got, want := shown(f.State), shown(again.State); !reflect.DeepEqual(got, want) {
			t.Fatalf("the state is\n%v, built anew\n%v", got, want)
		}
		for range 5 {
			r := anyRequest(t)
			r.OnHost, r.NotOn = "", nil
			if got, want := answer(f.State, r), answer(again.State, r); got != want {
				t.Fatalf("the answer is %s, of one built anew %s", got, want)
			}
		}
	})
}
