package ovn

import (
	"slices"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/ovn/nbdb"
)

func aGroup(id string, rules ...network.SecurityRule) *network.SecurityGroup {
	g := &network.SecurityGroup{Meta: resource.Meta{ID: resource.ID(id), Name: id, Project: "a"}, Spec: network.SecurityGroupSpec{Rules: rules}}
	g.Spec.Default()
	return g
}

// guarded is a cloud of one network, whose ports are in these groups.
func guarded(groups []*network.SecurityGroup, members ...[]resource.ID) Cloud {
	n := aNetwork("net", "a", network.Nowhere, "")
	s := aSubnet("sub", n, "10.0.0.0/24")
	c := Cloud{Networks: []*network.Network{n}, Subnets: []*network.Subnet{s}, Groups: groups}
	for i, in := range members {
		id := string(rune('p' + i))
		p := aPort(id, s, "10.0.0.1"+string(rune('0'+i)))
		p.Spec.SecurityGroupIDs = in
		c.Ports, c.PortBindings = append(c.Ports, p), append(c.PortBindings, aBinding("b"+id, p, "h", 1))
	}
	return c
}

func rowAt(rows []Row, key string) any {
	for _, r := range rows {
		if r.Key == key {
			return r.Model
		}
	}
	return nil
}

func TestARuleIsWrittenAsAMatch(t *testing.T) {
	for want, r := range map[string]network.SecurityRule{
		"ip4":                           {},
		"icmp4":                         {Protocol: network.ICMP},
		"ip4 && ip4.src == 10.1.0.0/16": {CIDR: "10.1.0.0/16"},
		"ip4 && ip4.dst == 10.1.0.5/32": {CIDR: "10.1.0.5", Direction: network.Egress},
		"ip4 && tcp && tcp.dst == 80":   {Protocol: network.TCP, FirstPort: 80},
		"ip4 && udp && ip4.src == $virga_members_a_b && udp.dst >= 53 && udp.dst <= 60": {Protocol: network.UDP, FirstPort: 53, LastPort: 60, GroupID: "a-b"},
	} {
		if got := matchOf(aGroup("g", r).Spec.Rules[0]); got != want {
			t.Errorf("%+v\nis    %s\nnot   %s", r, got, want)
		}
	}
}

func TestAPortInAGroupIsHeldToItsRules(t *testing.T) {
	web := aGroup("web", network.SecurityRule{Name: "http", Protocol: network.TCP, FirstPort: 80}, network.SecurityRule{Name: "out", Direction: network.Egress})
	rows := Compile(guarded([]*network.SecurityGroup{web}, []resource.ID{"web"}, nil))
	pg, _ := rowAt(rows, "portgroup/net-web").(*nbdb.PortGroup)
	if pg == nil || !slices.Equal(pg.Ports, []string{"lsp/p"}) {
		t.Fatalf("the port group is %+v", pg)
	}
	var acls []string
	for _, key := range pg.ACLs {
		a := rowAt(rows, key).(*nbdb.ACL)
		acls = append(acls, strings.Join([]string{a.Direction, a.Match, a.Action, a.ExternalIDs[said]}, " | "))
	}
	want := []string{
		"to-lport | outport == @virga_net_web && ip | drop | web/",
		"from-lport | inport == @virga_net_web && ip | drop | web/",
		"from-lport | inport == @virga_net_web && ip4 && udp.src == 68 && udp.dst == 67 | allow | web/",
		"from-lport | inport == @virga_net_web && ip4.dst == {10.0.0.2, 169.254.169.254} | allow-related | web/",
		"to-lport | outport == @virga_net_web && ip4 && tcp && tcp.dst == 80 | allow-related | web/http",
		"from-lport | inport == @virga_net_web && ip4 | allow-related | web/out",
	}
	if !slices.Equal(acls, want) {
		t.Errorf("the ACLs are\n%s\nnot\n%s", strings.Join(acls, "\n"), strings.Join(want, "\n"))
	}
}

func TestAnOpenGroupCostsNothingAndOpensItsPorts(t *testing.T) {
	open := aGroup("default", network.SecurityRule{Name: "in"}, network.SecurityRule{Name: "out", Direction: network.Egress})
	web := aGroup("web", network.SecurityRule{Name: "http", Protocol: network.TCP, FirstPort: 80})
	c := guarded([]*network.SecurityGroup{open, web}, []resource.ID{"default"}, []resource.ID{"web", "default"})
	for _, r := range Compile(c) {
		if strings.HasPrefix(r.Key, "portgroup/") || strings.HasPrefix(r.Key, "acl/") {
			t.Errorf("there is %s", r.Key)
		}
	}
	open.Spec.Rules = open.Spec.Rules[1:] // nobody may come in any more
	if pg, _ := rowAt(Compile(c), "portgroup/net-default").(*nbdb.PortGroup); pg == nil || len(pg.Ports) != 2 {
		t.Errorf("closed it is %+v", pg)
	}
}

func TestAGroupThatIsSpokenOfHasItsMembersAsASet(t *testing.T) {
	web, db := aGroup("web"), aGroup("db", network.SecurityRule{Name: "from-web", GroupID: "web"}, network.SecurityRule{Name: "each-other", GroupID: "db"})
	c := guarded([]*network.SecurityGroup{web, db}, []resource.ID{"web"}, []resource.ID{"db"}, []resource.ID{"db", "web"})
	rows := Compile(c)
	for key, want := range map[string][]string{"addresses/members-web": {"10.0.0.10", "10.0.0.12"}, "addresses/members-db": {"10.0.0.11", "10.0.0.12"}} {
		if set, _ := rowAt(rows, key).(*nbdb.AddressSet); set == nil || !slices.Equal(set.Addresses, want) {
			t.Errorf("%s is %+v", key, set)
		}
	}
	var k Compiler
	before := k.Compile(c)
	c.Groups = []*network.SecurityGroup{web, aGroup("db")} // nobody speaks of anybody any more
	now, had := changed(before, k.Compile(c))
	keys := map[string]bool{}
	for _, r := range now {
		keys[r.Key] = true
	}
	if keys["addresses/members-web"] || !slices.ContainsFunc(had, func(r Row) bool { return r.Key == "addresses/members-web" }) {
		t.Error("a set that nobody speaks of stays")
	}
}

func TestANewMemberChangesItsOwnNetworkAndTheSetAlone(t *testing.T) {
	web := aGroup("web", network.SecurityRule{Name: "each-other", GroupID: "web"})
	c := guarded([]*network.SecurityGroup{web}, []resource.ID{"web"}, nil)
	other := aNetwork("other", "a", network.Nowhere, "")
	sub := aSubnet("sub-other", other, "10.1.0.0/24")
	p := aPort("z", sub, "10.1.0.10")
	p.Spec.SecurityGroupIDs = []resource.ID{"web"}
	c.Networks, c.Subnets, c.Ports = append(c.Networks, other), append(c.Subnets, sub), append(c.Ports, p)
	c.PortBindings = append(c.PortBindings, aBinding("bz", p, "h", 1))
	var k Compiler
	before := k.Compile(c)
	c.Ports = slices.Clone(c.Ports)
	c.Ports[1] = resource.Copy(c.Ports[1])
	c.Ports[1].Spec.SecurityGroupIDs = []resource.ID{"web"}
	var owners []resource.ID
	for i, o := range k.Compile(c) {
		if o != before[i] {
			owners = append(owners, o.Owner)
		}
	}
	if !slices.Equal(owners, []resource.ID{"net", "web"}) {
		t.Errorf("compiled anew are %v", owners)
	}
}
