package numa

import (
	"slices"

	"github.com/virga-cloud/virga/host"
)

// Policy says how much a workload wants to be bound.
type Policy string

// The policies.
const (
	Preferred Policy = "preferred" // bound where it fits, on as few nodes as possible
	Required  Policy = "required"  // only on a host that has it fit on one node
	None      Policy = "none"      // not bound
)

// Size is how much of vCPUs and memory something has or takes.
type Size struct{ CPUs, MemoryMiB int64 }

// Cell is a memory node that can be bound to.
type Cell struct {
	// Node is the node's number, and Threads the threads that are nearest to its memory.
	Node    int
	Threads []int
	// Total is what can be promised on it: vCPUs by the host's ratio, memory once.
	Total Size
	// far are the distances to the nodes of the host, by number.
	far map[int]int
}

// Cells finds the nodes of a host that can be bound to; nil where there is no choice: of one node all is
// its own. CPUPercent vCPUs are promised for 100 threads. What the host keeps for itself is taken from all
// nodes alike.
func Cells(inv *host.Inventory, cpuPercent int64) []Cell {
	var cells []Cell
	var all int64
	for _, n := range inv.NUMA {
		all += n.MemoryMiB
		if n.MemoryMiB > 0 {
			cells = append(cells, Cell{Node: n.Node, Threads: slices.Clone(n.CPUs), Total: Size{MemoryMiB: n.MemoryMiB}, far: farFrom(inv, n)})
		}
	}
	for _, n := range inv.NUMA {
		if n.MemoryMiB == 0 && len(cells) > 0 {
			c := &cells[nearest(cells, n.Node)]
			c.Threads = append(c.Threads, n.CPUs...)
		}
	}
	cells = slices.DeleteFunc(cells, func(c Cell) bool { return len(c.Threads) == 0 })
	if len(cells) < 2 {
		return nil
	}
	for i := range cells {
		c := &cells[i]
		slices.Sort(c.Threads)
		c.Total.CPUs = int64(len(c.Threads)) * cpuPercent / 100
		c.Total.MemoryMiB -= inv.ReservedMemoryMiB * c.Total.MemoryMiB / all
	}
	return cells
}

// farFrom reads a node's distances; one that the firmware does not tell is that of a neighbour.
func farFrom(inv *host.Inventory, n host.NUMANode) map[int]int {
	const own, other = 10, 20
	out := make(map[int]int, len(inv.NUMA))
	for i, to := range inv.NUMA {
		switch {
		case len(n.Distances) == len(inv.NUMA):
			out[to.Node] = n.Distances[i]
		case to.Node == n.Node:
			out[to.Node] = own
		default:
			out[to.Node] = other
		}
	}
	return out
}

// nearest is the place of the cell whose memory is nearest to a node; of equals the first.
func nearest(cells []Cell, node int) int {
	best := 0
	for i := range cells {
		if cells[i].far[node] < cells[best].far[node] {
			best = i
		}
	}
	return best
}
