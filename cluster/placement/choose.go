package placement

import (
	"cmp"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// Score says how good a host that passed all filters is; more is better.
type Score struct {
	Name string
	Of   func(*State, *node, *Request) int64
}

// scores are compared in this order; a later one counts where the earlier ones are equal.
var scores = []Score{
	// The host where it lies on the fewest memory nodes: what is near is fast, and no free space is.
	{Name: "numa", Of: narrowness},
	// The host that keeps the largest share of its scarcer resource free: workloads spread out.
	{Name: "capacity", Of: func(_ *State, n *node, r *Request) int64 { return freeAfter(n, r.Demand) }},
	// Then the one with the most space for new disks.
	{Name: "space", Of: func(s *State, n *node, r *Request) int64 { return s.spaceFor(n, r.Disks) }},
}

// freeAfter is the smaller of the free shares of CPU and memory, in parts of a million.
func freeAfter(n *node, d Demand) int64 {
	free := n.free().minus(d)
	return min(free.CPUs*1_000_000/max(1, n.total.CPUs), free.MemoryMiB*1_000_000/max(1, n.total.MemoryMiB))
}

// Choice is the host that was chosen, what was free there before, and which of its memory nodes the
// workload is bound to.
type Choice struct {
	HostID      resource.ID
	Host        string
	Free, Total Demand
	NUMA        []host.NUMAPart
}

// enough is after how many fitting hosts the search ends: all of a small cloud, a twentieth of a large
// one. The next search begins where this one ended, so that every host has its turn; the best of so
// many is hardly worse than the best of all.
func enough(hosts int) int { return max(100, hosts/20) }

// Choose picks a host, or says for all of them why not. It looks at all hosts before it says no.
func (s *State) Choose(asked *Request) (Choice, error) {
	ordered := *asked
	ordered.Disks = inOrder(asked.Disks)
	r, best := &ordered, -1
	if r.OnHost != "" {
		if at, there := s.nodeAt[r.OnHost]; there && s.refusing(&s.nodes[at], r) == nil && s.nodes[at].known {
			best = at
		}
	} else {
		best = s.search(r)
	}
	if best < 0 {
		return Choice{}, s.explain(r)
	}
	n := &s.nodes[best]
	return Choice{HostID: n.id, Host: n.name, Free: n.free(), Total: n.total, NUMA: bindings(n, r)}, nil
}

func (s *State) search(r *Request) int {
	best, found, all := -1, 0, len(s.nodes)
	for step := range all {
		at := s.nextNode + step
		if at >= all {
			at -= all
		}
		n := &s.nodes[at]
		if !n.known || s.refusing(n, r) != nil {
			continue
		}
		if best < 0 || s.better(n, &s.nodes[best], r) {
			best = at
		}
		if found++; found >= enough(all) {
			s.nextNode = (at + 1) % all
			break
		}
	}
	return best
}

func (s *State) better(a, b *node, r *Request) bool {
	for _, score := range scores {
		if by := cmp.Compare(score.Of(s, a, r), score.Of(s, b, r)); by != 0 {
			return by > 0
		}
	}
	return a.id < b.id // so that the answer can be repeated
}

// refusing gives the first filter that a host does not pass; nil: it passes all.
func (s *State) refusing(n *node, r *Request) *Filter {
	for i := range filters {
		if !filters[i].Passes(s, n, r) {
			return &filters[i]
		}
	}
	return nil
}
