package numa

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/host"
)

// drawn is a host of any shape, and what is bound there.
func drawn(t *rapid.T) (host.Inventory, []Cell, []Size) {
	var inv host.Inventory
	nodes := rapid.IntRange(1, 6).Draw(t, "nodes")
	thread := 0
	for i := range nodes {
		n := host.NUMANode{Node: i * rapid.IntRange(1, 2).Draw(t, "gap"), MemoryMiB: rapid.SampledFrom([]int64{0, 5, 8, 16}).Draw(t, "memory")}
		if i > 0 {
			n.Node = max(n.Node, inv.NUMA[i-1].Node+1)
		}
		for range rapid.IntRange(0, 4).Draw(t, "threads") {
			n.CPUs = append(n.CPUs, thread)
			thread++
		}
		n.Distances = rapid.SliceOfN(rapid.SampledFrom([]int{11, 16, 21, 28}), nodes, nodes).Draw(t, "distances")
		n.Distances[i] = 10
		inv.NUMA = append(inv.NUMA, n)
		inv.MemoryMiB += n.MemoryMiB
	}
	cells := Cells(&inv, rapid.SampledFrom([]int64{100, 200}).Draw(t, "percent"))
	bound := make([]Size, len(cells))
	for i := range bound {
		bound[i] = Size{rapid.Int64Range(0, 6).Draw(t, "bound"), rapid.Int64Range(0, 10).Draw(t, "bound MiB")}
	}
	return inv, cells, bound
}

func need(t *rapid.T) Size {
	return Size{rapid.Int64Range(1, 12).Draw(t, "vCPUs"), rapid.Int64Range(1, 40).Draw(t, "MiB")}
}

// possible tries every way to give the parts cells of their own.
func possible(cells []Cell, bound, parts []Size, taken int) bool {
	if len(parts) == 0 {
		return true
	}
	for c := range cells {
		if taken&(1<<c) == 0 && fits(&cells[c], bound[c], parts[0]) && possible(cells, bound, parts[1:], taken|1<<c) {
			return true
		}
	}
	return false
}

func equal(need Size, k int64) (out []Size) {
	for i := range k {
		out = append(out, part(need, k, i))
	}
	return out
}

func TestPlanIsWholeEvenAndAsNarrowAsCanBe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, cells, bound := drawn(t)
		need := need(t)
		got := Plan(cells, bound, need)
		narrowest := 0
		for k := min(int64(len(cells)), need.CPUs, need.MemoryMiB); k > 0; k-- {
			if possible(cells, bound, equal(need, k), 0) {
				narrowest = int(k)
			}
		}
		if len(got) != narrowest {
			t.Fatalf("%v has %d parts, and %d will do", got, len(got), narrowest)
		}
		var sum Size
		used := map[int]bool{}
		for _, p := range got {
			sum.CPUs, sum.MemoryMiB = sum.CPUs+p.CPUs, sum.MemoryMiB+p.MemoryMiB
			at := slices.IndexFunc(cells, func(c Cell) bool { return c.Node == p.Node })
			if at < 0 || used[p.Node] || !fits(&cells[at], bound[at], Size{p.CPUs, p.MemoryMiB}) {
				t.Fatalf("%v does not fit on node %d", got, p.Node)
			}
			used[p.Node] = true
			if got[0].CPUs-p.CPUs > 1 || got[0].MemoryMiB-p.MemoryMiB > 1 || p.CPUs < 1 || p.MemoryMiB < 1 {
				t.Fatalf("%v is not even", got)
			}
		}
		if len(got) > 0 && sum != need {
			t.Fatalf("%v is not all of %v", got, need)
		}
		if again := Plan(cells, bound, need); !slices.Equal(again, got) {
			t.Fatalf("%v, and then %v", got, again)
		}
	})
}

func TestOnOneNodeTheLeastPromisedIsTaken(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, cells, bound := drawn(t)
		need := need(t)
		got := Plan(cells, bound, need)
		if len(got) != 1 {
			return // Plan's other test says whether that is right
		}
		at := slices.IndexFunc(cells, func(c Cell) bool { return c.Node == got[0].Node })
		for c := range cells {
			if fits(&cells[c], bound[c], need) && bound[c].CPUs*int64(len(cells[at].Threads)) < bound[at].CPUs*int64(len(cells[c].Threads)) {
				t.Fatalf("node %d was taken, and %d is less promised", cells[at].Node, cells[c].Node)
			}
		}
	})
}

func TestPartsThatAGuestHasSeenAreKept(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		_, cells, bound := drawn(t)
		seen := make([]host.NUMAPart, 0, 3)
		for _, p := range equal(need(t), 2) {
			seen = append(seen, host.NUMAPart{Node: 7, CPUs: p.CPUs, MemoryMiB: p.MemoryMiB})
		}
		got, ok := Rebind(cells, bound, seen)
		if ok != possible(cells, bound, []Size{{seen[0].CPUs, seen[0].MemoryMiB}, {seen[1].CPUs, seen[1].MemoryMiB}}, 0) {
			t.Fatalf("%v bound: %v", got, ok)
		}
		for i := range got {
			if got[i].CPUs != seen[i].CPUs || got[i].MemoryMiB != seen[i].MemoryMiB {
				t.Fatalf("%v became %v", seen, got)
			}
			if ok == (got[i].Node == host.Unbound) {
				t.Fatalf("bound: %v, but %v", ok, got)
			}
		}
	})
}

func TestCellsHaveEachThreadOnceAndNoMoreThanTheHost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		inv, cells, _ := drawn(t)
		inv.ReservedMemoryMiB = inv.MemoryMiB / 4
		cells = Cells(&inv, 100)
		var memory int64
		threads := map[int]bool{}
		for _, c := range cells {
			memory += c.Total.MemoryMiB
			for _, thread := range c.Threads {
				if threads[thread] {
					t.Fatalf("thread %d is in two cells", thread)
				}
				threads[thread] = true
			}
			if len(c.Threads) == 0 || c.Total.CPUs != int64(len(c.Threads)) || !slices.Equal(Threads(&inv, c.Node), c.Threads) {
				t.Fatalf("%+v", c)
			}
		}
		// Rounded down for each.
		if len(cells) > 0 && memory > inv.MemoryMiB-inv.ReservedMemoryMiB+int64(len(cells)) {
			t.Fatalf("cells have %d MiB, and the host gives %d", memory, inv.MemoryMiB-inv.ReservedMemoryMiB)
		}
	})
}

func TestSpreadMakesNothing(t *testing.T) {
	inv := host.Inventory{}
	for i := range 8 {
		inv.NUMA = append(inv.NUMA, host.NUMANode{Node: i, MemoryMiB: 1024, CPUs: []int{2 * i, 2*i + 1}})
	}
	cells := Cells(&inv, 100)
	bound := make([]Size, len(cells))
	if made := testing.AllocsPerRun(10, func() { Spread(cells, bound, Size{9, 4096}) }); made != 0 {
		t.Errorf("%v allocations", made)
	}
	if got := Spread(cells, bound, Size{9, 4096}); got != 5 {
		t.Errorf("nine vCPUs on nodes of two threads take %d nodes", got)
	}
	if fmt.Sprint(Threads(&inv, 3)) != "[6 7]" || Threads(&inv, 9) != nil {
		t.Errorf("threads: %v, %v", Threads(&inv, 3), Threads(&inv, 9))
	}
}
