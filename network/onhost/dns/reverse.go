package dns

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/miekg/dns"
)

// private are the ranges whose reverse DNS zones the world does not know (RFC 6303, RFC 7793).
var private = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"),
	netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("169.254.0.0/16"),
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("255.255.255.255/32"),
}

// private6 are the same of IPv6: nobody, loopback, link-local, unique local, examples.
var private6 = []string{strings.Repeat("0.", 32) + "ip6.arpa.", "1." + strings.Repeat("0.", 31) + "ip6.arpa.",
	"8.e.f.ip6.arpa.", "9.e.f.ip6.arpa.", "a.e.f.ip6.arpa.", "b.e.f.ip6.arpa.", "c.f.ip6.arpa.", "d.f.ip6.arpa.", "8.b.d.0.1.0.0.2.ip6.arpa."}

// local6 is the private reverse DNS zone that a name lies in; empty: none.
func local6(name string) string {
	for _, zone := range private6 {
		if dns.IsSubDomain(zone, name) {
			return zone
		}
	}
	return ""
}

// reverse answers for the network's own addresses, and for private ones where nobody was named who
// could know them.
func (r *reply) reverse(name string, chosen bool) *dns.Msg {
	asked, whole := reversed(name)
	if !asked.IsValid() {
		return nil
	}
	for _, s := range r.names.subnets {
		switch zone := zoneOf(s.prefix, asked); {
		case !s.prefix.Overlaps(asked):
		case !whole:
			return r.absent(zone)
		case asked.Bits() < 32:
			return r.done(zone) // a part of the tree above our addresses: it is there, and empty
		default:
			return r.pointer(asked.Addr(), zone)
		}
	}
	for _, p := range private {
		if !chosen && p.Contains(asked.Addr()) && asked.Bits() >= p.Bits()/8*8 {
			return r.absent(zoneOf(p, asked))
		}
	}
	return nil
}

func (r *reply) pointer(a netip.Addr, zone string) *dns.Msg {
	host, there := r.names.reverse[a]
	if !there {
		return r.absent(zone)
	}
	if r.question.Qtype == dns.TypePTR || r.question.Qtype == dns.TypeANY {
		r.add(&dns.PTR{Hdr: r.header(r.question.Name, dns.TypePTR), Ptr: host + "." + r.names.domain})
	}
	return r.done(zone)
}

// reversed reads "3.2.1.in-addr.arpa." as 1.2.3.0/24. Whole is false where something stands below a
// full address. A name that is no number at all gives no prefix.
func reversed(name string) (p netip.Prefix, whole bool) {
	labels := dns.SplitDomainName(strings.TrimSuffix(name, "in-addr.arpa."))
	var raw [4]byte
	n := 0
	for ; n < min(len(labels), 4); n++ {
		text := labels[len(labels)-1-n]
		octet, err := strconv.ParseUint(text, 10, 8)
		if err != nil || text != strconv.FormatUint(octet, 10) {
			break
		}
		raw[n] = byte(octet)
	}
	if n == 0 {
		return p, false
	}
	return netip.PrefixFrom(netip.AddrFrom4(raw), 8*n), n == len(labels)
}

// zoneOf names the reverse DNS zone, cut at whole numbers, in which the asked part of a range lies.
func zoneOf(p, asked netip.Prefix) string {
	n := max(1, min(3, (p.Bits()+7)/8, asked.Bits()/8))
	raw := asked.Addr().As4()
	var labels []string
	for i := n - 1; i >= 0; i-- {
		labels = append(labels, strconv.Itoa(int(raw[i])))
	}
	return strings.Join(labels, ".") + ".in-addr.arpa."
}
