package numa

import (
	"cmp"
	"slices"

	"github.com/virga-cloud/virga/host"
)

// fits reports whether a part fits on a cell beside what is bound there. More vCPUs than the cell has
// threads would only wait for each other.
func fits(c *Cell, bound, part Size) bool {
	return part.CPUs <= int64(len(c.Threads)) && bound.CPUs+part.CPUs <= c.Total.CPUs && bound.MemoryMiB+part.MemoryMiB <= c.Total.MemoryMiB
}

// part is the i-th of k equal parts of a workload; the first ones take what is left over.
func part(need Size, k, i int64) Size {
	p := Size{need.CPUs / k, need.MemoryMiB / k}
	if i < need.CPUs%k {
		p.CPUs++
	}
	if i < need.MemoryMiB%k {
		p.MemoryMiB++
	}
	return p
}

// Spread is the least number of cells that a workload fits on in equal parts; 0: it does not fit. Bound is
// what is bound to each cell already. It makes nothing: placement asks it for very many hosts.
func Spread(cells []Cell, bound []Size, need Size) int {
	for k := int64(1); k <= int64(len(cells)) && k <= need.CPUs && k <= need.MemoryMiB; k++ {
		if splits(cells, bound, need, k) {
			return int(k)
		}
	}
	return 0
}

// splits reports whether k parts find a cell each. The parts are ordered, each at least as large as the
// next, so that a cell which takes one takes all after it: they fit if and only if the cells that take the
// i-th are at least i.
func splits(cells []Cell, bound []Size, need Size, k int64) bool {
	for i := range k {
		p, takers := part(need, k, i), int64(0)
		for c := range cells {
			if fits(&cells[c], bound[c], p) {
				takers++
			}
		}
		if takers <= i {
			return false
		}
	}
	return true
}

// Plan binds a workload to as few cells as possible; nil: it does not fit.
func Plan(cells []Cell, bound []Size, need Size) []host.NUMAPart {
	k := int64(Spread(cells, bound, need))
	if k == 0 {
		return nil
	}
	parts := make([]Size, k)
	for i := range parts {
		parts[i] = part(need, k, int64(i))
	}
	return bind(cells, bound, parts)
}

// Rebind binds a workload whose parts are given, because its guest has seen them: it comes from another
// host. Where they do not all fit none is bound, and ok is false.
func Rebind(cells []Cell, bound []Size, parts []host.NUMAPart) (out []host.NUMAPart, ok bool) {
	out = slices.Clone(parts)
	order := make([]int, len(parts))
	for i := range order {
		order[i], out[i].Node = i, host.Unbound
	}
	// The largest first: it has the least choice.
	slices.SortStableFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(parts[b].CPUs, parts[a].CPUs), cmp.Compare(parts[b].MemoryMiB, parts[a].MemoryMiB))
	})
	sizes := make([]Size, len(parts))
	for i, at := range order {
		sizes[i] = Size{parts[at].CPUs, parts[at].MemoryMiB}
	}
	placed := bind(cells, bound, sizes)
	for i := range placed {
		out[order[i]].Node = placed[i].Node
	}
	return out, placed != nil
}

// bind finds a cell for each of the ordered parts: from every cell it goes outwards to the nearest, and
// keeps the closest set. Nil: they do not fit.
func bind(cells []Cell, bound []Size, parts []Size) []host.NUMAPart {
	var best []int
	for seed := range cells {
		if chosen := from(seed, cells, bound, parts); chosen != nil && (best == nil || better(chosen, best, cells, bound, parts)) {
			best = chosen
		}
	}
	if best == nil {
		return nil
	}
	// The guest's nodes are in the order of the host's, where that fits too.
	if sorted := slices.Sorted(slices.Values(best)); takes(sorted, cells, bound, parts) {
		best = sorted
	}
	out := make([]host.NUMAPart, len(parts))
	for i, c := range best {
		out[i] = host.NUMAPart{Node: cells[c].Node, CPUs: parts[i].CPUs, MemoryMiB: parts[i].MemoryMiB}
	}
	return out
}

func takes(chosen []int, cells []Cell, bound []Size, parts []Size) bool {
	for i, c := range chosen {
		if !fits(&cells[c], bound[c], parts[i]) {
			return false
		}
	}
	return true
}

// from gives each part the nearest cell to the seed that takes it and is not taken.
func from(seed int, cells []Cell, bound []Size, parts []Size) []int {
	order := make([]int, len(cells))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		return cmp.Or(cmp.Compare(cells[seed].far[cells[a].Node], cells[seed].far[cells[b].Node]),
			prefer(cells, bound, a, b), cmp.Compare(cells[a].Node, cells[b].Node))
	})
	var chosen []int
	for _, p := range parts {
		i := slices.IndexFunc(order, func(c int) bool { return !slices.Contains(chosen, c) && fits(&cells[c], bound[c], p) })
		if i < 0 {
			return nil
		}
		chosen = append(chosen, order[i])
	}
	return chosen
}

// prefer orders two cells: the one whose threads are less promised, then the one with less memory left.
func prefer(cells []Cell, bound []Size, a, b int) int {
	return cmp.Or(
		// bound/threads, multiplied out
		cmp.Compare(bound[a].CPUs*int64(len(cells[b].Threads)), bound[b].CPUs*int64(len(cells[a].Threads))),
		cmp.Compare(cells[a].Total.MemoryMiB-bound[a].MemoryMiB, cells[b].Total.MemoryMiB-bound[b].MemoryMiB),
	)
}

// better orders two choices for the same parts: by how far their cells are from each other, then by load.
func better(a, b []int, cells []Cell, bound []Size, parts []Size) bool {
	if by := cmp.Compare(width(a, cells), width(b, cells)); by != 0 {
		return by < 0
	}
	for i := range parts {
		if by := prefer(cells, bound, a[i], b[i]); by != 0 {
			return by < 0
		}
	}
	return false
}

// width is the sum of the distances between all cells of a choice.
func width(chosen []int, cells []Cell) (sum int) {
	for _, a := range chosen {
		for _, b := range chosen {
			sum += cells[a].far[cells[b].Node]
		}
	}
	return sum
}

// Threads are those that a part may run on: of the node that it is bound to, or none where it is not bound
// or the host has no such node (any more).
func Threads(inv *host.Inventory, node int) []int {
	for _, c := range Cells(inv, 100) {
		if c.Node == node {
			return c.Threads
		}
	}
	return nil
}
