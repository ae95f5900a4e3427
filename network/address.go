package network

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"net/netip"

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

// drawnFrom is how many of the lowest free addresses a port's is drawn from. Addresses stay low and
// easy to read, and many ports that are made at the same moment seldom draw the same.
const drawnFrom = 64

// Allocate gives a new port its addresses, in its status: those that its spec asks for, of the subnet that it
// names, or else of the first with free addresses. Beside are ports of the same commit, which the snapshot
// does not show yet.
func Allocate(s *store.Snapshot, p *Port, beside ...*Port) error {
	n := store.Find(s, Networks, p.Spec.NetworkID)
	if n == nil || n.Project != p.Project {
		return fault.New(fault.NotFound, "there is no network %q in project %s; see virga network list", p.Spec.NetworkID, p.Project)
	}
	err := error(fault.New(fault.Precondition, "network %s has no subnet; make one: virga subnet create NAME --network %s --cidr 10.1.0.0/24", n.Name, n.Name))
	if p.Spec.SubnetID != "" {
		err = fault.New(fault.NotFound, "network %s has no subnet %q", n.Name, p.Spec.SubnetID)
	}
	for _, subnet := range store.Referring(s, Subnets, n.ID) {
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

// choose chooses the addresses of a port: what is requested if it is free, or else one of the
// lowest free addresses and a MAC, both made of the port's id. The commit that creates the port takes
// them; two at once that draw the same are told fault.Exists and draw again with a new id.
func choose(s *store.Snapshot, n *Network, subnet *Subnet, wanted *Port, beside []*Port) (mac, address string, err error) {
	if n.Deleting != nil || subnet.Deleting != nil {
		return "", "", fault.New(fault.Precondition, "take an address in network %s: it is being deleted", n.Name)
	}
	p, err := netip.ParsePrefix(subnet.Spec.CIDR)
	if err != nil {
		return "", "", fault.New(fault.Internal, "take an address in subnet %s: %w", subnet.Name, err)
	}
	macs, addresses := map[string]string{}, map[string]string{}
	for _, port := range append(store.Referring(s, Ports, n.ID), beside...) {
		if port.Spec.NetworkID == n.ID {
			macs[port.Status.MAC], addresses[port.Status.Address] = port.Name, port.Name
		}
	}
	if mac, err = chooseMAC(wanted, macs); err != nil {
		return "", "", err
	}
	if wanted.Spec.Address != "" {
		return mac, wanted.Spec.Address, checkAddress(subnet, p, wanted.Spec.Address, addresses)
	}
	var free []string
	for a := p.Masked().Addr().Next(); p.Contains(a) && len(free) < drawnFrom; a = a.Next() {
		if checkAddress(subnet, p, a.String(), addresses) == nil {
			free = append(free, a.String())
		}
	}
	if len(free) > 0 {
		sum := sha256.Sum256([]byte(wanted.ID))
		return mac, free[int(sum[31])%len(free)], nil
	}
	return "", "", fault.New(fault.Exhausted, "take an address in subnet %s (%s): all %d addresses for VMs are in use; add a subnet to network %s",
		subnet.Name, subnet.Spec.CIDR, capacity(p), n.Name)
}

func checkAddress(subnet *Subnet, p netip.Prefix, text string, taken map[string]string) error {
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
	case taken[text] != "":
		return refuse(fault.Exists, "port %s has it", taken[text])
	}
	return nil
}

func chooseMAC(wanted *Port, taken map[string]string) (string, error) {
	if wanted.Spec.MAC != "" {
		if who := taken[wanted.Spec.MAC]; who != "" {
			return "", fault.New(fault.Exists, "take MAC %s: port %s has it", wanted.Spec.MAC, who)
		}
		return wanted.Spec.MAC, nil
	}
	for try := 0; ; try++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", wanted.ID, try))
		mac := fmt.Sprintf("52:54:00:%02x:%02x:%02x", sum[0], sum[1], sum[2])
		if taken[mac] == "" {
			return mac, nil
		}
	}
}

// chooseOutside gives the lowest free outside address.
func chooseOutside(s *store.Snapshot) (string, error) {
	taken := map[string]bool{OutsideGateway: true}
	for _, n := range store.Every(s, Networks) {
		taken[n.Status.OutsideAddress] = true
	}
	p := netip.MustParsePrefix(OutsideRange)
	for a := p.Addr().Next(); a != broadcast(p); a = a.Next() {
		if !taken[a.String()] {
			return a.String(), nil
		}
	}
	return "", fault.New(fault.Exhausted, "give a network an outside address: all %d of %s are in use", len(taken), OutsideRange)
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
