package dns

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/virga-cloud/virga/network"
)

// names is one network's DNS zone, ready to be asked.
type names struct {
	domain  string // "internal.", lower case
	serial  uint32
	forward map[string]netip.Addr // host name without the domain -> address
	reverse map[netip.Addr]string
	subnets []subnet
}

type subnet struct {
	prefix    netip.Prefix
	resolvers []string // of its VMs' questions about the world, the preferred one first
}

func newNames(z *network.DNSZone) *names {
	n := &names{
		domain: strings.ToLower(dns.Fqdn(z.Spec.Domain)), serial: uint32(z.Generation),
		forward: map[string]netip.Addr{}, reverse: map[netip.Addr]string{},
	}
	for _, h := range z.Spec.Hosts {
		a, err := netip.ParseAddr(h.Address)
		if err != nil {
			continue
		}
		name := strings.ToLower(h.Name)
		if _, older := n.forward[name]; !older {
			n.forward[name] = a
		}
		if _, older := n.reverse[a]; !older {
			n.reverse[a] = name
		}
	}
	for _, s := range z.Spec.Subnets {
		if p, err := netip.ParsePrefix(s.Service); err == nil {
			n.subnets = append(n.subnets, subnet{p.Masked(), s.DNS})
		}
	}
	return n
}

// resolvers are those of the subnet that a question comes from.
func (n *names) resolvers(from netip.Addr) []string {
	for _, s := range n.subnets {
		if s.prefix.Contains(from) {
			return s.resolvers
		}
	}
	return nil
}
