package placement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
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
	// The host that keeps more of the affinity rules that should be kept.
	{Name: "affinity", Of: affinity},
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

// Grow says whether a workload that is on a host may take more of it: nil, or what is missing. To take less,
// or as much as before, is never refused.
func (s *State) Grow(hostID resource.ID, name string, from, to Demand) error {
	n, whole, more := s.node(hostID), &Request{Demand: to}, &Request{Demand: to.minus(from).most(Demand{})}
	if f := s.refusing(n, whole, "cpu speed"); f != nil && more.CPUReservationMHz > 0 {
		return fault.New(fault.Precondition, "give %s more of its host: %s; reserve less", name, f.Why(s, n, whole))
	}
	if f := s.refusing(n, more, "cpu", "memory", "cpu reservation", "memory reservation"); f != nil {
		free, all := f.Capacity(n)
		need, unit := f.Needs(more)
		err := fault.New(fault.Exhausted, "give %s more of host %s: %s (needs %d%s more; %d of %d%s are free); ask for less, or migrate it or another VM away",
			name, n.name, f.Why(s, n, more), need, unit, max(0, free), all, unit)
		err.Outside = fmt.Sprintf("give %s more of its host: %s (needs %d%s more); ask for less, or stop it and start it again on another host", name, f.Why(s, n, more), need, unit)
		return err
	}
	return nil
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

// refusing gives the first filter that a host does not pass, of those that are named, or of all; nil: it
// passes them.
func (s *State) refusing(n *node, r *Request, names ...string) *Filter {
	for i := range filters {
		if len(names) > 0 && !slices.Contains(names, filters[i].Name) {
			continue
		}
		if !filters[i].Passes(s, n, r) {
			return &filters[i]
		}
	}
	return nil
}
