package placement

import (
	"maps"

	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/host/numa"
)

// bind counts parts on the memory nodes of a host, or takes them back.
func (n *node) bind(parts []host.NUMAPart, sign int64) {
	if len(parts) == 0 {
		return
	}
	of := maps.Clone(n.parts)
	if of == nil {
		of = map[int]numa.Size{}
	}
	for _, p := range parts {
		r := of[p.Node]
		r = numa.Size{CPUs: r.CPUs + sign*p.CPUs, MemoryMiB: r.MemoryMiB + sign*p.MemoryMiB}
		if of[p.Node] = r; r == (numa.Size{}) {
			delete(of, p.Node) // a state is the same whatever was there before
		}
	}
	n.parts = of
	n.layOut(n.cells)
}

// layOut gives a host its memory nodes, and each what is bound there.
func (n *node) layOut(cells []numa.Cell) {
	n.cells, n.bound = cells, make([]numa.Size, len(cells))
	for i := range cells {
		n.bound[i] = n.parts[cells[i].Node]
	}
}

// spread is on how many memory nodes of a host a request lies, all of it; 0: it cannot be bound there.
func spread(n *node, r *Request) int {
	switch {
	case len(n.cells) == 0:
		return max(1, len(r.Parts)) // all of the host is one node
	case len(r.Parts) > 0:
		if _, ok := numa.Rebind(n.cells, n.bound, r.Parts); ok {
			return len(r.Parts)
		}
		return 0
	}
	return numa.Spread(n.cells, n.bound, numa.Size{CPUs: r.CPUs, MemoryMiB: r.allMiB()})
}

// narrowness scores a host for those who want to be bound: on fewer nodes is better, not at all is worst.
func narrowness(_ *State, n *node, r *Request) int64 {
	if r.NUMA == "" || r.NUMA == numa.None {
		return 0
	}
	if k := spread(n, r); k > 0 {
		return -int64(k)
	}
	return -int64(len(n.cells)) - 1
}

// bindings are the parts of a request on the memory nodes of a host that was chosen; nil: it is not bound,
// and its guest sees one node.
func bindings(n *node, r *Request) []host.NUMAPart {
	switch {
	case len(r.Parts) > 0:
		parts, _ := numa.Rebind(n.cells, n.bound, r.Parts)
		return parts
	case r.NUMA == "" || r.NUMA == numa.None:
		return nil
	}
	return numa.Plan(n.cells, n.bound, numa.Size{CPUs: r.CPUs, MemoryMiB: r.allMiB()})
}
