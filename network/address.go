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

// AddressRequest is what is wanted of a port's addresses; empty parts are chosen.
type AddressRequest struct {
	// PortID is the port's id, from which its MAC is made.
	PortID resource.ID
	// MAC and Address are asked for by the user.
	MAC     string
	Address string
	// Beside are ports of the same commit, which the snapshot does not show yet.
	Beside []*Port
}

// drawnFrom is how many of the lowest free addresses a port's is drawn from. Addresses stay low and
// easy to read, and many ports that are made at the same moment seldom draw the same.
const drawnFrom = 64

// AllocatePort chooses the addresses of a port: what is requested if it is free, or else one of the
// lowest free addresses and a MAC, both made of the port's id. The commit that creates the port takes
// them; two at once that draw the same are told fault.Exists and draw again with a new id.
func AllocatePort(s *store.Snapshot, n *Network, subnet *Subnet, request AddressRequest) (mac, address string, err error) {
	if subnet.Spec.NetworkID != n.ID {
		return "", "", fault.New(fault.Invalid, "take an address: subnet %s does not belong to network %s", subnet.Name, n.Name)
	}
	if n.Deleting != nil || subnet.Deleting != nil {
		return "", "", fault.New(fault.Precondition, "take an address in network %s: it is being deleted", n.Name)
	}
	p, err := netip.ParsePrefix(subnet.Spec.CIDR)
	if err != nil {
		return "", "", fault.New(fault.Internal, "take an address in subnet %s: %w", subnet.Name, err)
	}
	macs, addresses := map[string]string{}, map[string]string{}
	for _, port := range append(store.Referring(s, Ports, n.ID), request.Beside...) {
		if port.Spec.NetworkID == n.ID {
			macs[port.Spec.MAC], addresses[port.Spec.Address] = port.Name, port.Name
		}
	}
	if mac, err = chooseMAC(request, macs); err != nil {
		return "", "", err
	}
	if request.Address != "" {
		return mac, request.Address, checkAddress(subnet, p, request.Address, addresses)
	}
	var free []string
	for a := p.Masked().Addr().Next(); p.Contains(a) && len(free) < drawnFrom; a = a.Next() {
		if checkAddress(subnet, p, a.String(), addresses) == nil {
			free = append(free, a.String())
		}
	}
	if len(free) > 0 {
		sum := sha256.Sum256([]byte(request.PortID))
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

func chooseMAC(request AddressRequest, taken map[string]string) (string, error) {
	if request.MAC != "" {
		if who := taken[request.MAC]; who != "" {
			return "", fault.New(fault.Exists, "take MAC %s: port %s has it", request.MAC, who)
		}
		return request.MAC, nil
	}
	for try := 0; ; try++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s/%d", request.PortID, try))
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
