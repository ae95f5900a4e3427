package placement

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/host/numa"
)

// twoNodes gives a host two memory nodes of 4 threads and 4096 MiB.
func twoNodes(n *node) {
	inv := host.Inventory{MemoryMiB: 8192, NUMA: []host.NUMANode{
		{Node: 0, MemoryMiB: 4096, CPUs: []int{0, 1, 2, 3}}, {Node: 1, MemoryMiB: 4096, CPUs: []int{4, 5, 6, 7}},
	}}
	n.layOut(numa.Cells(&inv, 100))
}

func near(cpus, mib int64, policy numa.Policy) *Request {
	r := want(cpus, mib)
	r.NUMA = policy
	return r
}

func TestHostWithOneNodeThatFitsComesBeforeAnEmptierOne(t *testing.T) {
	s := cloud(2)
	twoNodes(s.node("00001"))
	twoNodes(s.node("00002"))
	// Half of each node of the first is bound; the second has one node full and one free.
	s.Claim("00001", Demand{CPUs: 2, MemoryMiB: 4096}, []host.NUMAPart{{Node: 0, CPUs: 1, MemoryMiB: 2048}, {Node: 1, CPUs: 1, MemoryMiB: 2048}})
	s.Claim("00002", Demand{CPUs: 4, MemoryMiB: 4096}, []host.NUMAPart{{Node: 0, CPUs: 4, MemoryMiB: 4096}})
	got := chosen(t, s, near(2, 3072, numa.Preferred))
	if want := []host.NUMAPart{{Node: 1, CPUs: 2, MemoryMiB: 3072}}; got.HostID != "00002" || !slices.Equal(got.NUMA, want) {
		t.Errorf("got %+v", got)
	}
	if got := chosen(t, s, near(2, 3072, numa.None)); got.HostID != "00001" || got.NUMA != nil {
		t.Errorf("who does not want to be bound got %+v", got)
	}
}

func TestPreferringRefusesNobodyAndRequiringDoes(t *testing.T) {
	s := cloud(1)
	twoNodes(s.node("00001"))
	if got := chosen(t, s, near(4, 6000, numa.Preferred)); len(got.NUMA) != 2 {
		t.Errorf("what fits on two nodes got %+v", got)
	}
	s.Claim("00001", Demand{CPUs: 1, MemoryMiB: 3000}, []host.NUMAPart{{Node: 0, CPUs: 1, MemoryMiB: 3000}})
	if got := chosen(t, s, near(4, 5000, numa.Preferred)); got.NUMA != nil {
		t.Errorf("what cannot be spread evenly got %+v", got)
	}
	_, err := s.Choose(near(4, 5000, numa.Required))
	if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "no memory node with capacity for all its vCPUs and memory (needs 4 vCPUs and 5000 MiB on one)") {
		t.Errorf("got %v", err)
	}
	if got := chosen(t, s, near(4, 4096, numa.Required)); len(got.NUMA) != 1 || got.NUMA[0].Node != 1 {
		t.Errorf("what fits got %+v", got)
	}
	plain := cloud(1)
	if got := chosen(t, plain, near(4, 5000, numa.Required)); got.NUMA != nil {
		t.Errorf("a host of one node has all on one: %+v", got)
	}
}

func TestWhoMovesKeepsTheNodesThatItsGuestHasSeen(t *testing.T) {
	s := cloud(3)
	twoNodes(s.node("00001"))
	twoNodes(s.node("00002"))
	s.Claim("00001", Demand{CPUs: 6, MemoryMiB: 100}, []host.NUMAPart{{Node: 1, CPUs: 4, MemoryMiB: 100}, {Node: 0, CPUs: 2, MemoryMiB: 100}})
	r := near(4, 2048, numa.Preferred)
	r.Parts = []host.NUMAPart{{Node: 5, CPUs: 2, MemoryMiB: 1024}, {Node: 7, CPUs: 2, MemoryMiB: 1024}}
	r.NotOn = []resource.ID{"00003"}
	got := chosen(t, s, r)
	if want := []host.NUMAPart{{Node: 0, CPUs: 2, MemoryMiB: 1024}, {Node: 1, CPUs: 2, MemoryMiB: 1024}}; got.HostID != "00002" || !slices.Equal(got.NUMA, want) {
		t.Errorf("got %+v", got)
	}
	r.NotOn = []resource.ID{"00001", "00002"} // the third has one node
	for _, p := range chosen(t, s, r).NUMA {
		if p.Node != host.Unbound || p.CPUs != 2 {
			t.Errorf("on a host of one node got %+v", p)
		}
	}
}

func TestWhatIsBoundFollowsClaimsInAnyOrderWithTheirHost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := NewFeed(newWorld().db.Snapshot())
		h := host.New("h", "h1")
		h.Status.Inventory = host.Inventory{MemoryMiB: 64, Threads: 4, NUMA: []host.NUMANode{{Node: 0, MemoryMiB: 32, CPUs: []int{0, 1}}, {Node: 1, MemoryMiB: 32, CPUs: []int{2, 3}}}}
		there := map[resource.ID]*Claim{}
		for range rapid.IntRange(1, 12).Draw(t, "changes") {
			id := resource.ID(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "claim"))
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				f.Apply([]store.Delta{{New: h}})
			case 1:
				c := &Claim{Spec: ClaimSpec{HostID: "h", Demand: Demand{CPUs: 1, MemoryMiB: 3}, NUMA: []host.NUMAPart{{Node: rapid.IntRange(0, 1).Draw(t, "node"), CPUs: 1, MemoryMiB: 3}}}}
				c.ID = id
				there[id] = c
				f.Apply([]store.Delta{{New: c}})
			case 2:
				if c := there[id]; c != nil {
					f.Apply([]store.Delta{{Old: c}})
					delete(there, id)
				}
			}
		}
		f.Apply([]store.Delta{{New: h}})
		want := []numa.Size{{}, {}}
		for _, c := range there {
			p := c.Spec.NUMA[0]
			want[p.Node] = numa.Size{CPUs: want[p.Node].CPUs + 1, MemoryMiB: want[p.Node].MemoryMiB + 3}
		}
		if got := f.node("h").bound; !slices.Equal(got, want) {
			t.Fatalf("%v is bound, want %v", got, want)
		}
	})
}

func TestPlayingWithACloneBindsNothing(t *testing.T) {
	s := cloud(1)
	twoNodes(s.node("00001"))
	s.Clone().Claim("00001", Demand{CPUs: 1, MemoryMiB: 1}, []host.NUMAPart{{Node: 0, CPUs: 1, MemoryMiB: 1}})
	if got := s.node("00001").bound; got[0] != (numa.Size{}) {
		t.Errorf("%v is bound", got)
	}
}
