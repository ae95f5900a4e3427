package dns

import (
	"net/netip"
	"strings"

	"github.com/miekg/dns"

	"github.com/virga-cloud/virga/network"
)

// answer answers from the zone; known is false for what others have to be asked.
func answer(z *network.Zone, q *dns.Msg) (reply *dns.Msg, known bool) {
	reply = new(dns.Msg)
	reply.SetReply(q)
	reply.RecursionAvailable = true
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		return reply.SetRcode(q, dns.RcodeNotImplemented), true
	}
	question := q.Question[0]
	name := strings.ToLower(dns.Fqdn(question.Name))
	reply.Authoritative = true
	if question.Qclass == dns.ClassINET && strings.HasSuffix(name, ".in-addr.arpa.") {
		return reverse(z, reply, question, name)
	}
	host, ours := strings.CutSuffix(name, "."+dns.Fqdn(z.Spec.Domain))
	switch {
	case name == dns.Fqdn(z.Spec.Domain):
		if question.Qtype == dns.TypeSOA {
			reply.Answer = append(reply.Answer, soa(z))
		} else {
			reply.Ns = append(reply.Ns, soa(z))
		}
		return reply, true
	case !ours && strings.Count(name, ".") == 1 && z.Spec.Names[strings.TrimSuffix(name, ".")] != "":
		host = strings.TrimSuffix(name, ".") // without a search list a machine may ask so
	case !ours:
		return reply, false
	}
	address, there := z.Spec.Names[host]
	if !there {
		reply.Rcode = dns.RcodeNameError
		reply.Ns = append(reply.Ns, soa(z))
		return reply, true
	}
	a, err := netip.ParseAddr(address)
	if err == nil && (question.Qtype == dns.TypeA || question.Qtype == dns.TypeANY) {
		reply.Answer = append(reply.Answer, &dns.A{Hdr: header(question.Name, dns.TypeA), A: a.AsSlice()})
	} else {
		reply.Ns = append(reply.Ns, soa(z)) // the name is there, but has nothing of this type
	}
	return reply, true
}

func reverse(z *network.Zone, reply *dns.Msg, question dns.Question, name string) (*dns.Msg, bool) {
	labels := strings.Split(strings.TrimSuffix(name, ".in-addr.arpa."), ".")
	if len(labels) != 4 {
		return reply, false
	}
	a, err := netip.ParseAddr(labels[3] + "." + labels[2] + "." + labels[1] + "." + labels[0])
	if err != nil {
		return reply, false
	}
	inside := false
	for _, service := range z.Spec.Services {
		p, err := netip.ParsePrefix(service)
		inside = inside || err == nil && p.Masked().Contains(a)
	}
	if !inside {
		return reply, false
	}
	best := ""
	for host, address := range z.Spec.Names {
		if address == a.String() && (best == "" || host < best) {
			best = host
		}
	}
	if best == "" {
		reply.Rcode = dns.RcodeNameError
	} else if question.Qtype == dns.TypePTR || question.Qtype == dns.TypeANY {
		reply.Answer = append(reply.Answer, &dns.PTR{Hdr: header(question.Name, dns.TypePTR), Ptr: best + "." + dns.Fqdn(z.Spec.Domain)})
	}
	return reply, true
}

func header(name string, kind uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: kind, Class: dns.ClassINET, Ttl: ownTTL}
}

func soa(z *network.Zone) dns.RR {
	domain := dns.Fqdn(z.Spec.Domain)
	return &dns.SOA{Hdr: header(domain, dns.TypeSOA), Ns: "dns." + domain, Mbox: "hostmaster." + domain,
		Serial: uint32(z.Generation), Refresh: 60, Retry: 30, Expire: 600, Minttl: 5}
}
