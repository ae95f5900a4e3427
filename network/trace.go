package network

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// Trace is the way of the first packet of a connection, hop by hop.
type Trace struct {
	// From and To are the ends: a port with its address, or an address.
	From string `json:"from"`
	To   string `json:"to"`
	// Arrives says whether it gets there; if not, the last hop is where it ends.
	Arrives bool `json:"arrives"`
	// Hops are what it passes, in order.
	Hops []Hop `json:"hops"`
}

// Hop is one thing that a packet passes.
type Hop struct {
	// At is what it is.
	At string `json:"at" enum:"port,security group,switch,router,host,tunnel,nat,outside"`
	// Text says what happens there.
	Text string `json:"text"`
	// Drops says that the packet goes no further, for the reason in the text.
	Drops bool `json:"drops,omitempty"`
}

// Flow is the connection that is asked about.
type Flow struct {
	Protocol Protocol
	Port     int64 // that is connected to; 0 where the protocol has none
}

func (f Flow) String() string {
	if f.Port == 0 {
		return string(f.Protocol)
	}
	return fmt.Sprintf("%s %d", f.Protocol, f.Port)
}

// tracer follows a packet through the records, as they are compiled for the switches.
type tracer struct {
	s     *store.Snapshot
	flow  Flow
	hosts bool // they are named: who asks may know them
	out   Trace
}

// TraceFlow follows the first packet of a connection from a port to an address; to is the port that has it, where one
// is meant, perhaps in another network. Hosts are named only where naming is said.
func TraceFlow(s *store.Snapshot, from, to *Port, address netip.Addr, flow Flow, naming bool) Trace {
	t := &tracer{s: s, flow: flow, hosts: naming, out: Trace{From: endOf(from), To: address.String()}}
	if to != nil {
		t.out.To = endOf(to)
	}
	t.out.Arrives = t.leaves(from, address) && t.travels(from, to, address)
	return t.out
}

func endOf(p *Port) string { return p.Name + " (" + p.Status.Address + ")" }

func (t *tracer) pass(at, format string, args ...any) bool {
	t.out.Hops = append(t.out.Hops, Hop{At: at, Text: fmt.Sprintf(format, args...)})
	return true
}

func (t *tracer) drop(at, format string, args ...any) bool {
	t.out.Hops = append(t.out.Hops, Hop{At: at, Text: fmt.Sprintf(format, args...), Drops: true})
	return false
}

// leaves follows it out of the port.
func (t *tracer) leaves(from *Port, to netip.Addr) bool {
	if t.hostOf(from) == "" {
		return t.drop("port", "port %s is on no host: no VM that runs uses it", from.Name)
	}
	t.pass("port", "port %s sends it, from %s and %s, which are its own", from.Name, from.Status.MAC, from.Status.Address)
	for _, subnet := range store.Referring(t.s, Subnets, from.Spec.NetworkID) {
		if to.String() == subnet.Spec.Service || to.String() == MetadataAddress {
			return t.pass("security group", "DNS and metadata pass every security group")
		}
	}
	return t.firewall(from, Egress, to)
}

// travels follows it from the switch of its network on.
func (t *tracer) travels(from, to *Port, address netip.Addr) bool {
	n := store.Find(t.s, Networks, from.Spec.NetworkID)
	t.pass("switch", "switch of network %s", n.Name)
	if to != nil && to.Spec.NetworkID != n.ID {
		other := "another network"
		if x := store.Find(t.s, Networks, to.Spec.NetworkID); x != nil {
			other = "network " + x.Name
		}
		return t.drop("router", "port %s is in %s, and no router joins that with network %s", to.Name, other, n.Name)
	}
	var home, there *Subnet
	for _, subnet := range store.Referring(t.s, Subnets, n.ID) {
		switch {
		case address.String() == subnet.Spec.Service || address.String() == MetadataAddress:
			return t.pass("host", "DNS and metadata of the network answer, on the same host")
		case address.String() == subnet.Spec.Gateway:
			return t.pass("router", "router of network %s, whose address in subnet %s it is", n.Name, subnet.Name)
		case subnet.Spec.has(address.String()):
			there = subnet
		}
		if subnet.ID == from.Status.SubnetID {
			home = subnet
		}
	}
	if there == nil || home == nil {
		return t.goesOut(n, address)
	}
	if there.ID != home.ID {
		t.pass("router", "router of network %s, from subnet %s to subnet %s", n.Name, home.Name, there.Name)
	}
	if to == nil {
		if to, _ = t.s.TakenBy(addressIn(n.ID, address.String())).(*Port); to == nil {
			return t.drop("switch", "no port of network %s has the address %s", n.Name, address)
		}
	}
	return t.arrives(from, to)
}

// arrives follows it to a port of the same network.
func (t *tracer) arrives(from, to *Port) bool {
	a, b := t.hostOf(from), t.hostOf(to)
	switch {
	case b == "":
		return t.drop("switch", "port %s is on no host: no VM that runs uses it", to.Name)
	case a == b && t.hosts:
		t.pass("host", "both ports are on host %s: it stays in that switch", t.nameOf(a))
	case a == b:
		t.pass("host", "both ports are on the same host: it stays in that switch")
	case t.hosts:
		t.pass("tunnel", "over the wire, in a Geneve tunnel from host %s to host %s", t.nameOf(a), t.nameOf(b))
	default:
		t.pass("tunnel", "over the wire, in a Geneve tunnel to another host")
	}
	address, _ := netip.ParseAddr(from.Status.Address)
	return t.firewall(to, Ingress, address) && t.pass("port", "port %s receives it", to.Name)
}

// goesOut follows it out of the network.
func (t *tracer) goesOut(n *Network, to netip.Addr) bool {
	if n.Spec.Outside != NAT || n.Status.OutsideAddress == "" {
		return t.drop("router", "network %s has no way out, and %s is in none of its subnets", n.Name, to)
	}
	t.pass("router", "router of network %s, by its way out", n.Name)
	if t.flow.Protocol != ICMP {
		for _, h := range store.Every(t.s, host.Hosts) {
			if slices.ContainsFunc(append([]string{h.Status.Address, h.Status.TunnelAddress}, h.Status.Addresses...), func(a string) bool {
				return strings.Split(a, ":")[0] == to.String()
			}) {
				return t.drop("router", "%s is an address of a host, whose services are not for VMs", to)
			}
		}
	}
	t.pass("nat", "its sender becomes %s, and then the address of the host that it leaves by", n.Status.OutsideAddress)
	return t.pass("outside", "it is sent to %s; what happens there is not known here", to)
}

// firewall asks the security groups of a port, of which the other side has an address.
func (t *tracer) firewall(p *Port, d Direction, peer netip.Addr) bool {
	way := map[Direction]string{Ingress: "in", Egress: "out"}[d]
	var names []string
	var passed string
	for _, id := range p.Spec.SecurityGroupIDs {
		g := store.Find(t.s, SecurityGroups, id)
		if g == nil {
			continue
		}
		names = append(names, g.Name)
		if g.Spec.Open() {
			return t.pass("security group", "security group %s of port %s lets everything through", g.Name, p.Name)
		}
		for _, r := range g.Spec.Rules {
			if passed == "" && r.Direction == d && t.admits(&r, peer) {
				passed = fmt.Sprintf("rule %s of security group %s lets it %s", r.Name, g.Name, way)
			}
		}
	}
	switch {
	case len(names) == 0:
		return t.pass("security group", "port %s is in no security group: everything passes", p.Name)
	case passed == "":
		from := map[Direction]string{Ingress: "from", Egress: "to"}[d]
		return t.drop("security group", "port %s is in security group %s: no rule there lets %s %s %s %s", p.Name, strings.Join(names, " and "), t.flow, from, peer, way)
	}
	return t.pass("security group", "%s", passed)
}

// admits says whether a rule lets the flow through, of which the other side has an address.
func (t *tracer) admits(r *SecurityRule, peer netip.Addr) bool {
	if r.Protocol != AnyProtocol && r.Protocol != t.flow.Protocol {
		return false
	}
	if r.FirstPort != 0 && (t.flow.Port < r.FirstPort || t.flow.Port > r.LastPort) {
		return false
	}
	if r.GroupID != "" {
		return slices.ContainsFunc(store.Referring(t.s, Ports, r.GroupID), func(p *Port) bool { return p.Status.Address == peer.String() })
	}
	p, err := netip.ParsePrefix(r.CIDR)
	return err == nil && p.Contains(peer)
}

// hostOf is where a port lives: of its port bindings, the one with the highest epoch that its VM has not left.
func (t *tracer) hostOf(p *Port) (id resource.ID) {
	epoch := int64(-1)
	for _, b := range store.Referring(t.s, PortBindings, p.ID) {
		if b.Deleting == nil && !b.Spec.Left && b.Status.Phase != PortBindingClosed && b.Spec.Epoch > epoch {
			id, epoch = b.Spec.HostID, b.Spec.Epoch
		}
	}
	return id
}

func (t *tracer) nameOf(id resource.ID) string {
	if h := store.Find(t.s, host.Hosts, id); h != nil {
		return h.Name
	}
	return string(id)
}

// portsNamed gives the ports that a word means in a project: one of that name, or those of the VM of that name, in
// the order of its NICs.
func portsNamed(s *store.Snapshot, catalog *resource.Catalog, project resource.ID, word string) []*Port {
	if p := store.Named(s, Ports, project, word); p != nil {
		return []*Port{p}
	}
	vm, known := catalog.Lookup("vm")
	x := s.NamedOf("vm", project, word)
	if !known || x == nil {
		return nil
	}
	var out []*Port
	for _, need := range vm.Needs(x) {
		if p := store.Find(s, Ports, need.ID); p != nil && need.Kind == Ports.Kind {
			out = append(out, p)
		}
	}
	return out
}

// traceNamed follows a packet between what two words mean.
func traceNamed(s *store.Snapshot, catalog *resource.Catalog, project resource.ID, from, to string, flow Flow, naming bool) (*Trace, error) {
	refuse := func(kind fault.Kind, format string, args ...any) error {
		return fault.New(kind, "trace from %s to %s: %s", from, to, fmt.Sprintf(format, args...))
	}
	senders := portsNamed(s, catalog, project, from)
	if len(senders) == 0 {
		return nil, refuse(fault.NotFound, "there is no port and no VM with a NIC that is called %q in project %s", from, s.NameOf(project))
	}
	if a, err := netip.ParseAddr(to); err == nil {
		if !a.Is4() {
			return nil, refuse(fault.Invalid, "networks carry IPv4 only")
		}
		out := TraceFlow(s, senders[0], nil, a, flow, naming)
		return &out, nil
	}
	receivers := portsNamed(s, catalog, project, to)
	if len(receivers) == 0 {
		return nil, refuse(fault.NotFound, "there is no port and no VM with a NIC that is called %q in project %s, and it is no address", to, s.NameOf(project))
	}
	// Of VMs with several NICs those are meant that share a network.
	a, b := senders[0], receivers[0]
	for i := len(senders) - 1; i >= 0; i-- {
		for k := len(receivers) - 1; k >= 0; k-- {
			if senders[i].Spec.NetworkID == receivers[k].Spec.NetworkID {
				a, b = senders[i], receivers[k]
			}
		}
	}
	address, _ := netip.ParseAddr(b.Status.Address)
	out := TraceFlow(s, a, b, address, flow, naming)
	return &out, nil
}
