package network

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"math/rand/v2"
	"net/netip"
	"slices"

	"github.com/google/uuid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// OutsideRange is what routers have their outside addresses from. Every host has the first
// address on a bridge of its own and translates the rest to its own address.
const OutsideRange = "100.64.0.0/16"

// OutsideGateway is the host's address on that bridge, the same on every host; so is its MAC,
// and a router that moves to another host notices nothing.
const (
	OutsideGateway    = "100.64.0.1"
	OutsideGatewayMAC = "02:64:64:40:00:01"
)

// What one port alone may have in a network, and one network in the cloud.
func addressIn(network resource.ID, address string) string {
	return "ip:" + string(network) + ":" + address
}
func macIn(network resource.ID, mac string) string { return "mac:" + string(network) + ":" + mac }
func outside(address string) string                { return "outside:" + address }

// A port's address is drawn from the lowest of its subnet, and where these are taken from four times as
// many, and so on. So addresses stay low, many ports that are made at the same moment seldom draw the
// same, and what a draw costs does not grow with the ports that are there.
const (
	drawnFrom = 1024
	draws     = 8 // from each range, before the next
)

// Allocate gives a new port its addresses, in its status: those that its spec asks for, of the subnet that it
// names, or else of the first with free addresses. Beside are ports of the same commit, which the snapshot
// does not show yet.
func Allocate(s *store.Snapshot, p *Port, beside ...*Port) error {
	n := store.Find(s, Networks, p.Spec.NetworkID)
	if n == nil || n.Project != p.Project {
		return fault.New(fault.NotFound, "there is no network %q in project %s; see virga network list", p.Spec.NetworkID, s.NameOf(p.Project))
	}
	err := error(fault.New(fault.Precondition, "network %s has no subnet; make one: virga subnet create NAME --network %s --cidr 10.1.0.0/24", n.Name, n.Name))
	if p.Spec.SubnetID != "" {
		err = fault.New(fault.NotFound, "network %s has no subnet %q", n.Name, p.Spec.SubnetID)
	}
	groups, wrong := GroupsOrDefault(s, p.Project, p.Spec.SecurityGroupIDs)
	if wrong != nil {
		return wrong
	}
	p.Spec.SecurityGroupIDs = groups
	subnets := store.Referring(s, Subnets, n.ID)
	if p.Spec.SubnetID == "" && p.Spec.Address != "" && len(subnets) > 0 {
		if subnets = slices.DeleteFunc(slices.Clone(subnets), func(x *Subnet) bool { return !x.Spec.has(p.Spec.Address) }); len(subnets) == 0 {
			return fault.New(fault.Invalid, "take address %s: no subnet of network %s has it; see virga subnet list", p.Spec.Address, n.Name)
		}
	}
	for _, subnet := range subnets {
		if p.Spec.SubnetID != "" && p.Spec.SubnetID != subnet.ID {
			continue
		}
		var mac, address string
		if mac, address, err = choose(s, n, subnet, p, beside); err == nil {
			p.Status.SubnetID, p.Status.MAC, p.Status.Address = subnet.ID, mac, address
			return nil
		}
	}
	return err
}

// has says whether an address lies in the range.
func (s *SubnetSpec) has(address string) bool {
	p, err := netip.ParsePrefix(s.CIDR)
	a, wrong := netip.ParseAddr(address)
	return err == nil && wrong == nil && p.Contains(a)
}

// choose chooses the addresses of a port: what is requested if it is free, or else an address and a MAC
// that are drawn by the port's id. The commit that creates the port takes them; two at once that draw the
// same are told fault.Exists and draw again with a new id.
func choose(s *store.Snapshot, n *Network, subnet *Subnet, wanted *Port, beside []*Port) (mac, address string, err error) {
	if n.Deleting != nil || subnet.Deleting != nil {
		return "", "", fault.New(fault.Precondition, "take an address in network %s: it is being deleted", n.Name)
	}
	p, err := netip.ParsePrefix(subnet.Spec.CIDR)
	if err != nil {
		return "", "", fault.New(fault.Internal, "take an address in subnet %s: %w", subnet.Name, err)
	}
	taken := func(word string) string {
		if x := s.TakenBy(word); x != nil {
			return x.Head().Name
		}
		for _, port := range beside {
			if slices.Contains(Ports.Takes(port), word) {
				return port.Name
			}
		}
		return ""
	}
	if mac, err = chooseMAC(wanted, func(mac string) string { return taken(macIn(n.ID, mac)) }); err != nil {
		return "", "", err
	}
	has := func(address string) string { return taken(addressIn(n.ID, address)) }
	if wanted.Spec.Address != "" {
		return mac, wanted.Spec.Address, checkAddress(subnet, p, wanted.Spec.Address, has)
	}
	for a := range drawn(p, wanted.ID) {
		address := a.String()
		if a != broadcast(p) && address != subnet.Spec.Gateway && address != subnet.Spec.Service && has(address) == "" {
			return mac, address, nil
		}
	}
	return "", "", fault.New(fault.Exhausted, "take an address in subnet %s (%s): all %d addresses for VMs are in use; add a subnet to network %s",
		subnet.Name, subnet.Spec.CIDR, capacity(p), n.Name)
}

// drawn gives the addresses of a range in the order in which they are tried: first some that are drawn by
// an id, then, as the range is nearly full, all.
func drawn(p netip.Prefix, id resource.ID) iter.Seq[netip.Addr] {
	first, size := binary.BigEndian.Uint32(p.Masked().Addr().AsSlice()), uint32(1)<<(32-p.Bits())-1
	at := func(n uint32) netip.Addr {
		return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, first+1+n)))
	}
	random := rand.New(rand.NewChaCha8(sha256.Sum256([]byte(id))))
	return func(yield func(netip.Addr) bool) {
		for among := min(drawnFrom, size); ; among = min(4*among, size) {
			for range draws {
				if !yield(at(random.Uint32N(among))) {
					return
				}
			}
			if among == size {
				break
			}
		}
		begin := random.Uint32N(size)
		for n := range size {
			if !yield(at((begin + n) % size)) {
				return
			}
		}
	}
}

func checkAddress(subnet *Subnet, p netip.Prefix, text string, taken func(string) string) error {
	refuse := func(kind fault.Kind, why string, args ...any) error {
		return fault.New(kind, "take address %s in subnet %s: %s", text, subnet.Name, fmt.Sprintf(why, args...))
	}
	a, err := netip.ParseAddr(text)
	switch {
	case err != nil || !a.Is4():
		return refuse(fault.Invalid, "it is no IPv4 address")
	case !p.Contains(a):
		return refuse(fault.Invalid, "it is outside of %s", p)
	case a == p.Masked().Addr():
		return refuse(fault.Invalid, "it is the address of the range itself")
	case a == broadcast(p):
		return refuse(fault.Invalid, "it is the broadcast address")
	case text == subnet.Spec.Gateway:
		return refuse(fault.Exists, "it is the gateway's")
	case text == subnet.Spec.Service:
		return refuse(fault.Exists, "it is that of DNS and metadata")
	}
	if who := taken(a.String()); who != "" {
		return refuse(fault.Exists, "port %s has it", who)
	}
	return nil
}

func chooseMAC(wanted *Port, taken func(string) string) (string, error) {
	if wanted.Spec.MAC != "" {
		if who := taken(wanted.Spec.MAC); who != "" {
			return "", fault.New(fault.Exists, "take MAC %s: port %s has it", wanted.Spec.MAC, who)
		}
		return wanted.Spec.MAC, nil
	}
	for try := 0; ; try++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", wanted.ID, try))
		mac := fmt.Sprintf("52:54:00:%02x:%02x:%02x", sum[0], sum[1], sum[2])
		if taken(mac) == "" {
			return mac, nil
		}
	}
}

// chooseOutside gives the lowest free outside address.
func chooseOutside(s *store.Snapshot) (string, error) {
	p := netip.MustParsePrefix(OutsideRange)
	for a := p.Addr().Next(); a != broadcast(p); a = a.Next() {
		if address := a.String(); address != OutsideGateway && s.TakenBy(outside(address)) == nil {
			return address, nil
		}
	}
	return "", fault.New(fault.Exhausted, "give a network an outside address: all %d of %s are in use", capacity(p)+1, OutsideRange)
}

// capacity is how many VMs fit into a range.
func capacity(p netip.Prefix) int64 { return 1<<(32-p.Bits()) - 4 } // itself, broadcast, gateway, service

func broadcast(p netip.Prefix) netip.Addr {
	raw := p.Masked().Addr().As4()
	binary.BigEndian.PutUint32(raw[:], binary.BigEndian.Uint32(raw[:])|(1<<(32-p.Bits())-1))
	return netip.AddrFrom4(raw)
}

// ServiceMAC is the hardware address of a network's service port, the same on every host.
func ServiceMAC(networkID resource.ID) string { return DerivedMAC("service/" + string(networkID)) }

// DerivedMAC makes a locally administered address, never one of a VM's (52:54:00), of a text.
func DerivedMAC(text string) string {
	sum := sha256.Sum256([]byte(text))
	return fmt.Sprintf("02:76:%02x:%02x:%02x:%02x", sum[0], sum[1], sum[2], sum[3])
}

// ServicePortID names the service port of a network.
func ServicePortID(networkID resource.ID) resource.ID {
	return resource.ID(uuid.NewSHA1(uuid.NameSpaceOID, []byte("virga/service/"+networkID)).String())
}
