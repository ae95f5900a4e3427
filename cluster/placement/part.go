package placement

import (
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Nouns are the kinds of this domain.
var Nouns = []resource.Noun{Claims, AffinityRules}

// NewRight takes the right to write claims out of the registry: the gate's alone.
func NewRight(l *store.Registry) *store.SpecWriter[ClaimSpec, ClaimStatus] {
	return store.Specs(l, Claims, "placement")
}

// RuleWriters is who writes affinity rules: the API, and the loop that looks at them.
type RuleWriters struct {
	Specs    *store.SpecWriter[AffinityRuleSpec, AffinityRuleStatus]
	Statuses *store.StatusWriter[AffinityRuleSpec, AffinityRuleStatus]
}

// NewRuleWriters takes the rights to write affinity rules out of the registry.
func NewRuleWriters(l *store.Registry) RuleWriters {
	return RuleWriters{store.Specs(l, AffinityRules, "api"), store.Statuses(l, AffinityRules, "placement")}
}

// Server is the servers' half: claims can be looked at, and affinity rules are kept.
func Server(db *store.DB, w RuleWriters) part.Part {
	rules := &RuleLoop{DB: db, Statuses: w.Statuses}
	return part.Part{
		Loops: []*reconcile.Loop{rules.Loop()},
		Routes: func(a *httpapi.API) {
			httpapi.Register(a, Claims, httpapi.Routes[ClaimSpec, ClaimStatus]{})
			httpapi.Register(a, AffinityRules, httpapi.Routes[AffinityRuleSpec, AffinityRuleStatus]{
				Specs: w.Specs, Default: DefaultRule, Check: CheckRule,
				Ready: func(r *AffinityRule) (bool, error) { return r.Status.Phase != "", nil },
			})
		},
	}
}
