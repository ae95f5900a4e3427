package dns

import (
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	askTimeout = 2 * time.Second  // of one resolver
	askInAll   = 5 * time.Second  // a guest's own resolver asks again after that
	restFor    = 30 * time.Second // a resolver that was silent is asked last for that long
)

// resolver asks resolvers in the order of preference. The next one is asked where one is silent,
// answers something else, or fails (SERVFAIL, REFUSED, NOTIMP, FORMERR): what it knows it may not
// say to us, and the next one may. No such name is an answer.
type resolver struct {
	mu     sync.Mutex
	silent map[string]time.Time // until when a resolver is asked last
}

// ask never returns nil.
func (r *resolver) ask(q *dns.Msg, servers []string) *dns.Msg {
	var failed *dns.Msg
	until := time.Now().Add(askInAll)
	for _, server := range r.order(servers) {
		if time.Until(until) < askTimeout/4 {
			break
		}
		reply, err := exchange(q, server, min(askTimeout, time.Until(until)))
		r.note(server, err != nil)
		if err != nil {
			continue
		}
		switch reply.Rcode {
		case dns.RcodeSuccess, dns.RcodeNameError:
			return given(q, reply)
		}
		if failed == nil {
			failed = given(q, reply)
		}
	}
	if failed != nil {
		return failed
	}
	return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
}

func (r *resolver) order(servers []string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := slices.Clone(servers)
	slices.SortStableFunc(out, func(a, b string) int { return r.rank(a) - r.rank(b) })
	return out
}

func (r *resolver) rank(server string) int {
	if time.Now().Before(r.silent[server]) {
		return 1
	}
	return 0
}

func (r *resolver) note(server string, silent bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.silent, server)
	if silent {
		if r.silent == nil {
			r.silent = map[string]time.Time{}
		}
		r.silent[server] = time.Now().Add(restFor)
	}
}

// exchange asks one resolver: by UDP, and by TCP what does not fit there. One that does not know
// EDNS is asked without it.
func exchange(q *dns.Msg, server string, patience time.Duration) (*dns.Msg, error) {
	ask := new(dns.Msg)
	ask.Id, ask.Question = dns.Id(), slices.Clone(q.Question)
	ask.RecursionDesired, ask.CheckingDisabled, ask.AuthenticatedData = q.RecursionDesired, q.CheckingDisabled, q.AuthenticatedData
	opt := q.IsEdns0()
	ask.SetEdns0(udpCapacity, opt != nil && opt.Do())
	client := &dns.Client{Net: "udp", Timeout: patience, UDPSize: udpCapacity}
	reply, err := send(client, ask, server)
	if err == nil && (reply.Rcode == dns.RcodeFormatError || reply.Rcode == dns.RcodeNotImplemented) && reply.IsEdns0() == nil {
		ask.Extra = nil
		reply, err = send(client, ask, server)
	}
	if err == nil && reply.Truncated {
		client.Net = "tcp"
		if all, failed := send(client, ask, server); failed == nil {
			return all, nil
		}
	}
	return reply, err
}

func send(c *dns.Client, ask *dns.Msg, server string) (*dns.Msg, error) {
	reply, _, err := c.Exchange(ask, server)
	if err != nil {
		return nil, err
	}
	if !reply.Response || len(reply.Question) > 0 && !sameQuestion(reply.Question[0], ask.Question[0]) {
		return nil, dns.ErrId
	}
	return reply, nil
}

func sameQuestion(a, b dns.Question) bool {
	return a.Qtype == b.Qtype && a.Qclass == b.Qclass && strings.EqualFold(a.Name, b.Name)
}

// given makes a resolver's reply an answer to the question: with its number and its letters, and
// without what was agreed between the resolver and us.
func given(q, reply *dns.Msg) *dns.Msg {
	reply.Id, reply.Question = q.Id, q.Question
	reply.Authoritative, reply.RecursionAvailable = false, true
	reply.Extra = slices.DeleteFunc(reply.Extra, func(rr dns.RR) bool { return rr.Header().Rrtype == dns.TypeOPT })
	if reply.Rcode > 0xF && q.IsEdns0() == nil {
		reply.Rcode = dns.RcodeServerFailure
	}
	return reply
}

// hostResolvers are those of the host itself, in its order.
func hostResolvers() []string {
	config, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	var out []string
	for _, s := range config.Servers {
		out = append(out, net.JoinHostPort(s, config.Port))
	}
	return out
}
