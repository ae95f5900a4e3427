package placement

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// mostNames is how many hosts are named for one reason; of more, the number is told.
const mostNames = 5

// reason is why some hosts were refused.
type reason struct {
	filter *Filter
	words  string
	hosts  []string
	// free of all is what the host named fullest has left, where the lack of capacity is the reason.
	free, all int64
	freest    string
}

// explain puts why no host was taken into one error: exhausted if capacity would help, else a precondition.
func (s *State) explain(r *Request) error {
	var all []*reason
	index := map[string]*reason{}
	for i := range s.nodes {
		n := &s.nodes[i]
		if !n.known || r.OnHost != "" && n.id != r.OnHost {
			continue
		}
		f := s.refusing(n, r)
		if f == nil {
			continue
		}
		words := f.Why(s, n, r)
		g := index[f.Name+words]
		if g == nil {
			g = &reason{filter: f, words: words, free: -1}
			index[f.Name+words] = g
			all = append(all, g)
		}
		g.add(n)
	}
	if len(all) == 0 {
		if r.OnHost != "" {
			return fault.New(fault.Unavailable, "no host can take %s: the host that it is pinned to is not there; see virga host list", r.Name)
		}
		return fault.New(fault.Unavailable, "no host for %s: the cloud has no host yet; wait for one, or add one with virga join", r.Name)
	}
	return refusal(r, all)
}

func (g *reason) add(n *node) {
	g.hosts = append(g.hosts, n.name)
	if g.filter.Capacity == nil {
		return
	}
	if free, all := g.filter.Capacity(n); free > g.free || free == g.free && n.name < g.freest {
		g.free, g.all, g.freest = free, all, n.name
	}
}

// refusal writes the reasons, that of the most hosts first.
func refusal(r *Request, all []*reason) error {
	kind, advice := fault.Precondition, "virga host list shows the hosts; mend what is named here, or add a host"
	slices.SortFunc(all, func(a, b *reason) int {
		return cmp.Or(cmp.Compare(len(b.hosts), len(a.hosts)), cmp.Compare(a.words, b.words))
	})
	var words, outside []string
	for _, g := range all {
		if g.filter.Capacity != nil {
			kind, advice = fault.Exhausted, "stop or shrink a VM, or add a host"
		}
		words = append(words, g.tell(r))
		if text := g.outside(r); !slices.Contains(outside, text) {
			outside = append(outside, text)
		}
	}
	err := fault.New(kind, "no host can take %s: %s; %s", r.Name, strings.Join(words, "; "), advice)
	err.Outside = fmt.Sprintf("no host can take %s: %s; stop or shrink a VM, or ask an operator", r.Name, strings.Join(outside, "; "))
	return err
}

// tell gives one reason: "12 hosts: not enough memory (needs 4096 MiB; most free 1024 of 8192 MiB on h3)".
func (g *reason) tell(r *Request) string {
	slices.Sort(g.hosts)
	who := strings.Join(g.hosts, ", ")
	if len(g.hosts) > mostNames {
		who = fmt.Sprintf("%d hosts", len(g.hosts))
	}
	if g.filter.Needs == nil {
		return who + ": " + g.words
	}
	need, unit := g.filter.Needs(r)
	if g.all == 0 {
		return fmt.Sprintf("%s: %s (needs %d%s)", who, g.words, need, unit)
	}
	return fmt.Sprintf("%s: %s (needs %d%s; most free %d of %d%s on %s)", who, g.words, need, unit, g.free, g.all, unit, g.freest)
}

// outside gives a reason to those who do not run the cloud: without its hosts and what they have left.
func (g *reason) outside(r *Request) string {
	if g.filter.Needs == nil {
		return g.words
	}
	need, unit := g.filter.Needs(r)
	return fmt.Sprintf("%s (needs %d%s)", g.words, need, unit)
}

// moving matches what of a refusal moves with every start and stop elsewhere.
var moving = regexp.MustCompile(`\([^()]*\)|\b\d+ hosts\b`)

// SameReasons reports whether two refusals say the same but for their figures. Who keeps a refusal in a
// record writes it anew only when this says no.
func SameReasons(a, b string) bool {
	return a == b || moving.ReplaceAllString(a, "") == moving.ReplaceAllString(b, "")
}
