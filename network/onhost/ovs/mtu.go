package ovs

import (
	"net"

	"github.com/vishvananda/netlink"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/network"
)

// overhead is what Geneve and its outer headers take of a packet, in bytes.
const overhead = 58

// outsideMTU is the largest packet that goes from the outside into the virtual networks: what a
// network has unless somebody chose otherwise, or less where the tunnels carry less. The host's own
// stack, which routes between the uplink and br-ex, then cuts what is larger, or tells its sender
// by ICMP (RFC 1191): a router of the virtual network would drop it without a word.
func outsideMTU(underlay int) int {
	return max(576, min(network.DefaultMTU, underlay-overhead))
}

// underlayMTU is that of the device with the tunnels' address.
func (s *Switch) underlayMTU() (int, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return 0, fault.New(fault.Unavailable, "look for the device of %s: %w", s.config.TunnelAddress, err)
	}
	wanted := net.ParseIP(s.config.TunnelAddress)
	for _, link := range links {
		addresses, err := netlink.AddrList(link, netlink.FAMILY_ALL)
		if err != nil {
			return 0, fault.New(fault.Unavailable, "read the addresses of %s: %w", link.Attrs().Name, err)
		}
		for _, a := range addresses {
			if a.IP.Equal(wanted) {
				return link.Attrs().MTU, nil
			}
		}
	}
	return network.DefaultMTU + overhead, nil // it has no address yet; nothing goes through tunnels either
}

// tapMTU lets through what may come from the outside: a network with smaller packets is one whose
// VMs send smaller ones. They take larger ones all the same.
func (s *Switch) tapMTU(wanted int) int {
	if wanted <= 0 {
		return 0
	}
	return max(wanted, int(s.fromOutside.Load()))
}
