package network

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

// DefaultMTU leaves space for the overlay's 58 bytes in a packet of 1500.
const DefaultMTU = 1442

// The limits of a port's limits, in kbit/s. Below the least a guest does not get through its own start.
const (
	MinKbps = 64
	MaxKbps = 1_000_000_000
)

// MetadataAddress is where every VM asks for what it is.
const MetadataAddress = "169.254.169.254"

var (
	label  = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)
	domain = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$`)
	// Guests answer these by themselves, or ask for addresses below them (RFC 6761, RFC 7686).
	reserved = regexp.MustCompile(`^(|.*\.)(localhost|invalid|onion|in-addr\.arpa|ip6\.arpa)$`)
)

// Default fills in what was left out of a network.
func (s *Spec) Default() {
	if s.MTU == 0 {
		s.MTU = DefaultMTU
	}
	if s.Outside == "" {
		s.Outside = NAT
	}
	if s.Domain == "" {
		s.Domain = "internal"
	}
}

// Check lists what is wrong with a network.
func (s *Spec) Check() []fault.Detail {
	var out []fault.Detail
	if s.MTU < 576 || s.MTU > 8942 {
		out = append(out, fault.Detail{Field: "spec.mtu", Message: fmt.Sprintf("%d is not between 576 and 8942 bytes", s.MTU)})
	}
	if s.Outside != NAT && s.Outside != Nowhere {
		out = append(out, fault.Detail{Field: "spec.outside", Message: fmt.Sprintf("%q is neither nat nor none", s.Outside)})
	}
	if len(s.Domain) > 200 || !domain.MatchString(s.Domain) {
		out = append(out, fault.Detail{Field: "spec.domain", Message: fmt.Sprintf("%q is no DNS domain in lower case", s.Domain)})
	} else if reserved.MatchString(s.Domain) {
		out = append(out, fault.Detail{Field: "spec.domain", Message: fmt.Sprintf("%s has a meaning of its own in DNS; take another, for example internal", s.Domain)})
	}
	return out
}

// Default fills in what was left out of a subnet: the first address for the gateway, the second
// for the service, or the first where the gateway has the second.
func (s *SubnetSpec) Default() {
	p, err := netip.ParsePrefix(s.CIDR)
	if err != nil || !p.Addr().Is4() {
		return
	}
	p = p.Masked()
	s.CIDR = p.String()
	if s.Gateway == "" {
		s.Gateway = p.Addr().Next().String()
	}
	if s.Service == "" {
		first := p.Addr().Next()
		s.Service = first.Next().String()
		if s.Service == s.Gateway {
			s.Service = first.String()
		}
	}
}

// Check lists what is wrong with a subnet by itself.
func (s *SubnetSpec) Check() []fault.Detail {
	p, err := netip.ParsePrefix(s.CIDR)
	if err != nil || !p.Addr().Is4() {
		return []fault.Detail{{Field: "spec.cidr", Message: fmt.Sprintf("%q is no IPv4 range like 10.0.0.0/24", s.CIDR)}}
	}
	var out []fault.Detail
	if p.Bits() < 8 || p.Bits() > 29 {
		out = append(out, fault.Detail{Field: "spec.cidr", Message: fmt.Sprintf("a subnet has between 8 and 29 bits, not %d", p.Bits())})
	}
	for _, forbidden := range []string{"127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "0.0.0.0/8", OutsideRange} {
		if p.Overlaps(netip.MustParsePrefix(forbidden)) {
			out = append(out, fault.Detail{Field: "spec.cidr", Message: fmt.Sprintf("%s overlaps %s, which is not for VMs", p, forbidden)})
		}
	}
	for field, text := range map[string]string{"spec.gateway": s.Gateway, "spec.service": s.Service} {
		if a, err := netip.ParseAddr(text); err != nil || !p.Contains(a) || a == p.Masked().Addr() || a == broadcast(p) {
			out = append(out, fault.Detail{Field: field, Message: fmt.Sprintf("%q is no address of a VM in %s", text, p)})
		}
	}
	if s.Gateway == s.Service {
		out = append(out, fault.Detail{Field: "spec.service", Message: "is the gateway's address already"})
	}
	for i, text := range s.DNS {
		field := fmt.Sprintf("spec.dns[%d]", i)
		switch a, err := netip.ParseAddr(text); {
		case err != nil || a.Zone() != "":
			out = append(out, fault.Detail{Field: field, Message: fmt.Sprintf("%q is no IP address", text)})
		case a.IsUnspecified() || a.IsMulticast() || a.Unmap() == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
			out = append(out, fault.Detail{Field: field, Message: fmt.Sprintf("%s is no address of a resolver", a)})
		case text == s.Service:
			out = append(out, fault.Detail{Field: field, Message: fmt.Sprintf("%s is the subnet's own resolver, which would ask itself", a)})
		case slices.Contains(s.DNS[:i], text):
			out = append(out, fault.Detail{Field: field, Message: fmt.Sprintf("%s is named twice", a)})
		}
	}
	return out
}

// checkResolvers keeps tenants from naming a resolver that only the hosts themselves reach: hosts ask
// in their own name. Who runs the cloud may.
func checkResolvers(doing string, s *SubnetSpec, mayAll bool) error {
	for i, text := range s.DNS {
		a, err := netip.ParseAddr(text)
		if a = a.Unmap(); err == nil && !mayAll && (a.IsLoopback() || a.IsLinkLocalUnicast() || netip.MustParsePrefix(OutsideRange).Contains(a)) {
			return fault.Fields(doing, []fault.Detail{{Field: fmt.Sprintf("spec.dns[%d]", i),
				Message: fmt.Sprintf("%s is an address of the hosts themselves; name a resolver that others reach, or ask an administrator of the cloud to set this one", a)}})
		}
	}
	return nil
}

// CheckSubnet says whether a subnet fits beside the others of its network.
func CheckSubnet(s *store.Snapshot, subnet *Subnet) error {
	n := store.Find(s, Networks, subnet.Spec.NetworkID)
	if n == nil || n.Project != subnet.Project {
		return fault.New(fault.NotFound, "create subnet %s: there is no network %q in project %q", subnet.Name, subnet.Spec.NetworkID, s.NameOf(subnet.Project))
	}
	if n.Deleting != nil {
		return fault.New(fault.Precondition, "create subnet %s: network %s is being deleted", subnet.Name, n.Name)
	}
	mine, err := netip.ParsePrefix(subnet.Spec.CIDR)
	if err != nil {
		return fault.New(fault.Invalid, "create subnet %s: %w", subnet.Name, err)
	}
	for _, other := range store.Referring(s, Subnets, n.ID) {
		if p, err := netip.ParsePrefix(other.Spec.CIDR); err == nil && other.ID != subnet.ID && p.Overlaps(mine) {
			return fault.New(fault.Exists, "create subnet %s: %s overlaps %s of subnet %s in network %s", subnet.Name, mine, p, other.Name, n.Name)
		}
	}
	return nil
}

// Default writes the hardware address in the usual way.
func (s *PortSpec) Default() {
	if mac, why := ReadMAC(s.MAC); why == "" {
		s.MAC = mac
	}
}

// Check lists what is wrong with a port by itself.
func (s *PortSpec) Check() []fault.Detail {
	var out []fault.Detail
	if _, why := ReadMAC(s.MAC); s.MAC != "" && why != "" {
		out = append(out, fault.Detail{Field: "spec.mac", Message: why})
	}
	if a, err := netip.ParseAddr(s.Address); s.Address != "" && (err != nil || !a.Is4()) {
		out = append(out, fault.Detail{Field: "spec.address", Message: fmt.Sprintf("%q is no IPv4 address", s.Address)})
	}
	if s.Hostname != "" && !label.MatchString(s.Hostname) {
		out = append(out, fault.Detail{Field: "spec.hostname", Message: fmt.Sprintf("%q is no host name: lower case letters, digits and dashes", s.Hostname)})
	}
	for field, kbps := range map[string]int64{"spec.sendKbps": s.SendKbps, "spec.receiveKbps": s.ReceiveKbps} {
		if kbps != 0 && (kbps < MinKbps || kbps > MaxKbps) {
			out = append(out, fault.Detail{Field: field, Message: fmt.Sprintf("%d kbit/s is not between %d and %d; 0 is no limit", kbps, MinKbps, MaxKbps)})
		}
	}
	return out
}
