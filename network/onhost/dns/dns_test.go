package dns

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/virga-cloud/virga/network/onhost"
)

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

func TestOtherNamesAreAskedOfTheWorld(t *testing.T) {
	place := &onLoopback{}
	world := newUpstream(t, saying("203.0.113.9"))
	var forwarders atomic.Value
	forwarders.Store([]string(nil))
	r := New(func() []string { return forwarders.Load().([]string) })
	defer r.Close()
	if err := r.Ensure(t.Context(), place, onhost.DesiredState{DNSZone: aZone()}); err != nil {
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
	forwarders.Store([]string{world.address})
	if reply := ask(); len(reply.Answer) != 1 {
		t.Errorf("the forwarder's answer did not come: %v", reply)
	}
	r.Remove("zone")
	r.Remove("zone")
	if _, _, err := (&dns.Client{Timeout: 100 * time.Millisecond}).Exchange(new(dns.Msg).SetQuestion("web.", dns.TypeA), place.packets); err == nil {
		t.Error("a DNS zone that was removed still answers")
	}
}
