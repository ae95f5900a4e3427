// Package dns answers the questions of machines about names: those of their own network from its
// zone, all others by asking the forwarders from the host's own namespace.
package dns

import (
	"context"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/virga-cloud/virga/network/onhost"
)

const (
	ownTTL      = 30 // seconds: names follow the machines
	askTimeout  = 2 * time.Second
	udpCapacity = 1232 // bytes that pass every path in one packet
	askAtOnce   = 64   // questions of one network that wait for forwarders at the same time
)

// Responder is DNS for all networks of a host.
type Responder struct {
	onhost.Answerers[*server]
	// System gives the host's own forwarders, "address:port".
	system func() []string
}

var _ onhost.Responder = (*Responder)(nil)

// New makes it. System gives the forwarders of networks that have none of their own; nil: those
// of the host's resolv.conf.
func New(system func() []string) *Responder {
	if system == nil {
		system = hostForwarders
	}
	return &Responder{system: system}
}

type server struct {
	scene    atomic.Pointer[onhost.Scene]
	system   func() []string
	udp, tcp *dns.Server
	asking   chan struct{} // full: a machine that floods harms its own network alone
	wg       sync.WaitGroup
}

// Ensure implements onhost.Responder.
func (r *Responder) Ensure(ctx context.Context, place onhost.Place, scene onhost.Scene) error {
	return r.Answer(place, scene, func() (*server, error) {
		packets, err := place.ListenPacket(ctx, "0.0.0.0:53")
		if err != nil {
			return nil, err
		}
		streams, err := place.Listen(ctx, "0.0.0.0:53")
		if err != nil {
			packets.Close()
			return nil, err
		}
		s := &server{system: r.system, asking: make(chan struct{}, askAtOnce)}
		s.Take(scene)
		s.start(packets, streams)
		return s, nil
	})
}

// Take implements onhost.Answerer.
func (s *server) Take(scene onhost.Scene) { s.scene.Store(&scene) }

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
	_, overTCP := w.RemoteAddr().(*net.TCPAddr)
	reply, known := answer(s.scene.Load().Zone, q)
	if !known {
		reply = s.forward(q, overTCP)
	}
	limit := dns.MinMsgSize
	if o := q.IsEdns0(); o != nil {
		limit = min(udpCapacity, max(dns.MinMsgSize, int(o.UDPSize())))
		if reply.IsEdns0() == nil {
			reply.SetEdns0(udpCapacity, false)
		}
	}
	if overTCP {
		limit = dns.MaxMsgSize
	}
	reply.Truncate(limit)
	_ = w.WriteMsg(reply)
}

// forward asks each forwarder in turn. Nobody to ask is a failure at once, not a silence.
func (s *server) forward(q *dns.Msg, overTCP bool) *dns.Msg {
	failed := new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	default:
		return failed
	}
	var ask []string
	for _, f := range s.scene.Load().Zone.Spec.Forwarders {
		ask = append(ask, net.JoinHostPort(f, "53"))
	}
	if len(ask) == 0 {
		ask = s.system()
	}
	client := &dns.Client{Net: "udp", Timeout: askTimeout, UDPSize: udpCapacity}
	if overTCP {
		client.Net = "tcp"
	}
	for _, address := range ask {
		reply, _, err := client.Exchange(q.Copy(), address)
		if err == nil && reply != nil {
			reply.Id = q.Id
			return reply
		}
	}
	return failed
}

func hostForwarders() []string {
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
