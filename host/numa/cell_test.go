package numa

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/host"
)

func TestNodesOfEveryShapeBecomeCells(t *testing.T) {
	node := func(number int, mib int64, threads ...int) host.NUMANode {
		return host.NUMANode{Node: number, MemoryMiB: mib, CPUs: threads}
	}
	far := func(n host.NUMANode, distances ...int) host.NUMANode {
		n.Distances = distances
		return n
	}
	for name, c := range map[string]struct {
		nodes    []host.NUMANode
		reserved int64
		percent  int64
		cells    string // node: threads, vCPUs, MiB
	}{
		"a host that tells none": {nil, 0, 100, ""},
		"one node is no choice":  {[]host.NUMANode{node(0, 8, 0, 1)}, 0, 100, ""},
		"two":                    {[]host.NUMANode{node(0, 8, 0, 1), node(1, 16, 2)}, 0, 100, "0:[0 1] 2 8, 1:[2] 1 16"},
		"vCPUs are promised by the ratio, memory once":  {[]host.NUMANode{node(0, 8, 0, 1), node(1, 16, 2)}, 0, 350, "0:[0 1] 7 8, 1:[2] 3 16"},
		"what the host keeps is taken from both":        {[]host.NUMANode{node(0, 10, 0), node(1, 30, 1)}, 8, 100, "0:[0] 1 8, 1:[1] 1 24"},
		"numbers with gaps":                             {[]host.NUMANode{node(0, 8, 0), node(8, 8, 1)}, 0, 100, "0:[0] 1 8, 8:[1] 1 8"},
		"memory without threads is no cell":             {[]host.NUMANode{node(0, 8, 0), node(1, 8, 1), node(2, 64)}, 0, 100, "0:[0] 1 8, 1:[1] 1 8"},
		"and leaves no choice beside one":               {[]host.NUMANode{node(0, 8, 0), node(2, 64)}, 0, 100, ""},
		"threads without memory go to the nearest node": {[]host.NUMANode{far(node(0, 8, 0), 10, 30, 30), far(node(1, 8, 1), 30, 10, 20), far(node(2, 0, 2, 3), 30, 20, 10)}, 0, 100, "0:[0] 1 8, 1:[1 2 3] 3 8"},
		"and to the first where nobody tells":           {[]host.NUMANode{node(0, 8, 5), node(1, 8, 1), node(2, 0, 3)}, 0, 100, "0:[3 5] 2 8, 1:[1] 1 8"},
		"a node of neither is nothing":                  {[]host.NUMANode{node(0, 8, 0), node(1, 8, 1), node(2, 0)}, 0, 100, "0:[0] 1 8, 1:[1] 1 8"},
	} {
		inv := host.Inventory{NUMA: c.nodes, ReservedMemoryMiB: c.reserved}
		before := fmt.Sprint(inv)
		var got string
		for i, cell := range Cells(&inv, c.percent) {
			if i > 0 {
				got += ", "
			}
			got += fmt.Sprintf("%d:%v %d %d", cell.Node, cell.Threads, cell.Total.CPUs, cell.Total.MemoryMiB)
		}
		if got != c.cells {
			t.Errorf("%s: %s, not %s", name, got, c.cells)
		}
		if fmt.Sprint(inv) != before {
			t.Errorf("%s: the inventory was changed", name)
		}
	}
}

// Parts of any sizes, as a guest may have them whose memory has grown: they are bound if and only if there
// is a way to.
func TestPartsOfAnySizesAreBoundWhereverTheyFit(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, cells, bound := drawn(t)
		var seen []host.NUMAPart
		var sizes []Size
		for range rapid.IntRange(1, 4).Draw(t, "parts") {
			p := host.NUMAPart{Node: 9, CPUs: rapid.Int64Range(1, 4).Draw(t, "vCPUs"), MemoryMiB: rapid.Int64Range(1, 16).Draw(t, "MiB")}
			seen, sizes = append(seen, p), append(sizes, Size{p.CPUs, p.MemoryMiB})
		}
		before := slices.Clone(seen)
		got, ok := Rebind(cells, bound, seen)
		if ok != possible(cells, bound, sizes, 0) {
			t.Fatalf("%v on %+v beside %v: bound %v", seen, cells, bound, ok)
		}
		if !slices.Equal(before, seen) {
			t.Fatal("what was given was changed")
		}
		used := map[int]bool{}
		for i := range got {
			if ok && used[got[i].Node] || ok && got[i].Node == host.Unbound || !ok && got[i].Node != host.Unbound {
				t.Fatalf("bound %v: %v", ok, got)
			}
			used[got[i].Node] = true
		}
	})
}

// More room on a node never makes a workload wider.
func TestMoreOnANodeNeverSpreadsAWorkloadFurther(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, cells, bound := drawn(t)
		need := need(t)
		before := Spread(cells, bound, need)
		for i := range bound {
			bound[i].CPUs, bound[i].MemoryMiB = bound[i].CPUs/2, bound[i].MemoryMiB/2
		}
		after := Spread(cells, bound, need)
		if before > 0 && (after == 0 || after > before) {
			t.Fatalf("it lay on %d, and with more room on %d", before, after)
		}
		slices.Reverse(cells)
		slices.Reverse(bound)
		if turned := Spread(cells, bound, need); turned != after {
			t.Fatalf("it lies on %d, and on %d of the same in another order", after, turned)
		}
	})
}
