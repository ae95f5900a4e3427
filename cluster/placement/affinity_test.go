package placement

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

func ruleOf(policy Policy, strength Strength, by Topology) Rule {
	return Rule{ID: "rule", Name: "web", AffinityRuleSpec: AffinityRuleSpec{Policy: policy, Strength: strength, Topology: by}}
}

// inRule asks for a host for a workload that is in rules.
func inRule(workload string, rules ...Rule) *Request {
	r := want(1, 512)
	r.Workload.ID, r.Rules = resource.ID(workload), rules
	return r
}

func TestRulesChooseAndRefuseHosts(t *testing.T) {
	for name, c := range map[string]struct {
		rule    Rule
		zones   []string // of the three hosts
		members []int    // the hosts of other members
		want    string   // of the hosts, one of these
		refused string
	}{
		"nobody is there yet":                         {rule: ruleOf(AntiAffinity, Must, ByHost), want: "h1 h2 h3"},
		"apart: the free host":                        {rule: ruleOf(AntiAffinity, Must, ByHost), members: []int{1, 2}, want: "h3"},
		"apart: none is free":                         {rule: ruleOf(AntiAffinity, Must, ByHost), members: []int{1, 2, 3}, refused: "affinity rule web: another of its members is there"},
		"apart, if that can be: the fewest":           {rule: ruleOf(AntiAffinity, Should, ByHost), members: []int{1, 1, 2, 3, 3}, want: "h2"},
		"together: where the other is":                {rule: ruleOf(Affinity, Must, ByHost), members: []int{2}, want: "h2"},
		"together though they are apart: at one":      {rule: ruleOf(Affinity, Must, ByHost), members: []int{2, 3}, want: "h2 h3"},
		"together, if that can be: the most":          {rule: ruleOf(Affinity, Should, ByHost), members: []int{1, 3, 3}, want: "h3"},
		"apart in zones":                              {rule: ruleOf(AntiAffinity, Must, ByZone), zones: []string{"a", "a", "b"}, members: []int{1}, want: "h3"},
		"apart in zones, all taken":                   {rule: ruleOf(AntiAffinity, Must, ByZone), zones: []string{"a", "a", "b"}, members: []int{1, 3}, refused: "another of its members is in its zone"},
		"spread over zones":                           {rule: ruleOf(AntiAffinity, Should, ByZone), zones: []string{"a", "a", "b"}, members: []int{1, 2, 3}, want: "h3"},
		"together in a zone":                          {rule: ruleOf(Affinity, Must, ByZone), zones: []string{"a", "b", "b"}, members: []int{2}, want: "h2 h3"},
		"hosts without a zone are one":                {rule: ruleOf(AntiAffinity, Must, ByZone), zones: []string{"", "", "b"}, members: []int{1}, want: "h3"},
		"together in a zone of which no host is left": {rule: ruleOf(Affinity, Must, ByZone), zones: []string{"a", "b", "b"}, members: []int{4}, refused: "its other members are not in its zone"},
	} {
		t.Run(name, func(t *testing.T) {
			s := cloud(3)
			for i, zone := range c.zones {
				s.nodes[i].zone = zone
			}
			if gone := s.node("gone"); c.members != nil && c.members[0] == 4 {
				gone.zone = "c" // it is not known any more, and its claims are
			}
			for i, at := range c.members {
				s.join([]resource.ID{"rule"}, member{resource.ID(fmt.Sprint("other", i)), s.nodes[at-1].id})
			}
			got, err := s.Choose(inRule("me", c.rule))
			if c.refused != "" {
				if err == nil || !strings.Contains(err.Error(), c.refused) {
					t.Fatalf("it went to %s, %v", got.Host, err)
				}
				return
			}
			if err != nil || !slices.Contains(strings.Fields(c.want), got.Host) {
				t.Errorf("it went to %q, %v; it should be one of %s", got.Host, err, c.want)
			}
		})
	}
}

func TestAWorkloadDoesNotStandInItsOwnWay(t *testing.T) {
	s := cloud(2)
	for i := range s.nodes {
		s.nodes[i].zone = "a"
	}
	s.join([]resource.ID{"rule"}, member{"me", s.nodes[0].id})
	r := inRule("me", ruleOf(AntiAffinity, Must, ByZone))
	r.NotOn = []resource.ID{s.nodes[0].id} // it moves within its zone
	if got := chosen(t, s, r); got.Host != "h2" {
		t.Errorf("it goes to %s", got.Host)
	}
}

// Whatever members are where, and however many rules there are: nobody is put where a rule that must be kept is
// broken, a refusal is true of every host, and a rule that should be kept refuses nobody.
func TestNoPlacementBreaksARule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hosts := rapid.IntRange(1, 6).Draw(t, "hosts")
		s := cloud(hosts)
		for i := range s.nodes {
			s.nodes[i].zone = rapid.SampledFrom([]string{"", "a", "b"}).Draw(t, "zone")
		}
		var rules []Rule
		for i := range rapid.IntRange(1, 3).Draw(t, "rules") {
			r := ruleOf(rapid.SampledFrom([]Policy{Affinity, AntiAffinity}).Draw(t, "policy"), rapid.SampledFrom([]Strength{Must, Should}).Draw(t, "strength"),
				rapid.SampledFrom([]Topology{ByHost, ByZone}).Draw(t, "topology"))
			r.ID = resource.ID(fmt.Sprint("rule", i))
			rules = append(rules, r)
			for m := range rapid.IntRange(0, 4).Draw(t, "members") {
				s.join([]resource.ID{r.ID}, member{resource.ID(fmt.Sprint("vm", m)), s.nodes[rapid.IntRange(0, hosts-1).Draw(t, "at")].id})
			}
		}
		breaks := func(n *node) bool {
			for _, rule := range rules {
				here, elsewhere := 0, 0
				for _, m := range s.members[rule.ID] {
					same := m.hostID == n.id
					if rule.Topology == ByZone {
						same = s.nodes[s.nodeAt[m.hostID]].zone == n.zone
					}
					if same {
						here++
					} else {
						elsewhere++
					}
				}
				if rule.Strength == Must && (rule.Policy == AntiAffinity && here > 0 || rule.Policy == Affinity && here == 0 && elsewhere > 0) {
					return true
				}
			}
			return false
		}
		got, err := s.Choose(inRule("me", rules...))
		if err == nil && breaks(&s.nodes[s.nodeAt[got.HostID]]) {
			t.Fatalf("it was put on %s, which breaks a rule", got.Host)
		}
		if err != nil && !slices.ContainsFunc(s.nodes, func(n node) bool { return !breaks(&n) }) {
			return
		}
		if err != nil {
			t.Fatalf("a host keeps all rules, and none was taken: %v", err)
		}
	})
}

// Joining and leaving in any order leaves who is left, and a clone keeps what it had.
func TestMembersFollowTheirClaims(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, left := cloud(3), map[string]int{}
		before := s.Clone()
		for range rapid.IntRange(0, 30).Draw(t, "changes") {
			m := member{resource.ID(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "workload")), s.nodes[rapid.IntRange(0, 2).Draw(t, "host")].id}
			key := fmt.Sprint(m)
			if rapid.Bool().Draw(t, "join") {
				s.join([]resource.ID{"rule"}, m)
				left[key]++
			} else if left[key] > 0 {
				s.leave([]resource.ID{"rule"}, m)
				left[key]--
			}
		}
		for _, m := range s.members["rule"] {
			left[fmt.Sprint(m)]--
		}
		for key, n := range left {
			if n != 0 {
				t.Fatalf("of %s there are %d too few", key, n)
			}
		}
		if len(before.members) != 0 {
			t.Fatal("the clone has changed")
		}
	})
}

// Many VMs of one rule are created at the same moment; their commits cross. No two are on one host.
func TestMembersThatArePlacedAtOnceAreApart(t *testing.T) {
	w := newWorld()
	for i := range 5 {
		w.addHost(fmt.Sprint("h", i), host.Alive)
	}
	rule := ruleOf(AntiAffinity, Must, ByHost)
	var all sync.WaitGroup
	var mu sync.Mutex
	placed, refused := 0, 0
	for i := range 12 {
		all.Go(func() {
			r := inRule(fmt.Sprint("vm", i), rule)
			r.Workload.Kind, r.Workload.Project = "vm", "p"
			err := w.gate.Place(t.Context(), *r, func(*store.Batch, Choice) error {
				if i%4 == 3 {
					return errors.New("its commit fails")
				}
				return nil
			})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				placed++
			} else {
				refused++
			}
		})
	}
	all.Wait()
	for i := 0; placed < 5 && i < 12; i++ { // what failing commits held for a moment is free again
		r := inRule(fmt.Sprint("later", i), rule)
		if w.gate.Place(t.Context(), *r, func(*store.Batch, Choice) error { return nil }) == nil {
			placed++
		}
	}
	at := map[resource.ID]int{}
	for _, c := range store.Every(w.db.Snapshot(), Claims) {
		at[c.Spec.HostID]++
	}
	if placed != 5 || len(at) != 5 {
		t.Errorf("%d were placed, on %v", placed, at)
	}
	if err := w.gate.Place(t.Context(), *inRule("last", rule), func(*store.Batch, Choice) error { return nil }); err == nil {
		t.Error("a sixth was placed on five hosts")
	}
}

func TestARuleSaysWhoBreaksIt(t *testing.T) {
	at := func(places ...string) (out []resident) {
		for i, p := range places {
			hostID, zone, _ := strings.Cut(p, "/")
			out = append(out, resident{name: fmt.Sprint("web", i+1), hostID: resource.ID(hostID), zone: zone})
		}
		return out
	}
	for name, c := range map[string]struct {
		policy  Policy
		by      Topology
		members []resident
		want    string
	}{
		"nobody":            {AntiAffinity, ByHost, nil, ""},
		"one":               {Affinity, ByHost, at("1"), ""},
		"apart":             {AntiAffinity, ByHost, at("1", "2", "3"), ""},
		"two on a host":     {AntiAffinity, ByHost, at("1", "2", "1"), "VMs web1, web3 share a host and must be apart; move one of them: virga vm migrate web3"},
		"two in a zone":     {AntiAffinity, ByZone, at("1/a", "2/a"), "VMs web1, web2 share a zone and must be apart; move one of them: virga vm migrate web2"},
		"together":          {Affinity, ByHost, at("1", "1"), ""},
		"together in zones": {Affinity, ByZone, at("1/a", "2/a"), ""},
		"one is elsewhere":  {Affinity, ByHost, at("1", "2", "1"), "VMs web2 are not on the host of web1, web3 and must be together; move them: virga vm migrate web2"},
		"many":              {AntiAffinity, ByHost, at("1", "1", "1", "1", "1", "1", "1"), "VMs web1, web2, web3, web4, web5 and 2 more share a host and must be apart; move one of them: virga vm migrate web7"},
	} {
		if got := violation(&AffinityRuleSpec{Policy: c.policy, Strength: Must, Topology: c.by}, c.members); got != c.want {
			t.Errorf("%s: %q; it should be %q", name, got, c.want)
		}
	}
}

func TestTheStatusOfARuleFollowsItsMembers(t *testing.T) {
	w := newWorld()
	one, two := w.addHost("h1", host.Alive), w.addHost("h2", host.Alive)
	rw := RuleWriters{store.Specs(w.registry, AffinityRules, "t"), store.Statuses(w.registry, AffinityRules, "t")}
	l := (&RuleLoop{DB: w.db, Statuses: rw.Statuses}).Loop()
	r := &AffinityRule{Meta: resource.Meta{ID: "rule", Name: "web", Project: "p"}}
	DefaultRule(&r.Spec)
	w.do(func(b *store.Batch) { rw.Specs.Create(b, r) })
	var claims []*Claim
	claim := func(name string, on resource.ID, epoch int64) {
		c := &Claim{Meta: resource.Meta{Name: fmt.Sprint(name, epoch), Project: "p"}, Spec: ClaimSpec{Workload: resource.Ref{Kind: "vm", ID: resource.ID(name)}, HostID: on, Epoch: epoch, AffinityRuleIDs: []resource.ID{"rule"}}}
		w.do(func(b *store.Batch) { w.claims.Create(b, c) })
		claims = append(claims, c)
	}
	look := func(phase string, members int64, problems int) {
		t.Helper()
		if _, err := l.Step(context.Background(), "rule"); err != nil {
			t.Fatal(err)
		}
		revision := w.db.Revision()
		if _, err := l.Step(context.Background(), "rule"); err != nil || w.db.Revision() != revision {
			t.Errorf("a second look changes something, %v", err)
		}
		if s := store.Find(w.db.Snapshot(), AffinityRules, "rule").Status; s.Phase != phase || s.Members != members || len(s.Problems) != problems {
			t.Errorf("the rule is %+v; it should be %s of %d with %d problems", s, phase, members, problems)
		}
	}
	look(Satisfied, 0, 0)
	claim("a", one, 1)
	claim("b", two, 1)
	look(Satisfied, 2, 0)
	claim("b", one, 2) // it moves
	look(Violated, 2, 1)
	w.do(func(b *store.Batch) {
		rw.Specs.Set(b, store.Find(w.db.Snapshot(), AffinityRules, "rule"), func(s *AffinityRuleSpec) { s.Strength = Should })
	})
	look(Violated, 2, 0)
	w.do(func(b *store.Batch) { w.gate.SetRules(b, store.Find(w.db.Snapshot(), Claims, claims[0].ID), nil) })
	look(Satisfied, 1, 0)
	w.do(func(b *store.Batch) {
		rw.Specs.Set(b, store.Find(w.db.Snapshot(), AffinityRules, "rule"), func(s *AffinityRuleSpec) { s.Policy, s.Strength = Affinity, Must })
	})
	look(Satisfied, 1, 0)
}

func TestARuleThatIsNoneIsRefused(t *testing.T) {
	s := AffinityRuleSpec{}
	if DefaultRule(&s); s != (AffinityRuleSpec{Policy: AntiAffinity, Strength: Must, Topology: ByHost}) || len(CheckRule(&s)) != 0 {
		t.Errorf("the default is %+v: %v", s, CheckRule(&s))
	}
	wrong := CheckRule(&AffinityRuleSpec{Policy: "close", Strength: "maybe", Topology: "rack"})
	if len(wrong) != 3 || wrong[0].Field != "spec.policy" || wrong[2].Message != "is host or zone" {
		t.Errorf("wrong is %v", wrong)
	}
}
