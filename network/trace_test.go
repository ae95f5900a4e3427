package network

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// traced is a project with two networks and ports on two hosts.
type traced struct {
	*moment
	bindings *store.SpecWriter[PortBindingSpec, PortBindingStatus]
	hosts    map[string]resource.ID
	subnets  map[string]resource.ID
}

func newTraced(t *testing.T) *traced {
	x := &traced{moment: newMoment(t), hosts: map[string]resource.ID{}, subnets: map[string]resource.ID{}}
	l := store.NewRegistry()
	x.bindings = store.Specs(l, PortBindings, "compute")
	hosts := store.Specs(l, host.Hosts, "api")
	c := x.call()
	for i, name := range []string{"h1", "h2"} {
		h := host.New(resource.ID(name), name)
		h.Status.Address = []string{"192.0.2.1:7444", "192.0.2.2:7444"}[i]
		hosts.Create(c.Batch, h)
		x.hosts[name] = h.ID
	}
	x.must(c)
	for name, cidr := range map[string]string{"one": "10.0.0.0/24", "two": "10.0.1.0/24"} {
		x.must(x.subnet(name, cidr))
		x.subnets[name] = store.Named(x.db.Snapshot(), Subnets, "p", name).ID
	}
	return x
}

func (x *traced) must(c *httpapi.Call) {
	x.Helper()
	if err := x.commit(c); err != nil {
		x.Fatal(err)
	}
}

func (x *traced) port(name, subnet, address, at string, groups ...*SecurityGroup) *Port {
	x.Helper()
	p := &Port{Meta: resource.Meta{ID: resource.NewID(), Name: name, Project: "p"}, Spec: PortSpec{NetworkID: x.net.ID, SubnetID: x.subnets[subnet], Address: address}}
	for _, g := range groups {
		p.Spec.SecurityGroupIDs = append(p.Spec.SecurityGroupIDs, g.ID)
	}
	if err := Allocate(x.db.Snapshot(), p); err != nil {
		x.Fatal(err)
	}
	c := x.call()
	x.api.Ports.Create(c.Batch, p, Holder)
	if at != "" {
		x.bindings.Create(c.Batch, &PortBinding{Meta: resource.Meta{Project: "p"}, Spec: PortBindingSpec{PortID: p.ID, NetworkID: x.net.ID, HostID: x.hosts[at], Epoch: 1}}, AgentHolder)
	}
	x.must(c)
	return p
}

// way says where a trace went, and its last sentence.
func way(t Trace) (string, string) {
	var at []string
	for _, h := range t.Hops {
		at = append(at, h.At)
	}
	return strings.Join(at, ", "), t.Hops[len(t.Hops)-1].Text
}

func TestAPacketIsFollowedHopByHop(t *testing.T) {
	x := newTraced(t)
	web, err := x.group("web", SecurityRule{Name: "http", Protocol: TCP, FirstPort: 80, LastPort: 89}, SecurityRule{Name: "out", Direction: Egress, Protocol: TCP})
	if err != nil {
		t.Fatal(err)
	}
	friends, err := x.group("friends", SecurityRule{Name: "each-other", GroupID: "friends"}, SecurityRule{Name: "out", Direction: Egress, CIDR: "10.0.0.0/24"})
	if err != nil {
		t.Fatal(err)
	}
	free := x.port("free", "one", "10.0.0.10", "h1")
	near, far, next := x.port("near", "one", "10.0.0.11", "h1"), x.port("far", "one", "10.0.0.12", "h2"), x.port("next", "two", "10.0.1.10", "h1")
	guarded, stopped := x.port("guarded", "one", "10.0.0.13", "h1", web), x.port("stopped", "one", "10.0.0.14", "")
	friend, other := x.port("friend", "one", "10.0.0.15", "h1", friends), x.port("other", "two", "10.0.1.15", "h2", friends)
	tcp := func(port int64) Flow { return Flow{TCP, port} }
	for _, c := range []struct {
		from, to *Port
		address  string
		flow     Flow
		way, end string
		arrives  bool
	}{
		// The three of the textbook: same segment and host, same segment on another host, another segment.
		{free, near, "", tcp(80), "port, security group, switch, host, security group, port", "port near receives it", true},
		{free, far, "", tcp(80), "port, security group, switch, tunnel, security group, port", "port far receives it", true},
		{free, next, "", tcp(80), "port, security group, switch, router, host, security group, port", "port next receives it", true},
		{free, nil, "10.0.0.12", tcp(80), "port, security group, switch, tunnel, security group, port", "port far receives it", true},
		// Security groups, of both sides.
		{free, guarded, "", tcp(80), "port, security group, switch, host, security group, port", "port guarded receives it", true},
		{free, guarded, "", tcp(89), "port, security group, switch, host, security group, port", "port guarded receives it", true},
		{free, guarded, "", tcp(90), "port, security group, switch, host, security group", "port guarded is in security group web: no rule there lets tcp 90 from 10.0.0.10 in", false},
		{free, guarded, "", Flow{UDP, 80}, "port, security group, switch, host, security group", "no rule there lets udp 80", false},
		{guarded, free, "", Flow{Protocol: ICMP}, "port, security group", "no rule there lets icmp to 10.0.0.10 out", false},
		{friend, other, "", tcp(1), "port, security group", "no rule there lets tcp 1 to 10.0.1.15 out", false},
		{free, friend, "", tcp(1), "port, security group, switch, host, security group", "no rule there", false},
		{friend, near, "", tcp(1), "port, security group, switch, host, security group, port", "port near receives it", true},
		// What is not there, and what the platform answers.
		{stopped, free, "", tcp(80), "port", "port stopped is on no host", false},
		{free, stopped, "", tcp(80), "port, security group, switch, switch", "port stopped is on no host", false},
		{free, nil, "10.0.0.99", tcp(80), "port, security group, switch, switch", "no port of network lan has the address 10.0.0.99", false},
		{free, nil, "10.0.0.1", Flow{Protocol: ICMP}, "port, security group, switch, router", "whose address in subnet one it is", true},
		{guarded, nil, "10.0.0.2", Flow{UDP, 53}, "port, security group, switch, host", "DNS and metadata of the network answer", true},
		{guarded, nil, MetadataAddress, tcp(80), "port, security group, switch, host", "DNS and metadata of the network answer", true},
		{free, nil, "198.51.100.7", tcp(80), "port, security group, switch, router", "network lan has no way out", false},
	} {
		if c.to != nil {
			c.address = c.to.Status.Address
		}
		address := netip.MustParseAddr(c.address)
		got := TraceFlow(x.db.Snapshot(), c.from, c.to, address, c.flow, false)
		if at, end := way(got); at != c.way || !strings.Contains(end, c.end) || got.Arrives != c.arrives {
			t.Errorf("%s to %s, %s: arrives %v by\n%s: %s\nnot\n%s: %s", c.from.Name, address, c.flow, got.Arrives, at, end, c.way, c.end)
		}
		if drops := got.Hops[len(got.Hops)-1].Drops; drops == got.Arrives || slices.ContainsFunc(got.Hops[:len(got.Hops)-1], func(h Hop) bool { return h.Drops }) {
			t.Errorf("%s to %s: dropped elsewhere than at its end: %+v", c.from.Name, address, got.Hops)
		}
	}
}

func TestTheWayOutIsFollowedAndHostsAreNamedToWhoMayKnowThem(t *testing.T) {
	x := newTraced(t)
	a, b := x.port("a", "one", "10.0.0.10", "h1"), x.port("b", "one", "10.0.0.11", "h2")
	w := NewWriters(store.NewRegistry())
	c := x.call()
	w.Networks.Set(c.Batch, x.net, func(s *Status) { s.OutsideAddress = "100.64.0.2" })
	x.must(c)
	out := TraceFlow(x.db.Snapshot(), a, nil, netip.MustParseAddr("198.51.100.7"), Flow{TCP, 443}, false)
	if at, _ := way(out); at != "port, security group, switch, router, nat, outside" || !out.Arrives || !strings.Contains(out.Hops[4].Text, "100.64.0.2") {
		t.Errorf("the way out is %+v", out)
	}
	for flow, want := range map[Flow]bool{{TCP, 22}: false, {Protocol: ICMP}: true} {
		if got := TraceFlow(x.db.Snapshot(), a, nil, netip.MustParseAddr("192.0.2.2"), flow, false); got.Arrives != want {
			t.Errorf("%s to a host: %+v", flow, got)
		}
	}
	for naming, want := range map[bool]string{true: "from host h1 to host h2", false: "to another host"} {
		got := TraceFlow(x.db.Snapshot(), a, b, netip.MustParseAddr("10.0.0.11"), Flow{TCP, 1}, naming)
		if text := got.Hops[3].Text; !strings.Contains(text, want) || !naming && strings.Contains(text, "h1") {
			t.Errorf("naming %v: %s", naming, text)
		}
	}
}

func TestAPortThatMovesIsTracedWhereItsVMIs(t *testing.T) {
	x := newTraced(t)
	a, b := x.port("a", "one", "10.0.0.10", "h1"), x.port("b", "one", "10.0.0.11", "h1")
	to := netip.MustParseAddr("10.0.0.11")
	at := func() string { return TraceFlow(x.db.Snapshot(), a, b, to, Flow{TCP, 1}, false).Hops[3].At }
	if got := at(); got != "host" {
		t.Errorf("before it moves: %s", got)
	}
	c := x.call()
	x.bindings.Set(c.Batch, store.Referring(c.Snapshot, PortBindings, b.ID)[0], func(s *PortBindingSpec) { s.Left = true })
	x.bindings.Create(c.Batch, &PortBinding{Meta: resource.Meta{Project: "p"}, Spec: PortBindingSpec{PortID: b.ID, NetworkID: x.net.ID, HostID: x.hosts["h2"], Epoch: 2}}, AgentHolder)
	x.must(c)
	if got := at(); got != "tunnel" {
		t.Errorf("after it moved: %s", got)
	}
}

func TestATraceIsAskedForByNames(t *testing.T) {
	x := newTraced(t)
	x.port("a", "one", "10.0.0.10", "h1")
	x.port("b", "one", "10.0.0.11", "h1")
	s := x.db.Snapshot()
	ask := func(from, to string) (*Trace, error) {
		return traceNamed(s, x.db.Catalog(), "p", from, to, Flow{TCP, 80}, false)
	}
	if got, err := ask("a", "b"); err != nil || !got.Arrives || got.To != "b (10.0.0.11)" {
		t.Errorf("%+v, %v", got, err)
	}
	if got, err := ask("a", "10.0.0.11"); err != nil || !got.Arrives || got.To != "10.0.0.11" {
		t.Errorf("%+v, %v", got, err)
	}
	for _, c := range []struct {
		from, to string
		kind     fault.Kind
	}{{"lost", "b", fault.NotFound}, {"a", "lost", fault.NotFound}, {"a", "fd00::1", fault.Invalid}} {
		if _, err := ask(c.from, c.to); !fault.Is(err, c.kind) {
			t.Errorf("%s to %s gives %v", c.from, c.to, err)
		}
	}
}
