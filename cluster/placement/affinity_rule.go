package placement

import (
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Policy says what an affinity rule wants of its members.
type Policy string

// The policies.
const (
	Affinity     Policy = "affinity"      // they are together
	AntiAffinity Policy = "anti-affinity" // they are apart
)

// Strength says what happens where a rule cannot be kept.
type Strength string

// The strengths.
const (
	Must   Strength = "must"   // the host is refused
	Should Strength = "should" // the host is taken if no better one is left
)

// Topology says what together and apart are counted by.
type Topology string

// The topologies.
const (
	ByHost Topology = "host"
	ByZone Topology = "zone" // the availability zones of the hosts; hosts without one are one zone
)

// AffinityRuleSpec keeps VMs together, or apart. Its members are the VMs that name it.
type AffinityRuleSpec struct {
	// Policy is affinity (its members are together) or anti-affinity (they are apart).
	Policy Policy `json:"policy" enum:"affinity,anti-affinity"`
	// Strength is must (a host that would break it is refused) or should (it is taken if no better one is left).
	Strength Strength `json:"strength" enum:"must,should"`
	// Topology is host or zone: whether they share a host, or an availability zone.
	Topology Topology `json:"topology" enum:"host,zone"`
	// Description is for people.
	Description string `json:"description,omitempty"`
}

// AffinityRuleStatus is what is known of a rule.
type AffinityRuleStatus struct {
	resource.Observed
	// Phase is satisfied, or violated: problems say by which of its members.
	Phase string `json:"phase,omitempty" enum:"satisfied,violated"`
	// Members is how many of its VMs have a place on a host.
	Members int64 `json:"members"`
}

// AffinityRule keeps VMs together, or apart.
type AffinityRule = resource.Record[AffinityRuleSpec, AffinityRuleStatus]

// AffinityRules is the kind.
var AffinityRules = resource.Define("affinityrule", "affinityrules", resource.Options[AffinityRuleSpec, AffinityRuleStatus]{
	Doc: "A rule that keeps VMs together, or apart, on hosts or in availability zones.", Scope: resource.InProject,
	Counts: map[string]func(*AffinityRule) int64{"affinityrules": resource.One[AffinityRuleSpec, AffinityRuleStatus]},
})

// RuleNeeds keeps the rules that a workload names from being deleted.
func RuleNeeds(project resource.ID, ids []resource.ID) (out []resource.Need) {
	for _, id := range ids {
		out = append(out, resource.Need{Ref: resource.Ref{Kind: AffinityRules.Kind, Project: project, ID: id}})
	}
	return out
}

// DefaultRule fills in what a rule's spec leaves out.
func DefaultRule(s *AffinityRuleSpec) {
	if s.Policy == "" {
		s.Policy = AntiAffinity
	}
	if s.Strength == "" {
		s.Strength = Must
	}
	if s.Topology == "" {
		s.Topology = ByHost
	}
}

// CheckRule lists everything that is wrong with a rule's spec.
func CheckRule(s *AffinityRuleSpec) (out []fault.Detail) {
	for _, w := range []struct{ field, value, one, other string }{
		{"spec.policy", string(s.Policy), string(Affinity), string(AntiAffinity)},
		{"spec.strength", string(s.Strength), string(Must), string(Should)},
		{"spec.topology", string(s.Topology), string(ByHost), string(ByZone)},
	} {
		if w.value != w.one && w.value != w.other {
			out = append(out, fault.Detail{Field: w.field, Message: "is " + w.one + " or " + w.other})
		}
	}
	return out
}
