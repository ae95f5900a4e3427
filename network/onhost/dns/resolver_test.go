package dns

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// upstream is a resolver of the world on the loopback that says what it is told to say.
type upstream struct {
	address string
	mu      sync.Mutex
	asked   []string // "udp", "udp+edns", "tcp+edns"
}

func (u *upstream) log() string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return strings.Join(u.asked, " ")
}

func newUpstream(t *testing.T, say func(q *dns.Msg, overTCP bool) *dns.Msg) *upstream {
	t.Helper()
	packets, streams := onePort(t)
	u := &upstream{address: packets.LocalAddr().String()}
	for _, s := range []*dns.Server{{PacketConn: packets}, {Listener: streams}} {
		how := "udp"
		if s.Listener != nil {
			how = "tcp"
		}
		s.Handler = dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
			kind := how
			if q.IsEdns0() != nil {
				kind += "+edns"
			}
			u.mu.Lock()
			u.asked = append(u.asked, kind)
			u.mu.Unlock()
			if reply := say(q, how == "tcp"); reply != nil {
				_ = w.WriteMsg(reply)
			}
		})
		up := make(chan struct{})
		s.NotifyStartedFunc = func() { close(up) }
		go func() { _ = s.ActivateAndServe() }()
		<-up
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return u
}

// onePort opens UDP and TCP on one port of the loopback.
func onePort(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for range 20 {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		if streams, err := net.Listen("tcp", packets.LocalAddr().String()); err == nil {
			return packets, streams
		}
		packets.Close() // somebody has the port by TCP
	}
	t.Fatal("no port is free by UDP and by TCP")
	return nil, nil
}

func saying(address string) func(*dns.Msg, bool) *dns.Msg {
	return func(q *dns.Msg, _ bool) *dns.Msg {
		reply := new(dns.Msg).SetReply(q)
		rr, _ := dns.NewRR(strings.ToUpper(q.Question[0].Name) + " 60 IN A " + address)
		reply.Answer = append(reply.Answer, rr)
		return reply
	}
}

func failing(rcode int) func(*dns.Msg, bool) *dns.Msg {
	return func(q *dns.Msg, _ bool) *dns.Msg { return new(dns.Msg).SetRcode(q, rcode) }
}

func silent(*dns.Msg, bool) *dns.Msg { return nil }

func aQuestion() *dns.Msg { return new(dns.Msg).SetQuestion("Example.org.", dns.TypeA) }

func TestResolverAsksInOrderAndGoesOnWhereOneFails(t *testing.T) {
	first, second := newUpstream(t, saying("192.0.2.9")), newUpstream(t, saying("192.0.2.1"))
	for want, say := range map[string]func(*dns.Msg, bool) *dns.Msg{
		"SERVFAIL": failing(dns.RcodeServerFailure), "REFUSED": failing(dns.RcodeRefused), "NOTIMP": failing(dns.RcodeNotImplemented),
		"another question": func(q *dns.Msg, _ bool) *dns.Msg {
			other := new(dns.Msg).SetReply(q)
			other.Question = []dns.Question{{Name: "elsewhere.example.", Qtype: dns.TypeA, Qclass: dns.ClassINET}}
			return other
		},
	} {
		bad := newUpstream(t, say)
		if got := said((&resolver{}).ask(aQuestion(), []string{bad.address, second.address})); got != "192.0.2.1" {
			t.Errorf("after %s came %s", want, got)
		}
	}
	if got := said((&resolver{}).ask(aQuestion(), []string{first.address, second.address})); got != "192.0.2.9" {
		t.Errorf("the first of two says %s", got)
	}
	none := newUpstream(t, failing(dns.RcodeNameError))
	if got := said((&resolver{}).ask(aQuestion(), []string{none.address, second.address})); got != "NXDOMAIN" {
		t.Errorf("no such name is an answer, got %s", got)
	}
	refused := newUpstream(t, failing(dns.RcodeRefused))
	if got := said((&resolver{}).ask(aQuestion(), []string{refused.address})); got != "REFUSED" {
		t.Errorf("the only one refuses, the guest hears %s", got)
	}
	if got := said((&resolver{}).ask(aQuestion(), nil)); got != "SERVFAIL" {
		t.Errorf("with nobody to ask: %s", got)
	}
}

func TestResolverThatWasSilentIsAskedLast(t *testing.T) {
	dead, good := newUpstream(t, silent), newUpstream(t, saying("192.0.2.1"))
	r := &resolver{}
	servers := []string{dead.address, good.address}
	for range 3 {
		if got := said(r.ask(aQuestion(), servers)); got != "192.0.2.1" {
			t.Fatalf("got %s", got)
		}
	}
	if got := dead.log(); got != "udp+edns" {
		t.Errorf("the silent one was asked %q, not once", got)
	}
	r.silent[dead.address] = time.Now().Add(-time.Second)
	if got := r.order(servers); !slices.Equal(got, servers) {
		t.Errorf("after its rest the order is %v", got)
	}
}

func TestResolverTakesWhatDoesNotFitByTCP(t *testing.T) {
	u := newUpstream(t, func(q *dns.Msg, overTCP bool) *dns.Msg {
		reply := saying("192.0.2.7")(q, overTCP)
		if !overTCP {
			reply.Truncated, reply.Answer = true, nil
		}
		return reply
	})
	if got := said((&resolver{}).ask(aQuestion(), []string{u.address})); got != "192.0.2.7" || u.log() != "udp+edns tcp+edns" {
		t.Errorf("got %s, asked %s", got, u.log())
	}
}

func TestResolverAsksWithoutEDNSWhereItIsNotKnown(t *testing.T) {
	u := newUpstream(t, func(q *dns.Msg, overTCP bool) *dns.Msg {
		if q.IsEdns0() != nil {
			reply := new(dns.Msg).SetRcode(q, dns.RcodeFormatError)
			return reply
		}
		return saying("192.0.2.7")(q, overTCP)
	})
	if got := said((&resolver{}).ask(aQuestion(), []string{u.address})); got != "192.0.2.7" || u.log() != "udp+edns udp" {
		t.Errorf("got %s, asked %s", got, u.log())
	}
}

func TestResolverKeepsTheGuestsOwnLettersAndNumber(t *testing.T) {
	u := newUpstream(t, func(q *dns.Msg, overTCP bool) *dns.Msg {
		reply := saying("192.0.2.7")(q, overTCP)
		reply.SetEdns0(4096, false)
		reply.Authoritative = true
		return reply
	})
	q := aQuestion()
	reply := (&resolver{}).ask(q, []string{u.address})
	if reply.Id != q.Id || reply.Question[0].Name != "Example.org." || reply.IsEdns0() != nil || reply.Authoritative {
		t.Errorf("the guest is given %v", reply)
	}
}
