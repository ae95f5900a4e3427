package ovn

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Gate is where the hosts' ovn-controllers come in. It checks each certificate of the cloud's against
// the records, so that a host that was removed is shut out at once and its open connection is cut, which OVN's
// database server cannot do: it knows no revocation. Behind the gate the server sees
// each host under a certificate in that host's own name, by which OVN's roles keep it to its own rows.
//
// While no daemon runs nobody comes in: ovn-controllers keep what they have set up, and come back.
type Gate struct {
	// TLS asks for certificates of the cloud and verifies them.
	TLS *tls.Config
	// Host says whose certificate it is, and refuses those who are no host of the cloud any more.
	Host func(*x509.Certificate) (resource.ID, error)
	// Dial connects to the database server behind it in a host's name: Central's DialAs.
	Dial func(ctx context.Context, id resource.ID) (net.Conn, error)

	mu   sync.Mutex
	open map[resource.ID]map[net.Conn]bool
	wg   sync.WaitGroup
}

// greeting is how long a host may take to show its certificate.
const greeting = 10 * time.Second

// Serve lets hosts in until ctx ends, and returns when all are out.
func (g *Gate) Serve(ctx context.Context, l net.Listener) error {
	defer g.wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = l.Close() })()
	for {
		conn, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return fault.New(fault.Internal, "let hosts in to OVN's southbound database: %w", err)
			}
			time.Sleep(10 * time.Millisecond) // no descriptors for a moment
			continue
		}
		g.wg.Go(func() { g.admit(ctx, conn) })
	}
}

// admit checks one host and carries its connection.
func (g *Gate) admit(ctx context.Context, raw net.Conn) {
	defer raw.Close()
	defer context.AfterFunc(ctx, func() { _ = raw.Close() })()
	near := tls.Server(raw, g.TLS)
	_ = near.SetDeadline(time.Now().Add(greeting))
	if err := near.HandshakeContext(ctx); err != nil {
		slog.Debug("somebody without a certificate of the cloud came to OVN's gate", "from", raw.RemoteAddr(), "error", err)
		return
	}
	leaf := near.ConnectionState().PeerCertificates[0]
	id, err := g.Host(leaf)
	if err == nil {
		defer g.hold(id, raw)()
		_, err = g.Host(leaf) // again: it may have been cut off before it was held
	}
	if err != nil {
		slog.Warn("a host is refused at OVN's gate", "from", raw.RemoteAddr(), "error", err)
		return
	}
	far, err := g.Dial(ctx, id)
	if err != nil {
		slog.Warn("OVN's southbound database cannot be reached for a host", "host", id, "error", err)
		return
	}
	defer far.Close()
	_ = near.SetDeadline(time.Time{})
	carry(near, far)
}

// carry copies both ways until one side ends.
func carry(near, far net.Conn) {
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		wg.Go(func() {
			_, _ = io.Copy(way[0], way[1])
			_ = near.Close()
			_ = far.Close()
		})
	}
	wg.Wait()
}

// hold remembers a connection for Cut.
func (g *Gate) hold(id resource.ID, conn net.Conn) (done func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.open == nil {
		g.open = map[resource.ID]map[net.Conn]bool{}
	}
	if g.open[id] == nil {
		g.open[id] = map[net.Conn]bool{}
	}
	g.open[id][conn] = true
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.open[id], conn)
		if len(g.open[id]) == 0 {
			delete(g.open, id)
		}
	}
}

// Cut ends what a host has open. Whoever cuts has seen to it that Host refuses it.
func (g *Gate) Cut(id resource.ID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for conn := range g.open[id] {
		_ = conn.Close()
	}
}
