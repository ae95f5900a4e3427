package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/identity/ca"
)

// serverWithin is how long one server may take to show who it is before the next one is tried.
const serverWithin = 2 * time.Second

// anyServer is a host's way to the servers of its cloud. All of them show one name, so that a URL says
// that name and whoever opens a connection tries them in turn, the one that answered last before the others.
type anyServer struct {
	addresses []string
	trust     *tls.Config

	mu    sync.Mutex
	good  int               // index of the one that is tried first
	conns map[*tracked]bool // open ones
}

// serverURL is where a path of the API is asked for, at any server.
func serverURL(path string) string { return "https://" + ca.ServerName + path }

func newAnyServer(addresses []string, trust *tls.Config) *anyServer {
	trust = trust.Clone()
	trust.NextProtos = []string{"h2", "http/1.1"}
	return &anyServer{addresses: addresses, trust: trust, conns: map[*tracked]bool{}}
}

// transport carries requests to any server.
func (s *anyServer) transport() *http.Transport {
	return &http.Transport{
		DialTLSContext: s.dial, ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 4,
		// A connection that a cut link or a moved address has made dumb is given up within seconds.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 2 * time.Second, PingTimeout: 2 * time.Second},
	}
}

// dial opens a connection to the first server that shows the cloud's certificate. A server whose kernel
// alone takes connections is not one that answers.
func (s *anyServer) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	s.mu.Lock()
	first := s.good
	s.mu.Unlock()
	var failed []error
	for i := range s.addresses {
		n := (first + i) % len(s.addresses)
		conn, err := s.dialOne(ctx, network, s.addresses[n])
		if err == nil {
			s.prefer(n)
			return conn, nil
		}
		failed = append(failed, fmt.Errorf("server %s: %w", s.addresses[n], err))
	}
	return nil, errors.Join(failed...)
}

func (s *anyServer) dialOne(ctx context.Context, network, address string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, serverWithin)
	defer cancel()
	var d net.Dialer
	raw, err := d.DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	below := &tracked{Conn: raw, way: s}
	conn := tls.Client(below, s.trust)
	if err := conn.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, err
	}
	s.mu.Lock()
	s.conns[below] = true
	s.mu.Unlock()
	return conn, nil
}

// prefer remembers which server answered.
func (s *anyServer) prefer(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.good != n {
		slog.Info("this host goes by another server", "server", s.addresses[n], "before", s.addresses[s.good])
	}
	s.good = n
}

// leave turns to the next server: the one that is connected answers that it cannot serve. What waits for
// it fails, and is asked again.
func (s *anyServer) leave() {
	s.mu.Lock()
	var open []*tracked
	if len(s.addresses) > 1 {
		s.good = (s.good + 1) % len(s.addresses)
		for c := range s.conns {
			open = append(open, c)
		}
	}
	s.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
}

// failing says whether an answer of a server is about the server and not about the request.
func failing(status int) bool {
	return fault.Unavailable.HTTPStatus() == status || status == http.StatusInternalServerError
}

// tracked is one connection to a server, known until it is closed.
type tracked struct {
	net.Conn
	way *anyServer
}

func (c *tracked) Close() error {
	c.way.mu.Lock()
	delete(c.way.conns, c)
	c.way.mu.Unlock()
	return c.Conn.Close()
}
