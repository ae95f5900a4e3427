package ovn

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"

	"github.com/ovn-kubernetes/libovsdb/model"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/ovn/nbdb"
)

// ExternalNetwork is the name that hosts map to their bridge to the outside.
const ExternalNetwork = "virga-ext"

const (
	mark      = "virga" // in external_ids: the row's key
	extSwitch = "switch/ext"
)

// Cloud is all that the rows are made of.
type Cloud struct {
	Networks     []*network.Network
	Subnets      []*network.Subnet
	Ports        []*network.Port
	PortBindings []*network.PortBinding
	Groups       []*network.SecurityGroup
	Hosts        []*host.Host
	Lives        []*host.Liveness
}

// Read takes it from a snapshot.
func Read(s *store.Snapshot) Cloud {
	return Cloud{
		Networks: store.Every(s, network.Networks), Subnets: store.Every(s, network.Subnets),
		Ports: store.Every(s, network.Ports), PortBindings: store.Every(s, network.PortBindings),
		Groups: store.Every(s, network.SecurityGroups), Hosts: store.Every(s, host.Hosts), Lives: store.Every(s, host.Livenesses),
	}
}

// Row is a wanted row. Where its model refers to other rows, it has their keys.
type Row struct {
	Key   string
	Model model.Model
}

// compiler makes the rows of one owner.
type compiler struct {
	facts
	rows     []Row
	bindings map[resource.ID][]*network.PortBinding
}

func (k *compiler) add(key string, m model.Model) string {
	k.rows = append(k.rows, Row{key, m})
	return key
}

func marked(key string) map[string]string { return map[string]string{mark: key} }

// outside makes the one switch that routers go out by, with a port for each of them.
func (k *compiler) outside(routers []resource.ID) {
	const local = "lsp/ext-localnet"
	ext := &nbdb.LogicalSwitch{Name: "virga-ext", ExternalIDs: marked(extSwitch)}
	k.add(extSwitch, ext)
	ext.Ports = append(ext.Ports, k.add(local, &nbdb.LogicalSwitchPort{
		Name: "virga-ext-localnet", Type: "localnet", Addresses: []string{"unknown"},
		Options: map[string]string{"network_name": ExternalNetwork}, ExternalIDs: marked(local),
	}))
	for _, id := range routers {
		key := "lsp/out-" + string(id)
		ext.Ports = append(ext.Ports, k.add(key, &nbdb.LogicalSwitchPort{
			Name: "virga-xs-" + string(id), Type: "router", Addresses: []string{"router"},
			Options: map[string]string{"router-port": "virga-out-" + string(id)}, ExternalIDs: marked(key),
		}))
	}
}

// goesOut says whether a network's router has a port on the outside switch.
func goesOut(n *network.Network) bool {
	return n.Spec.Outside == network.NAT && n.Status.OutsideAddress != ""
}

func (k *compiler) makeNetwork(n *network.Network) {
	key, routerKey := "switch/"+string(n.ID), "router/"+string(n.ID)
	ls := &nbdb.LogicalSwitch{Name: "virga-" + string(n.ID), ExternalIDs: marked(key)}
	lr := &nbdb.LogicalRouter{Name: "virga-" + string(n.ID), ExternalIDs: marked(routerKey),
		// Routers of many tenants share the outside switch: none may learn all the others.
		Options: map[string]string{"dynamic_neigh_routers": "true", "always_learn_from_arp_request": "false"}}
	k.add(key, ls)
	k.add(routerKey, lr)
	options := map[resource.ID]string{}
	for _, s := range k.subnets {
		options[s.ID] = k.subnet(n, s, ls, lr)
	}
	for _, p := range k.onHosts() {
		ls.Ports = append(ls.Ports, k.port(p, options[p.Status.SubnetID]))
		k.limits(p, ls)
	}
	k.firewalls(n)
	if len(options) > 0 {
		ls.Ports = append(ls.Ports, k.service(n))
	}
	if goesOut(n) {
		k.uplink(n, lr)
	}
}

func (k *compiler) subnet(n *network.Network, s *network.Subnet, ls *nbdb.LogicalSwitch, lr *nbdb.LogicalRouter) string {
	id := string(s.ID)
	mac, name := network.DerivedMAC("gateway/"+id), "virga-gw-"+id
	p, _ := netip.ParsePrefix(s.Spec.CIDR)
	key := "lrp/" + id
	lr.Ports = append(lr.Ports, k.add(key, &nbdb.LogicalRouterPort{
		Name: name, MAC: mac, Networks: []string{fmt.Sprintf("%s/%d", s.Spec.Gateway, p.Bits())}, ExternalIDs: marked(key),
	}))
	key = "lsp/gw-" + id
	ls.Ports = append(ls.Ports, k.add(key, &nbdb.LogicalSwitchPort{
		Name: "virga-sw-" + id, Type: "router", Addresses: []string{"router"},
		Options: map[string]string{"router-port": name}, ExternalIDs: marked(key),
	}))
	key = "dhcp/" + id
	return k.add(key, &nbdb.DHCPOptions{Cidr: s.Spec.CIDR, Options: k.dhcp(n, s, mac), ExternalIDs: marked(key)})
}

func (k *compiler) dhcp(n *network.Network, s *network.Subnet, mac string) map[string]string {
	// RFC 3442: a VM that is given classless routes ignores the router option, so the way out
	// stands in both.
	routes := []string{network.MetadataAddress + "/32," + s.Spec.Service}
	out := map[string]string{
		"server_id": s.Spec.Gateway, "server_mac": mac, "lease_time": "3600",
		"mtu": fmt.Sprint(n.Spec.MTU), "dns_server": s.Spec.Service,
	}
	if n.Spec.Outside == network.NAT {
		out["router"] = s.Spec.Gateway
		routes = append(routes, "0.0.0.0/0,"+s.Spec.Gateway)
	} else {
		for _, other := range k.subnets {
			if other.ID != s.ID {
				routes = append(routes, other.Spec.CIDR+","+s.Spec.Gateway)
			}
		}
	}
	out["classless_static_route"] = "{" + strings.Join(routes, ", ") + "}"
	if n.Spec.Domain != "" {
		out["domain_name"] = `"` + n.Spec.Domain + `"`
	}
	return out
}

// onHosts are the ports that have rows. One that no host has needs none: of the ports of stopped VMs OVN would only
// make flows that nobody uses.
func (k *compiler) onHosts() (out []*network.Port) {
	for _, p := range k.ports {
		known := slices.ContainsFunc(k.subnets, func(s *network.Subnet) bool { return s.ID == p.Status.SubnetID })
		if known && len(k.bindings[p.ID]) > 0 {
			out = append(out, p)
		}
	}
	return out
}

func portKey(id resource.ID) string { return "lsp/" + string(id) }

func (k *compiler) port(p *network.Port, dhcp string) string {
	key := portKey(p.ID)
	addresses := p.Status.MAC + " " + p.Status.Address
	row := &nbdb.LogicalSwitchPort{
		Name: string(p.ID), Addresses: []string{addresses}, PortSecurity: []string{addresses},
		Dhcpv4Options: &dhcp, ExternalIDs: marked(key), Options: map[string]string{},
	}
	if p.Spec.Hostname != "" {
		row.Options["hostname"] = `"` + p.Spec.Hostname + `"`
	}
	if hosts := Binding(k.bindings[p.ID]); len(hosts) > 0 {
		row.Options["requested-chassis"] = join(hosts)
	}
	return k.add(key, row)
}

// limits holds a port to its rates, in both directions. Its switch drops what is above them, so that a burst of
// most of a second is let through: TCP would not come near the rate otherwise.
func (k *compiler) limits(p *network.Port, ls *nbdb.LogicalSwitch) {
	for _, x := range []struct {
		word, direction, match string
		kbps                   int64
	}{
		{"send", nbdb.QoSDirectionFromLport, "inport", p.Spec.SendKbps}, {"receive", nbdb.QoSDirectionToLport, "outport", p.Spec.ReceiveKbps},
	} {
		if x.kbps == 0 {
			continue
		}
		key := "qos/" + x.word + "-" + string(p.ID)
		ls.QOSRules = append(ls.QOSRules, k.add(key, &nbdb.QoS{
			Direction: x.direction, Match: fmt.Sprintf("%s == %q", x.match, string(p.ID)), Priority: 1000, ExternalIDs: marked(key),
			Bandwidth: map[string]int{nbdb.QoSBandwidthRate: int(x.kbps), nbdb.QoSBandwidthBurst: int(x.kbps * 8 / 10)},
		}))
	}
}

// Binding says which hosts a port is bound to, the main one first: the hosts of its port bindings that
// stay, by rising epoch, last those that the VM has left. While a VM moves that is the
// source, then the target; after the switch the target, then the source; when the source's port binding is
// let go, the target alone. The main host is never the one whose tap goes: until all controllers
// have heard of the next one, frames would go nowhere. A port needs the binding before its tap can
// come up, so that it does not wait for the port binding to be ready.
func Binding(bindings []*network.PortBinding) []resource.ID {
	var stay []*network.PortBinding
	for _, p := range bindings {
		if p.Deleting == nil && p.Status.Phase != network.PortBindingClosed {
			stay = append(stay, p)
		}
	}
	slices.SortFunc(stay, func(a, b *network.PortBinding) int {
		return cmp.Or(left(a)-left(b), cmp.Compare(a.Spec.Epoch, b.Spec.Epoch), cmp.Compare(a.ID, b.ID))
	})
	var out []resource.ID
	for _, p := range stay {
		if !slices.Contains(out, p.Spec.HostID) {
			out = append(out, p.Spec.HostID)
		}
	}
	return out
}

func left(p *network.PortBinding) int {
	if p.Spec.Left {
		return 1
	}
	return 0
}

// services are the addresses of DNS and metadata.
func (k *compiler) services() (out []string) {
	for _, s := range k.subnets {
		out = append(out, s.Spec.Service)
	}
	return append(out, network.MetadataAddress)
}

func (k *compiler) service(n *network.Network) string {
	key := "lsp/service-" + string(n.ID)
	words := append([]string{network.ServiceMAC(n.ID)}, k.services()...)
	return k.add(key, &nbdb.LogicalSwitchPort{
		Name: string(network.ServicePortID(n.ID)), Type: "localport",
		Addresses: []string{strings.Join(words, " ")}, ExternalIDs: marked(key),
	})
}

// hostSet is the addresses of all hosts, by the name that matches use.
const hostSet = "virga_hosts"

// guard names the addresses of the hosts. Their own services are not for VMs: neither on the host
// that a VM goes out by (its packet filter sees to that), nor on any other.
func (k *compiler) guard(addresses []string) {
	const key = "addresses/hosts"
	k.add(key, &nbdb.AddressSet{Name: hostSet, Addresses: addresses, ExternalIDs: marked(key)})
}

func addressesOf(hosts []*host.Host) []string {
	outside := netip.MustParsePrefix(network.OutsideRange) // the packet filter of the way out judges that
	var addresses []string
	for _, h := range hosts {
		for _, text := range append([]string{h.Status.Address, h.Status.TunnelAddress}, h.Status.Addresses...) {
			if ip, _, err := net.SplitHostPort(text); err == nil {
				text = ip
			}
			if a, err := netip.ParseAddr(text); err == nil && a.Is4() && !a.IsLoopback() && !outside.Contains(a) {
				addresses = append(addresses, a.String())
			}
		}
	}
	slices.Sort(addresses)
	return slices.Compact(addresses)
}

// uplink gives a router its way out: a port on the outside switch that lives on one host at a
// time, the default route to that host's bridge, and the translation of every subnet.
func (k *compiler) uplink(n *network.Network, lr *nbdb.LogicalRouter) {
	id, address := string(n.ID), n.Status.OutsideAddress
	name, key := "virga-out-"+id, "lrp/out-"+id
	bits := netip.MustParsePrefix(network.OutsideRange).Bits()
	out := &nbdb.LogicalRouterPort{Name: name, MAC: outsideMAC(address),
		Networks: []string{fmt.Sprintf("%s/%d", address, bits)}, ExternalIDs: marked(key)}
	lr.Ports = append(lr.Ports, k.add(key, out))
	for i, h := range k.ways {
		key := "gateway/" + id + "/" + string(h)
		out.GatewayChassis = append(out.GatewayChassis, k.add(key, &nbdb.GatewayChassis{
			Name: name + "-" + string(h), ChassisName: string(h), Priority: 10 * (ways - i), ExternalIDs: marked(key),
		}))
	}
	key = "route/" + id
	lr.StaticRoutes = append(lr.StaticRoutes, k.add(key, &nbdb.LogicalRouterStaticRoute{
		IPPrefix: "0.0.0.0/0", Nexthop: network.OutsideGateway, OutputPort: &name, ExternalIDs: marked(key),
	}))
	// OVN makes no flow of "not ICMP", so the match names what else there is.
	key = "policy/hosts-" + id
	lr.Policies = append(lr.Policies, k.add(key, &nbdb.LogicalRouterPolicy{
		Priority: 1000, Match: "ip4.dst == $" + hostSet + " && (tcp || udp || sctp)", Action: nbdb.LogicalRouterPolicyActionDrop, ExternalIDs: marked(key),
	}))
	for _, s := range k.subnets {
		key := "nat/" + string(s.ID)
		lr.Nat = append(lr.Nat, k.add(key, &nbdb.NAT{
			Type: nbdb.NATTypeSNAT, ExternalIP: address, LogicalIP: s.Spec.CIDR, ExternalIDs: marked(key),
		}))
	}
	// The next hop's MAC is the same on every host and never asked for: nobody can answer for it.
	k.add("mac/"+name, &nbdb.StaticMACBinding{
		LogicalPort: name, IP: network.OutsideGateway, MAC: network.OutsideGatewayMAC, OverrideDynamicMAC: true,
	})
}

// gateways lists the hosts that routers may go out by: all that are not known to be lost.
func gateways(c Cloud) []resource.ID {
	lost := map[resource.ID]bool{}
	for _, l := range c.Lives {
		lost[l.Spec.HostID] = l.Status.State == host.Lost
	}
	var out []resource.ID
	for _, h := range c.Hosts {
		if h.Deleting == nil && !lost[h.ID] {
			out = append(out, h.ID)
		}
	}
	return out
}

// ways is how many hosts a network may go out by, one at a time: with more, each host that comes or goes would
// write rows of all networks.
const ways = 3

// drawn gives the first hosts in an order by lot, which is another one for each network and in which hosts keep
// their order when others come and go (rendezvous hashing: Thaler and Ravishankar, "Using name-based mappings to
// increase hit rates", 1998). The hash must mix well: of one that does not, hosts whose ids are alike lie together.
func drawn(hosts []resource.ID, network resource.ID) []resource.ID {
	lots := make(map[resource.ID][sha256.Size]byte, len(hosts))
	for _, h := range hosts {
		lots[h] = sha256.Sum256([]byte(network + "/" + h))
	}
	out := slices.Clone(hosts)
	slices.SortFunc(out, func(a, b resource.ID) int {
		x, y := lots[a], lots[b]
		return bytes.Compare(x[:], y[:])
	})
	return out[:min(ways, len(out))]
}

// outsideMAC is the address itself: no two routers share one on the outside switch.
func outsideMAC(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return network.DerivedMAC(address)
	}
	raw := a.As4()
	return fmt.Sprintf("02:64:%02x:%02x:%02x:%02x", raw[0], raw[1], raw[2], raw[3])
}

func join(ids []resource.ID) string {
	words := make([]string, len(ids))
	for i, id := range ids {
		words[i] = string(id)
	}
	return strings.Join(words, ",")
}
