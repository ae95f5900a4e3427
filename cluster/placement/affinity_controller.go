package placement

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// The phases of a rule.
const (
	Satisfied = "satisfied"
	Violated  = "violated"
)

// RuleLoop says of each affinity rule whether its members keep it.
type RuleLoop struct {
	DB       *store.DB
	Statuses *store.StatusWriter[AffinityRuleSpec, AffinityRuleStatus]
}

// Loop is its loop. Claims refer to the rules that they are in.
func (l *RuleLoop) Loop() *reconcile.Loop {
	return &reconcile.Loop{Name: "placement/affinity", Kind: AffinityRules.Kind, Step: l.Step}
}

// Step looks at one rule.
func (l *RuleLoop) Step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap := l.DB.Snapshot()
	r := store.Find(snap, AffinityRules, id)
	if r == nil || r.Deleting != nil {
		return reconcile.Result{}, nil
	}
	members := placed(snap, r)
	why := violation(&r.Spec, members)
	b := l.DB.Begin()
	l.Statuses.Set(b, r, func(s *AffinityRuleStatus) {
		s.Members, s.Phase = int64(len(members)), Satisfied
		kind, message := "", ""
		if why != "" {
			s.Phase = Violated
			if r.Spec.Strength == Must {
				kind, message = string(fault.Precondition), why
			}
		}
		s.Observed = resource.Observed{SeenGeneration: r.Generation, Problems: resource.SetProblem(s.Problems, kind, message, l.DB.Now())}
	})
	return reconcile.Result{}, l.DB.Commit(ctx, b)
}

// resident is a member of a rule, and where it is.
type resident struct {
	id         resource.ID
	name, zone string
	hostID     resource.ID
}

// placed lists the members of a rule that have a place, by name. One that moves is where it will be.
func placed(snap *store.Snapshot, r *AffinityRule) (out []resident) {
	latest := map[resource.ID]*Claim{}
	for _, c := range store.Referring(snap, Claims, r.ID) {
		if had := latest[c.Spec.Workload.ID]; c.Deleting == nil && (had == nil || had.Spec.Epoch < c.Spec.Epoch) {
			latest[c.Spec.Workload.ID] = c
		}
	}
	for id, c := range latest {
		m := resident{id: id, name: snap.NameOf(id), hostID: c.Spec.HostID}
		if h := store.Find(snap, host.Hosts, c.Spec.HostID); h != nil {
			m.zone = h.Spec.Zone
		}
		out = append(out, m)
	}
	slices.SortFunc(out, func(a, b resident) int { return cmp.Or(cmp.Compare(a.name, b.name), cmp.Compare(a.id, b.id)) })
	return out
}

// violation says which members break a rule, and what to do; empty: none does. It names no hosts: the members of a
// project read it.
func violation(s *AffinityRuleSpec, members []resident) string {
	at := map[string][]string{}
	for _, m := range members {
		place := string(m.hostID)
		if s.Topology == ByZone {
			place = m.zone
		}
		at[place] = append(at[place], m.name)
	}
	groups := make([][]string, 0, len(at))
	for _, names := range at {
		groups = append(groups, names)
	}
	// The largest group stays where it is; of several such, that of the first name.
	slices.SortFunc(groups, func(a, b []string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a[0], b[0])) })
	where := map[Topology]string{ByHost: "host", ByZone: "zone"}[s.Topology]
	switch {
	case len(groups) == 0:
		return ""
	case s.Policy == AntiAffinity && len(groups[0]) > 1:
		first := groups[0]
		return fmt.Sprintf("VMs %s share a %s and must be apart; move one of them: virga vm migrate %s", listed(first), where, first[len(first)-1])
	case s.Policy == Affinity && len(groups) > 1:
		var stray []string
		for _, g := range groups[1:] {
			stray = append(stray, g...)
		}
		slices.Sort(stray)
		return fmt.Sprintf("VMs %s are not on the %s of %s and must be together; move them: virga vm migrate %s", listed(stray), where, listed(groups[0]), stray[0])
	}
	return ""
}

// listed names the first few.
func listed(names []string) string {
	if more := len(names) - mostNames; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:mostNames], ", "), more)
	}
	return strings.Join(names, ", ")
}
