// Package dns answers the questions of VMs about names: those of their own network from its DNS
// DNS zone, all others by asking resolvers from the host's own namespace: those of the VM's subnet in
// the order in which they were given, or else the host's own.
package dns

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/virga-cloud/virga/network/onhost"
)

const (
	ownTTL      = 30   // seconds: names follow the VMs
	udpCapacity = 1232 // bytes that pass every path in one packet
)

// What one VM may ask: a busy mail server is far below that, and one that floods harms itself alone.
var perGuest = onhost.Limit{PerSecond: 200, Burst: 400, AtOnce: 32, Connections: 16}

// Responder is DNS for all networks of a host.
type Responder struct {
	onhost.Answerers[*server]
	// System gives the host's own resolvers, "address:port".
	system func() []string
}

var _ onhost.Responder = (*Responder)(nil)

// New makes it. System gives the resolvers of subnets that have none of their own; nil: those
// of the host's resolv.conf.
func New(system func() []string) *Responder {
	if system == nil {
		system = hostResolvers
	}
	return &Responder{system: system}
}

type server struct {
	names    atomic.Pointer[names]
	system   func() []string
	resolver resolver
	limit    *onhost.Limiter
	udp, tcp *dns.Server
	wg       sync.WaitGroup
}

// Ensure implements onhost.Responder.
func (r *Responder) Ensure(ctx context.Context, place onhost.Place, desired onhost.DesiredState) error {
	return r.Answer(place, desired, func() (*server, error) {
		packets, err := place.ListenPacket(ctx, "0.0.0.0:53")
		if err != nil {
			return nil, err
		}
		streams, err := place.Listen(ctx, "0.0.0.0:53")
		if err != nil {
			packets.Close()
			return nil, err
		}
		s := &server{system: r.system, limit: onhost.NewLimiter(perGuest)}
		s.Take(desired)
		s.start(packets, s.limit.Listener(streams))
		return s, nil
	})
}

// Take implements onhost.Answerer.
func (s *server) Take(desired onhost.DesiredState) { s.names.Store(newNames(desired.DNSZone)) }

func (s *server) start(packets net.PacketConn, streams net.Listener) {
	s.udp = &dns.Server{PacketConn: packets, Handler: s, UDPSize: 4096}
	s.tcp = &dns.Server{Listener: streams, Handler: s, IdleTimeout: func() time.Duration { return 10 * time.Second }}
	for _, d := range []*dns.Server{s.udp, s.tcp} {
		up := make(chan struct{})
		d.NotifyStartedFunc = func() { close(up) }
		ended := make(chan struct{})
		s.wg.Go(func() {
			defer close(ended)
			if err := d.ActivateAndServe(); err != nil {
				slog.Debug("a DNS socket has ended", "error", err)
			}
		})
		select { // a server that has not begun cannot be shut down
		case <-up:
		case <-ended:
		}
	}
}

// Stop implements onhost.Answerer.
func (s *server) Stop() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.udp.ShutdownContext(ctx)
	_ = s.tcp.ShutdownContext(ctx)
	_ = s.udp.PacketConn.Close()
	_ = s.tcp.Listener.Close()
	s.wg.Wait()
}

// ServeDNS implements dns.Handler.
func (s *server) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	from, overTCP := sender(w.RemoteAddr())
	done, ok := s.limit.Begin(from)
	if !ok { // by UDP it asks again; a refusal would only be one more packet of the flood
		w.Close()
		return
	}
	defer done()
	n := s.names.Load()
	resolvers := n.resolvers(from)
	reply := n.answer(q, len(resolvers) > 0)
	if reply == nil {
		reply = s.forward(q, resolvers)
	}
	limit := dns.MinMsgSize
	if o := q.IsEdns0(); o != nil {
		limit = min(udpCapacity, max(dns.MinMsgSize, int(o.UDPSize())))
		reply.SetEdns0(udpCapacity, o.Do())
	}
	if overTCP {
		limit = dns.MaxMsgSize
	}
	reply.Truncate(limit)
	_ = w.WriteMsg(reply)
}

func sender(a net.Addr) (from netip.Addr, overTCP bool) {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr().Unmap(), true
	case *net.UDPAddr:
		return a.AddrPort().Addr().Unmap(), false
	}
	return from, false
}

// forward asks the subnet's resolvers, or else the host's. Nobody to ask is a failure at once, not a
// silence.
func (s *server) forward(q *dns.Msg, resolvers []string) *dns.Msg {
	var ask []string
	for _, r := range resolvers {
		ask = append(ask, net.JoinHostPort(r, "53"))
	}
	if len(ask) == 0 {
		ask = s.system()
	}
	return s.resolver.ask(q, ask)
}
