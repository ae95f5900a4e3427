package dns

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/onhost"
)

func aZone() *network.Zone {
	return &network.Zone{Meta: resource.Meta{ID: "zone"}, Spec: network.ZoneSpec{Domain: "shop.internal",
		Names: map[string]string{"web": "10.0.0.11", "db": "10.0.0.12"}, Services: []string{"10.0.0.2/24"}}}
}

func TestANetworksNamesAreAnsweredFromItsZone(t *testing.T) {
	for _, c := range []struct {
		name   string
		kind   uint16
		known  bool
		rcode  int
		answer string
	}{
		{"web.shop.internal.", dns.TypeA, true, dns.RcodeSuccess, "10.0.0.11"},
		{"WEB.Shop.Internal.", dns.TypeA, true, dns.RcodeSuccess, "10.0.0.11"},
		{"web.", dns.TypeA, true, dns.RcodeSuccess, "10.0.0.11"},
		{"web.shop.internal.", dns.TypeAAAA, true, dns.RcodeSuccess, ""},
		{"mail.shop.internal.", dns.TypeA, true, dns.RcodeNameError, ""},
		{"shop.internal.", dns.TypeA, true, dns.RcodeSuccess, ""},
		{"12.0.0.10.in-addr.arpa.", dns.TypePTR, true, dns.RcodeSuccess, "db.shop.internal."},
		{"99.0.0.10.in-addr.arpa.", dns.TypePTR, true, dns.RcodeNameError, ""},
		{"9.113.0.203.in-addr.arpa.", dns.TypePTR, false, 0, ""},
		{"example.org.", dns.TypeA, false, 0, ""},
		{"internal.", dns.TypeA, false, 0, ""},
	} {
		reply, known := answer(aZone(), new(dns.Msg).SetQuestion(c.name, c.kind))
		got := ""
		if len(reply.Answer) > 0 {
			switch rr := reply.Answer[0].(type) {
			case *dns.A:
				got = rr.A.String()
			case *dns.PTR:
				got = rr.Ptr
			}
		}
		if known != c.known || known && (reply.Rcode != c.rcode || got != c.answer) {
			t.Errorf("%s %s: known=%v %s %q", c.name, dns.TypeToString[c.kind], known, dns.RcodeToString[reply.Rcode], got)
		}
	}
}

// onLoopback opens the sockets of a network on the loopback, at any port.
type onLoopback struct{ packets, streams string }

func (p *onLoopback) Listen(context.Context, string) (net.Listener, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err == nil {
		p.streams = l.Addr().String()
	}
	return l, err
}

func (p *onLoopback) ListenPacket(context.Context, string) (net.PacketConn, error) {
	l, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err == nil {
		p.packets = l.LocalAddr().String()
	}
	return l, err
}

func TestOtherNamesAreAskedOfTheForwarders(t *testing.T) {
	place := &onLoopback{}
	world, _ := net.ListenPacket("udp", "127.0.0.1:0")
	up := make(chan struct{})
	forwarder := &dns.Server{PacketConn: world, NotifyStartedFunc: func() { close(up) }, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg).SetReply(q)
		rr, _ := dns.NewRR(q.Question[0].Name + " 60 IN A 203.0.113.9")
		reply.Answer = append(reply.Answer, rr)
		_ = w.WriteMsg(reply)
	})}
	go func() { _ = forwarder.ActivateAndServe() }()
	<-up
	defer forwarder.Shutdown()

	var forwarders atomic.Value
	forwarders.Store([]string(nil))
	r := New(func() []string { return forwarders.Load().([]string) })
	defer r.Close()
	if err := r.Ensure(t.Context(), place, onhost.Scene{Zone: aZone()}); err != nil {
		t.Fatal(err)
	}
	ask := func() *dns.Msg {
		q := new(dns.Msg).SetQuestion("example.org.", dns.TypeA)
		q.SetEdns0(1232, true)
		reply, took, err := (&dns.Client{Timeout: 3 * time.Second}).Exchange(q, place.packets)
		if err != nil || took > time.Second || reply.IsEdns0() == nil {
			t.Fatalf("%v after %v: %v", reply, took, err)
		}
		return reply
	}
	if reply := ask(); reply.Rcode != dns.RcodeServerFailure {
		t.Errorf("with nobody to ask: %v", reply)
	}
	forwarders.Store([]string{world.LocalAddr().String()})
	if reply := ask(); len(reply.Answer) != 1 {
		t.Errorf("the forwarder's answer did not come: %v", reply)
	}
	r.Remove("zone")
	r.Remove("zone")
	if _, _, err := (&dns.Client{Timeout: 100 * time.Millisecond}).Exchange(new(dns.Msg).SetQuestion("web.", dns.TypeA), place.packets); err == nil {
		t.Error("a zone that was removed still answers")
	}
}
