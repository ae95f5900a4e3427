package placement

import (
	"slices"

	"github.com/virga-cloud/virga/engine/resource"
)

// Rule is an affinity rule as a request names it.
type Rule struct {
	ID   resource.ID
	Name string
	AffinityRuleSpec
}

// member is a workload with a claim that is in a rule. While it moves it has two.
type member struct{ workload, hostID resource.ID }

// join and leave count a claim in the rules that it names. The lists are replaced, never changed: clones share them.
func (s *State) join(rules []resource.ID, m member) {
	for _, id := range rules {
		s.members[id] = append(slices.Clone(s.members[id]), m)
	}
}

func (s *State) leave(rules []resource.ID, m member) {
	for _, id := range rules {
		left := slices.Clone(s.members[id])
		if i := slices.Index(left, m); i >= 0 {
			left = slices.Delete(left, i, i+1)
		}
		if s.members[id] = left; len(left) == 0 {
			delete(s.members, id)
		}
	}
}

// beside counts the other members of a rule: those on a host, or in its zone, and all.
func (s *State) beside(n *node, rule *Rule, workload resource.ID) (here, all int64) {
	for _, m := range s.members[rule.ID] {
		if m.workload == workload {
			continue
		}
		all++
		if m.hostID == n.id || rule.Topology == ByZone && s.zoneOf(m.hostID) == n.zone {
			here++
		}
	}
	return here, all
}

func (s *State) zoneOf(hostID resource.ID) string {
	if at, there := s.nodeAt[hostID]; there {
		return s.nodes[at].zone
	}
	return ""
}

// broken gives the first rule of a request that must be kept and that a host would break; nil: it breaks none.
// Members that are apart though they must be together do not keep a further one from all hosts: it goes to one of them.
func (s *State) broken(n *node, r *Request) *Rule {
	for i := range r.Rules {
		rule := &r.Rules[i]
		if rule.Strength != Must {
			continue
		}
		here, all := s.beside(n, rule, r.Workload.ID)
		if rule.Policy == AntiAffinity && here > 0 || rule.Policy == Affinity && all > 0 && here == 0 {
			return rule
		}
	}
	return nil
}

// affinity says how well a host keeps the rules that should be kept: the members that are together there, less those
// that should be apart.
func affinity(s *State, n *node, r *Request) (score int64) {
	for i := range r.Rules {
		rule := &r.Rules[i]
		if rule.Strength != Should {
			continue
		}
		if here, _ := s.beside(n, rule, r.Workload.ID); rule.Policy == Affinity {
			score += here
		} else {
			score -= here
		}
	}
	return score
}

// refusal says why a rule refuses a host, without naming other workloads: they may be nobody's business.
func (r *Rule) refusal() string {
	where := "there"
	if r.Topology == ByZone {
		where = "in its zone"
	}
	if r.Policy == Affinity {
		return "affinity rule " + r.Name + ": its other members are not " + where
	}
	return "affinity rule " + r.Name + ": another of its members is " + where
}
