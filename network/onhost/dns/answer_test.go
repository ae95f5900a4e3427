package dns

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network"
)

func aZone() *network.DNSZone {
	return &network.DNSZone{Meta: resource.Meta{ID: "zone"}, Spec: network.DNSZoneSpec{Domain: "shop.internal",
		Hosts: []network.DNSZoneHost{{Name: "web", Address: "10.0.0.11"}, {Name: "db", Address: "10.0.0.12"}, {Name: "web", Address: "10.0.32.11"}},
		Subnets: []network.DNSZoneSubnet{
			{Service: "10.0.0.2/24", DNS: []string{"192.0.2.9", "192.0.2.1"}}, {Service: "10.0.32.2/20"},
		}}}
}

// what an answer says: the data of its records, "nodata" or the name of the error; "ask" for the world.
func said(m *dns.Msg) string {
	switch {
	case m == nil:
		return "ask"
	case m.Rcode != dns.RcodeSuccess:
		return dns.RcodeToString[m.Rcode]
	case len(m.Answer) == 0:
		return "nodata"
	}
	var out []string
	for _, rr := range m.Answer {
		switch rr := rr.(type) {
		case *dns.A:
			out = append(out, rr.A.String())
		case *dns.AAAA:
			out = append(out, rr.AAAA.String())
		case *dns.PTR:
			out = append(out, rr.Ptr)
		case *dns.SOA:
			out = append(out, "soa")
		}
	}
	return strings.Join(out, " ")
}

func TestAnswerIsDecidedHereOrAskedOfTheWorld(t *testing.T) {
	n := newNames(aZone())
	for _, c := range []struct {
		name string
		kind uint16
		want string
		zone string // whose SOA says how long a "no" holds
	}{
		{"web.shop.internal.", dns.TypeA, "10.0.0.11", ""}, // the older port of two
		{"WEB.Shop.Internal.", dns.TypeA, "10.0.0.11", ""},
		{"web.", dns.TypeA, "10.0.0.11", ""},
		{"web.", dns.TypeAAAA, "nodata", "."},
		{"nosuch.", dns.TypeA, "NXDOMAIN", "."},
		{"org.", dns.TypeNS, "ask", ""},
		{".", dns.TypeNS, "ask", ""},
		{"web.shop.internal.", dns.TypeANY, "10.0.0.11", ""},
		{"web.shop.internal.", dns.TypeAAAA, "nodata", "shop.internal."},
		{"web.shop.internal.", dns.TypeMX, "nodata", "shop.internal."},
		{"mail.shop.internal.", dns.TypeA, "NXDOMAIN", "shop.internal."},
		{"_dns-sd._udp.shop.internal.", dns.TypePTR, "NXDOMAIN", "shop.internal."},
		{"shop.internal.", dns.TypeA, "nodata", "shop.internal."},
		{"shop.internal.", dns.TypeSOA, "soa", ""},
		{"internal.", dns.TypeNS, "ask", ""},
		{"example.org.", dns.TypeA, "ask", ""},
		{"webshop.internal.", dns.TypeA, "ask", ""},
		{"12.0.0.10.in-addr.arpa.", dns.TypePTR, "db.shop.internal.", ""},
		{"11.32.0.10.in-addr.arpa.", dns.TypePTR, "web.shop.internal.", ""}, // its second address too
		{"12.0.0.10.in-addr.arpa.", dns.TypeA, "nodata", "0.0.10.in-addr.arpa."},
		{"99.0.0.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN", "0.0.10.in-addr.arpa."},
		{"9.40.0.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN", "40.0.10.in-addr.arpa."},
		{"x.12.0.0.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN", "0.0.10.in-addr.arpa."},
		{"0.0.10.in-addr.arpa.", dns.TypeNS, "nodata", "0.0.10.in-addr.arpa."},
		{"10.in-addr.arpa.", dns.TypeSOA, "nodata", "10.in-addr.arpa."},
		{"9.0.9.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN", "10.in-addr.arpa."},
		{"9.1.168.192.in-addr.arpa.", dns.TypePTR, "NXDOMAIN", "168.192.in-addr.arpa."},
		{"8.8.8.8.in-addr.arpa.", dns.TypePTR, "ask", ""},
		{"192.in-addr.arpa.", dns.TypeNS, "ask", ""},
		{"in-addr.arpa.", dns.TypeNS, "ask", ""},
		{"300.0.0.10.in-addr.arpa.", dns.TypePTR, "NXDOMAIN", "0.0.10.in-addr.arpa."},
		{"1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.", dns.TypePTR, "NXDOMAIN", "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa."},
		{"2.1.d.f.ip6.arpa.", dns.TypePTR, "NXDOMAIN", "d.f.ip6.arpa."},
		{"8.8.0.0.2.ip6.arpa.", dns.TypePTR, "ask", ""},
		{"localhost.", dns.TypeA, "127.0.0.1", ""},
		{"x.localhost.", dns.TypeAAAA, "::1", ""},
		{"localhost.", dns.TypeMX, "nodata", "localhost."},
		{"a.invalid.", dns.TypeA, "NXDOMAIN", "invalid."},
		{"a.onion.", dns.TypeA, "NXDOMAIN", "onion."},
	} {
		reply := n.answer(new(dns.Msg).SetQuestion(c.name, c.kind), false)
		zone := ""
		if reply != nil && len(reply.Ns) == 1 {
			zone = reply.Ns[0].Header().Name
		}
		if got := said(reply); got != c.want || zone != c.zone {
			t.Errorf("%s %s: %s, SOA of %q; want %s, %q", c.name, dns.TypeToString[c.kind], got, zone, c.want, c.zone)
		}
		if reply != nil && (reply.Question[0].Name != c.name || !reply.Response || !reply.RecursionAvailable) {
			t.Errorf("%s: the answer is %v", c.name, reply)
		}
	}
}

func TestPrivateReverseNamesAreAskedOfResolversThatSomebodyChose(t *testing.T) {
	n := newNames(aZone())
	for name, want := range map[string]string{
		"9.1.168.192.in-addr.arpa.": "ask",
		"2.1.d.f.ip6.arpa.":         "ask",
		"99.0.0.10.in-addr.arpa.":   "NXDOMAIN", // our own range: nobody else knows it
	} {
		if got := said(n.answer(new(dns.Msg).SetQuestion(name, dns.TypePTR), true)); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
}

func TestQuestionsOfAnotherFormAreRefusedAndNotPassedOn(t *testing.T) {
	n := newNames(aZone())
	plain := func() *dns.Msg { return new(dns.Msg).SetQuestion("example.org.", dns.TypeA) }
	for want, q := range map[string]func(*dns.Msg){
		"NOTIMP":  func(m *dns.Msg) { m.Opcode = dns.OpcodeUpdate },
		"FORMERR": func(m *dns.Msg) { m.Question = append(m.Question, m.Question[0]) },
		"BADVERS": func(m *dns.Msg) { m.SetEdns0(1232, false); m.IsEdns0().SetVersion(1) },
		"REFUSED": func(m *dns.Msg) {
			m.Question[0] = dns.Question{Name: "version.bind.", Qtype: dns.TypeTXT, Qclass: dns.ClassCHAOS}
		},
	} {
		m := plain()
		q(m)
		if got := dns.RcodeToString[n.answer(m, false).Rcode]; got != want && !(want == "BADVERS" && got == "BADSIG") {
			t.Errorf("%s, want %s", got, want)
		}
	}
	transfer := plain()
	transfer.Question[0].Qtype = dns.TypeAXFR
	if got := said(n.answer(transfer, false)); got != "REFUSED" {
		t.Errorf("a DNS zone transfer: %s", got)
	}
	twice := plain()
	twice.SetEdns0(1232, false)
	twice.Extra = append(twice.Extra, twice.Extra[0])
	if got := said(n.answer(twice, false)); got != "FORMERR" {
		t.Errorf("two OPT records: %s", got)
	}
}

func TestResolversAreThoseOfTheSubnetInTheirOrder(t *testing.T) {
	n := newNames(aZone())
	for from, want := range map[string]string{"10.0.0.50": "192.0.2.9 192.0.2.1", "10.0.32.50": "", "203.0.113.1": ""} {
		if got := strings.Join(n.resolvers(netip.MustParseAddr(from)), " "); got != want {
			t.Errorf("%s asks %q, want %q", from, got, want)
		}
	}
}
