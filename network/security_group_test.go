package network

import (
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func TestRulesAreJudgedWordByWord(t *testing.T) {
	for want, r := range map[string]SecurityRule{
		"":                      {Protocol: TCP, FirstPort: 80, LastPort: 90, CIDR: "10.0.0.7/8"},
		"neither ingress":       {Direction: "sideways"},
		"none of any, tcp":      {Protocol: "sctp"},
		"icmp has no ports":     {Protocol: ICMP, FirstPort: 8},
		"any has no ports":      {FirstPort: 22},
		"no ports between":      {Protocol: TCP, FirstPort: 80, LastPort: 70000},
		"below the first port":  {Protocol: UDP, FirstPort: 80, LastPort: 79},
		"make two rules":        {CIDR: "10.0.0.0/8", GroupID: "g"},
		"no IPv4 range":         {CIDR: "fd00::/8"},
		"\"Upper\" is no name":  {Name: "Upper"},
		"is no IPv4 range like": {CIDR: "everybody"},
	} {
		spec := SecurityGroupSpec{Rules: []SecurityRule{r}}
		spec.Default()
		found := spec.Check()
		if want == "" && len(found) > 0 || want != "" && (len(found) == 0 || !strings.Contains(found[0].Message, want)) {
			t.Errorf("%+v gives %v, and should say %q", r, found, want)
		}
	}
}

func TestRulesAreFilledIn(t *testing.T) {
	spec := SecurityGroupSpec{Rules: []SecurityRule{{}, {Name: "rule0", Protocol: TCP, FirstPort: 22, CIDR: "10.1.2.3"}, {GroupID: "g"}, {CIDR: "10.1.2.3/16"}}}
	spec.Default()
	want := []SecurityRule{
		{Name: "rule1", Direction: Ingress, Protocol: AnyProtocol, CIDR: Anywhere},
		{Name: "rule0", Direction: Ingress, Protocol: TCP, FirstPort: 22, LastPort: 22, CIDR: "10.1.2.3/32"},
		{Name: "rule2", Direction: Ingress, Protocol: AnyProtocol, GroupID: "g"},
		{Name: "rule3", Direction: Ingress, Protocol: AnyProtocol, CIDR: "10.1.0.0/16"},
	}
	for i, r := range spec.Rules {
		if r != want[i] {
			t.Errorf("rule %d is %+v, not %+v", i, r, want[i])
		}
	}
	again := SecurityGroupSpec{Rules: append(spec.Rules, SecurityRule{Name: "again"})}
	again.Default()
	if found := again.Check(); len(found) != 1 || !strings.Contains(found[0].Message, "says what rule rule1 says") {
		t.Errorf("the same rule twice gives %v", found)
	}
}

func (m *moment) group(name string, rules ...SecurityRule) (*SecurityGroup, error) {
	m.Helper()
	c := m.call()
	g := &SecurityGroup{Meta: resource.Meta{ID: resource.NewID(), Name: name, Project: "p"}, Spec: SecurityGroupSpec{Rules: rules}}
	g.Spec.Default()
	if err := createGroup(m.Context(), c, g); err != nil {
		return nil, err
	}
	m.api.Groups.Create(c.Batch, g)
	return g, m.commit(c)
}

func TestAGroupSpeaksOfGroupsThatAreThereAndOfItself(t *testing.T) {
	m := newMoment(t)
	if _, err := m.group("web", SecurityRule{GroupID: "lost"}); !fault.Is(err, fault.NotFound) || !strings.Contains(err.Error(), "lost") {
		t.Errorf("a group that is not there gives %v", err)
	}
	g, err := m.group("web", SecurityRule{GroupID: "web"})
	if err != nil || g.Spec.Rules[0].GroupID != g.ID {
		t.Fatalf("a group of itself gives %v: %+v", err, g)
	}
	db, err := m.group("db", SecurityRule{GroupID: g.ID})
	if err != nil {
		t.Fatal(err)
	}
	c := m.call()
	if err := deleteGroup(t.Context(), c, g); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "rules of db") {
		t.Errorf("a group that another speaks of: %v", err)
	}
	m.api.Groups.Delete(c.Batch, g)
	if err := m.commit(c); err == nil {
		t.Error("the commit let a group go that another speaks of")
	}
	c = m.call()
	m.api.Groups.Delete(c.Batch, store.Find(c.Snapshot, SecurityGroups, db.ID))
	if err := m.commit(c); err != nil {
		t.Fatal(err)
	}
	if err := deleteGroup(t.Context(), m.call(), g); err != nil {
		t.Errorf("a group that speaks of itself alone: %v", err)
	}
}

func TestAPortIsInTheDefaultGroupUnlessItNamesAnother(t *testing.T) {
	m := newMoment(t)
	if err := m.commit(m.subnet("one", "10.0.0.0/24")); err != nil {
		t.Fatal(err)
	}
	port := func(in ...resource.ID) (*Port, error) {
		p := &Port{Meta: resource.Meta{ID: resource.NewID(), Name: "x", Project: "p"}, Spec: PortSpec{NetworkID: m.net.ID, SecurityGroupIDs: in}}
		return p, Allocate(m.db.Snapshot(), p)
	}
	if p, err := port(); err != nil || len(p.Spec.SecurityGroupIDs) != 0 {
		t.Errorf("where there is no default group: %v, %v", p.Spec.SecurityGroupIDs, err)
	}
	usual, err := m.group(DefaultGroup)
	if err != nil {
		t.Fatal(err)
	}
	web, err := m.group("web")
	if err != nil {
		t.Fatal(err)
	}
	if p, err := port(); err != nil || len(p.Spec.SecurityGroupIDs) != 1 || p.Spec.SecurityGroupIDs[0] != usual.ID {
		t.Errorf("one that names none is in %v, %v", p.Spec.SecurityGroupIDs, err)
	}
	p, err := port(web.ID)
	if err != nil || len(p.Spec.SecurityGroupIDs) != 1 || p.Spec.SecurityGroupIDs[0] != web.ID {
		t.Fatalf("one that names web is in %v, %v", p.Spec.SecurityGroupIDs, err)
	}
	if _, err := port("lost"); !fault.Is(err, fault.NotFound) {
		t.Errorf("a group that is not there gives %v", err)
	}
	if _, err := port(web.ID, web.ID); !fault.Is(err, fault.Invalid) {
		t.Errorf("a group twice gives %v", err)
	}
	c := m.call()
	m.api.Ports.Create(c.Batch, p, Holder)
	if err := m.commit(c); err != nil {
		t.Fatal(err)
	}
	if err := deleteGroup(t.Context(), m.call(), web); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "members are x;") {
		t.Errorf("a group with a member: %v", err)
	}
	c = m.call()
	spec := p.Spec
	spec.SecurityGroupIDs = []resource.ID{usual.ID}
	if err := changePort(t.Context(), c, p, &spec); err != nil {
		t.Errorf("a port that changes its group: %v", err)
	}
	spec.SecurityGroupIDs = []resource.ID{"lost"}
	if err := changePort(t.Context(), c, p, &spec); !fault.Is(err, fault.NotFound) {
		t.Errorf("a port that goes into a group that is not there: %v", err)
	}
}
