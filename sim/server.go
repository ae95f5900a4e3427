package sim

import (
	"context"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity/keyring"
	"github.com/virga-cloud/virga/network/ovn"
	"github.com/virga-cloud/virga/wiring"
)

var kinds = wiring.Catalog()

// server is the server's daemon: its parts, and the functions that the API calls.
type server struct {
	daemon
	*wiring.Server
	listener *host.Listener
}

func newServer(c *Cluster) *server {
	s := &server{daemon: daemon{c: c, name: "server"}}
	s.unreachable = func() string { return "" }
	return s
}

// start wires a server as cmd/virga does, with simulated drivers. Images are there, with their content.
func (s *server) start() {
	s.begin(nil, func() time.Duration { return s.c.between(0, 10*time.Millisecond) })
	l := store.NewRegistry()
	s.listener = host.NewListener(0, s.c.Now())
	ring, err := keyring.InMemory(s.c.Now())
	if err != nil {
		s.c.fail("%v", err)
	}
	s.Server = wiring.NewServer(wiring.ServerDeps{Ring: ring, API: s.db, Leader: s.db, Registry: l, Listener: s.listener, North: nowhere{}, South: nowhere{}})
	if err := l.Err(); err != nil {
		s.c.fail("the server's rights: %v", err)
	}
	s.runs(s.Parts)
	s.connect()
}

// nowhere takes what is told to OVN.
type nowhere struct{}

// Apply implements ovn.Sink.
func (nowhere) Apply(context.Context, []*ovn.Owned) error { return nil }

// RemoveChassis implements ovn.ChassisRemover.
func (nowhere) RemoveChassis(context.Context, resource.ID) error { return nil }
