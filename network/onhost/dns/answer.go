package dns

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"
)

// answer answers what is decided here; nil: the world is to be asked. Chosen says that the subnet
// has resolvers of its own, which may know private names too.
func (n *names) answer(q *dns.Msg, chosen bool) *dns.Msg {
	if refused := refuse(q); refused != nil {
		return refused
	}
	question := q.Question[0]
	r := &reply{names: n, question: question, msg: new(dns.Msg).SetReply(q)}
	r.msg.Authoritative, r.msg.RecursionAvailable = true, true
	name := strings.ToLower(question.Name)
	host, below := strings.CutSuffix(name, "."+n.domain)
	switch {
	case name == n.domain:
		if question.Qtype == dns.TypeSOA || question.Qtype == dns.TypeANY {
			r.add(r.soa(n.domain))
		}
		return r.done(n.domain)
	case below:
		return r.host(host, n.domain)
	case dns.IsSubDomain("localhost.", name):
		return r.localhost()
	case dns.IsSubDomain("invalid.", name), dns.IsSubDomain("onion.", name): // RFC 6761, RFC 7686
		return r.absent(name[strings.LastIndexByte(name[:len(name)-1], '.')+1:])
	case dns.IsSubDomain("ip6.arpa.", name) && !chosen:
		if zone := local6(name); zone != "" {
			return r.absent(zone)
		}
	case dns.IsSubDomain("in-addr.arpa.", name):
		return r.reverse(name, chosen)
	case dns.CountLabel(name) == 1 && isAddress(question.Qtype):
		// Without a search list a VM may ask for a bare name. The world has no addresses at its top.
		return r.host(strings.TrimSuffix(name, "."), ".")
	}
	return nil
}

func isAddress(kind uint16) bool { return kind == dns.TypeA || kind == dns.TypeAAAA }

// refuse judges the form of a question.
func refuse(q *dns.Msg) *dns.Msg {
	opts := 0
	for _, rr := range q.Extra {
		if rr.Header().Rrtype == dns.TypeOPT {
			opts++
		}
	}
	switch {
	case q.Opcode != dns.OpcodeQuery:
		return new(dns.Msg).SetRcode(q, dns.RcodeNotImplemented)
	case len(q.Question) != 1 || opts > 1:
		return new(dns.Msg).SetRcode(q, dns.RcodeFormatError)
	case opts == 1 && q.IsEdns0().Version() != 0: // RFC 6891, 6.1.3
		return new(dns.Msg).SetRcode(q, dns.RcodeBadVers)
	case q.Question[0].Qclass != dns.ClassINET: // CHAOS asks who answers: not the guests' business
		return new(dns.Msg).SetRcode(q, dns.RcodeRefused)
	}
	switch q.Question[0].Qtype {
	case dns.TypeAXFR, dns.TypeIXFR, dns.TypeMAILA, dns.TypeMAILB:
		return new(dns.Msg).SetRcode(q, dns.RcodeRefused)
	}
	return nil
}

// reply is an answer in the making.
type reply struct {
	names    *names
	question dns.Question
	msg      *dns.Msg
}

func (r *reply) add(rr dns.RR) { r.msg.Answer = append(r.msg.Answer, rr) }

// done is the answer; with nothing in it, it says for how long that holds (RFC 2308).
func (r *reply) done(zone string) *dns.Msg {
	if len(r.msg.Answer) == 0 {
		r.msg.Ns = append(r.msg.Ns, r.soa(zone))
	}
	return r.msg
}

func (r *reply) absent(zone string) *dns.Msg {
	r.msg.Rcode = dns.RcodeNameError
	return r.done(zone)
}

// host answers for a port's name, out of a DNS zone that holds the question's name.
func (r *reply) host(name, zone string) *dns.Msg {
	a, there := r.names.forward[name]
	if !there {
		return r.absent(zone)
	}
	r.address(a)
	return r.done(zone)
}

func (r *reply) address(a netip.Addr) {
	any := r.question.Qtype == dns.TypeANY
	switch {
	case a.Is4() && (any || r.question.Qtype == dns.TypeA):
		r.add(&dns.A{Hdr: r.header(r.question.Name, dns.TypeA), A: a.AsSlice()})
	case a.Is6() && (any || r.question.Qtype == dns.TypeAAAA):
		r.add(&dns.AAAA{Hdr: r.header(r.question.Name, dns.TypeAAAA), AAAA: a.AsSlice()})
	}
}

// localhost is answered here and never asked of others (RFC 6761, 6.3).
func (r *reply) localhost() *dns.Msg {
	r.address(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	r.address(netip.IPv6Loopback())
	return r.done("localhost.")
}

func (r *reply) header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ownTTL}
}

func (r *reply) soa(zone string) dns.RR {
	return &dns.SOA{Hdr: r.header(zone, dns.TypeSOA), Ns: "dns." + r.names.domain, Mbox: "hostmaster." + r.names.domain,
		Serial: r.names.serial, Refresh: 60, Retry: 30, Expire: 600, Minttl: 5}
}
