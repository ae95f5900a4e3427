package image

import (
	"net"
	"net/netip"

	"github.com/virga-cloud/virga/engine/fault"
)

// Reach is what the URL of an image may reach from a server. It is asked about the address that is
// about to be called, after names were resolved and at each redirect: what a name means may change
// between two questions.
type Reach struct {
	// Own lists the addresses of the cloud itself: of its hosts, and of this server; nil: none.
	Own func() []netip.Addr
	// Allow are the networks that an operator opens for everybody.
	Allow []netip.Prefix
}

// special are networks in which no image lies, whoever asks: they mean this server, its links, its
// metadata service, or nothing.
var special = prefixes("0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "224.0.0.0/4", "240.0.0.0/4", "::/96", "100::/64", "fe80::/10", "fec0::/10", "fd00:ec2::/32", "ff00::/8", "64:ff9b:1::/48")

// private are networks in which servers are managed, or which are no part of the internet.
var private = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "198.18.0.0/15", "192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24",
	"fc00::/7", "2001::/32", "2001:db8::/32")

// carriers are networks of IPv6 that carry an address of IPv4, and where in it that lies.
var carriers = []struct {
	in netip.Prefix
	at int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12}, // NAT64
	{netip.MustParsePrefix("2002::/16"), 2},     // 6to4
}

func prefixes(texts ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(texts))
	for i, t := range texts {
		out[i] = netip.MustParsePrefix(t)
	}
	return out
}

func within(a netip.Addr, networks []netip.Prefix) bool {
	for _, n := range networks {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// Judge refuses an address that may not be called. Inside says that an operator of the cloud asks,
// who may fetch from private networks and from the cloud's own hosts.
func (r Reach) Judge(a netip.Addr, inside bool) error {
	a = plainAddress(a)
	if within(a, r.Allow) {
		return nil
	}
	var own []netip.Addr
	if r.Own != nil {
		own = r.Own()
	}
	what := ""
	switch {
	case !a.IsValid() || within(a, special):
		what = "it is this server's own, or no place of the internet"
	case inside:
		return nil
	case within(a, private):
		what = "it is private"
	default:
		for _, o := range own {
			if plainAddress(o) == a {
				what = "it is the cloud's own"
			}
		}
	}
	if what == "" {
		return nil
	}
	return fault.New(fault.Denied, "address %s may not be called from this server: %s; an operator can allow it (virga up --image-sources)", a, what)
}

// plainAddress is what an address means in the end: without its zone, and as IPv4 where it carries one.
func plainAddress(a netip.Addr) netip.Addr {
	a = a.WithZone("").Unmap()
	for _, c := range carriers {
		if c.in.Contains(a) {
			whole := a.As16()
			return netip.AddrFrom4([4]byte(whole[c.at:]))
		}
	}
	return a
}

// LocalAddresses are those of this host now.
func LocalAddresses() []netip.Addr {
	var out []netip.Addr
	all, _ := net.InterfaceAddrs()
	for _, x := range all {
		if n, ok := x.(*net.IPNet); ok {
			if a, ok := netip.AddrFromSlice(n.IP); ok {
				out = append(out, a)
			}
		}
	}
	return out
}
