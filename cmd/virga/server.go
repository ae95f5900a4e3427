package main

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virga-cloud/virga/cluster"
	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/leader"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/etcd"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/identity/keyring"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/ovn"
	"github.com/virga-cloud/virga/wiring"
)

// hostGrace is how long a host may be silent before it counts as lost.
const hostGrace = 10 * time.Second

// server holds the state of the cloud, answers the API, and decides.
type server struct {
	c         *config
	store     *etcd.Store
	role      leader.Role // whether this server leads
	listener  *host.Listener
	db        *store.DB // for the API
	led       *store.DB // for the loops: every commit carries the leadership
	authority *ca.Authority
	ring      *keyring.Ring
	rotator   *ca.Rotator
	cloud     *wiring.Server
	runner    *part.Runner
	central   *ovn.Central
	south     *ovn.Southbound
	api       *httpapi.API
	life      life
	ready     atomic.Bool // the host's own agent works too
	end       context.CancelFunc
	tasks     sync.WaitGroup
}

// startServer opens the state and starts everything that a server does; it returns when the API
// answers. Ctx ends it; then close waits.
func startServer(ctx context.Context, c *config, l *store.Registry) (*server, error) {
	ctx, end := context.WithCancel(ctx)
	s := &server{c: c, end: end}
	if err := s.start(ctx, l); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *server) start(ctx context.Context, l *store.Registry) (err error) {
	c := s.c
	if err := c.whole(true); err != nil {
		return err
	}
	if c.HostID == "" { // a config that was written by hand; up has made the mark itself
		if err := c.begin(); err != nil {
			return err
		}
	}
	if s.authority, err = ca.Open(c.in("ca"), ca.Options{Existing: !c.isNew()}); err != nil {
		return err
	}
	if err := c.keys(); err != nil {
		return err
	}
	if s.ring, err = c.ring(time.Now()); err != nil {
		return err
	}
	if s.rotator, err = s.certificate(ctx); err != nil {
		return err
	}
	if c.HostID == "" {
		c.HostID = resource.NewID()
		if err := c.save(); err != nil {
			return err
		}
	}
	if s.store, err = etcd.Open(ctx, etcd.Config{Dir: c.in("store"), Run: c.run, ID: string(c.HostID), Fresh: c.isNew()}); err != nil {
		return err
	}
	s.db = store.NewDB(s.store, wiring.Catalog())
	s.db.Quota = identity.Limits
	s.led = &store.DB{View: s.db.View, Now: s.db.Now, Fence: s.role.Fence}
	if err := s.wire(l); err != nil {
		return err
	}
	return s.begin(ctx, l)
}

// ring opens the keys of secrets, which lie beside the record store and never in it. A new cloud gets its
// first key; one that has begun has a ring, and what is sealed opens with no other.
func (c *config) ring(now time.Time) (*keyring.Ring, error) {
	if err := os.MkdirAll(c.in("keys"), 0o700); err != nil {
		return nil, fault.New(fault.Internal, "make the folder of keys: %w", err)
	}
	return keyring.Open(c.in("keys/secrets.json"), !c.isNew(), now)
}

// certificate keeps the server's own certificate; it names every address of this host.
func (s *server) certificate(ctx context.Context) (*ca.Rotator, error) {
	reached, _, _ := net.SplitHostPort(s.c.Servers[0])
	names := []string{ca.ServerName, "localhost", "127.0.0.1", "::1", s.c.Address, reached, s.c.Name}
	fits := func(leaf *x509.Certificate) bool {
		return leaf.VerifyHostname(s.c.Address) == nil && leaf.VerifyHostname(reached) == nil
	}
	k, err := ca.NewRotator(s.c.in("ca/server"), time.Now, func(_ context.Context, key crypto.Signer) ([]byte, error) {
		return s.authority.IssueServer(key.Public(), names...)
	}, fits)
	if err != nil {
		return nil, err
	}
	return k, k.Ensure(ctx)
}

// wire makes the parts of a server, with their drivers.
func (s *server) wire(l *store.Registry) error {
	images, err := imageOptions(s.c)
	if err != nil {
		return err
	}
	s.central = ovn.NewCentral(s.centralConfig())
	s.south = ovn.NewSouthbound(s.central.South())
	s.listener = host.NewListener(hostGrace, s.db.Now())
	others := newOthers(s)
	images.Servers = others
	s.cloud = wiring.NewServer(wiring.ServerDeps{
		API: s.db, Leader: s.led, Registry: l, Listener: s.listener, Servers: others,
		North: ovn.NewDatabase(s.central.North()), South: s.south, Images: images,
		Authority: s.authority, Addresses: func() []string { return s.c.Servers }, Overlay: s.overlay,
		AuditFor: time.Duration(s.c.AuditDays) * 24 * time.Hour,
		Ring:     s.ring,
		Home:     func() resource.ID { return s.c.HostID }, Dial: s.dialAgent, Progress: s.taskProgress,
	})
	s.runner = part.NewRunner(s.led, s.cloud.Parts...)
	s.routes()
	return nil
}

// centralConfig lets further hosts reach the southbound database. A host that
// is alone on its hardware needs no port.
func (s *server) centralConfig() ovn.CentralConfig {
	c := ovn.CentralConfig{State: s.c.state, Run: s.c.run}
	if ip := net.ParseIP(s.c.Address); ip != nil && !ip.IsLoopback() {
		c.Listen = net.JoinHostPort(s.c.Address, strconv.Itoa(s.c.OVNPort))
	}
	return c
}

// begin lets everything run. The order matters: the view must be filled before anything decides.
func (s *server) begin(ctx context.Context, l *store.Registry) error {
	s.tasks.Go(func() { _ = s.db.Run(ctx) })
	first, err := s.store.Commit(ctx)
	if err == nil {
		err = s.db.WaitFor(ctx, max(first, 1))
	}
	if err != nil {
		return fault.Wrap(err, "read the records")
	}
	if err := s.c.notOlder(first); err != nil {
		return err
	}
	if err := s.life.read(ctx, s.store); err != nil {
		return err
	}
	if err := s.seed(ctx); err != nil {
		return err
	}
	if err := l.Err(); err != nil {
		return fault.New(fault.Internal, "two writers of the same half: %w", err)
	}
	if err := s.listen(ctx); err != nil {
		return err
	}
	s.admitHosts(ctx)
	s.tasks.Go(func() { s.rotator.Run(ctx) })
	s.tasks.Go(func() { s.life.run(ctx, s.store) })
	s.tasks.Go(func() { s.keepSeen(ctx) })
	s.tasks.Go(func() { s.cloud.Relay.Run(ctx, s.db.Now) })
	s.tasks.Go(func() { s.cloud.Audit.Run(ctx) })
	s.tasks.Go(func() { s.role.Run(ctx, s.stand, s.lead) })
	return nil
}

// stand waits until this server leads.
func (s *server) stand(ctx context.Context) (leader.Term, error) { return s.store.Lead(ctx, "server") }

// lead does what one server alone may do, until its term ends. It is called again for the next one.
func (s *server) lead(ctx context.Context) {
	s.listener.Restart(s.db.Now())
	var wg sync.WaitGroup
	wg.Go(func() { s.runner.Run(ctx) })
	wg.Go(func() { s.runNetwork(ctx) })
	wg.Go(func() { s.sweepKeys(ctx) })
	wg.Go(func() { s.keepBackups(ctx) })
	wg.Wait()
}

// runNetwork starts OVN and keeps it as the records say. It is not on the way to the API: a cloud
// whose network cannot start yet can still say why.
func (s *server) runNetwork(ctx context.Context) {
	for ctx.Err() == nil {
		err := s.central.Start(ctx)
		if err == nil {
			break
		}
		slog.Error("the virtual network's databases do not start; trying again", "error", err)
		select {
		case <-ctx.Done():
		case <-time.After(5 * time.Second):
		}
	}
	s.central.Run(ctx)
}

// sweepKeys forgets the idempotency keys of requests that nobody repeats any more.
func (s *server) sweepKeys(ctx context.Context) {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		if err := s.api.Sweep(ctx); err != nil && ctx.Err() == nil {
			slog.Warn("old idempotency keys could not be forgotten", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// seed makes what a new cloud begins with.
func (s *server) seed(ctx context.Context) error {
	err := identity.Seed(ctx, s.db, s.cloud.Identity, func(secret string) error {
		return durable.Write(s.c.in("admin.token"), []byte(secret+"\n"), 0o600)
	})
	if err != nil {
		return err
	}
	b := s.db.Begin()
	project := store.Named(s.db.Snapshot(), identity.Projects, "", identity.DefaultProject)
	if store.Named(s.db.Snapshot(), network.Networks, project.ID, network.DefaultNetwork) == nil {
		s.cloud.Network.Seeder().SeedDefaults(b, project.ID)
	}
	home := cluster.EnsureDefault(b, s.db.Snapshot(), s.cloud.Clusters)
	if host.Find(s.db.Snapshot(), s.c.HostID) == nil {
		s.cloud.NewHost(b, s.c.HostID, s.c.Name, home)
	}
	if err := s.db.Commit(ctx, b); err != nil {
		return fault.Wrap(err, "make the first host")
	}
	return s.c.begun()
}

// listen opens the API on the unix socket and by HTTPS.
func (s *server) listen(ctx context.Context) error {
	local, err := listenUnix(s.c.socket())
	if err != nil {
		return err
	}
	secure, err := net.Listen("tcp", s.c.Listen)
	if err != nil {
		local.Close()
		return fault.New(fault.Precondition, "listen on %s: %w; choose another address by virga up --listen", s.c.Listen, err)
	}
	handler := s.handler()
	s.serve(ctx, httpapi.NewServer(handler), local)
	tls := httpapi.NewServer(handler)
	tls.TLSConfig = ca.ServerTLS(s.rotator, s.authority.Pool())
	s.serve(ctx, tls, secure)
	return nil
}

func (s *server) serve(ctx context.Context, h *http.Server, l net.Listener) {
	h.BaseContext = func(net.Listener) context.Context { return ctx }
	s.tasks.Go(func() {
		var err error
		if h.TLSConfig != nil {
			err = h.ServeTLS(l, "", "")
		} else {
			err = h.Serve(l)
		}
		if !errors.Is(err, http.ErrServerClosed) {
			slog.Error("the API stopped answering", "address", l.Addr().String(), "error", err)
		}
	})
	context.AfterFunc(ctx, func() { h.Close() })
}

func listenUnix(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o711); err != nil {
		return nil, fault.New(fault.Internal, "make the run folder: %w", err)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fault.New(fault.Internal, "remove the old socket: %w", err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fault.New(fault.Internal, "listen on %s: %w", path, err)
	}
	return l, nil
}

// close ends everything, waits for it, and closes the state. It also ends what a failed start has begun.
func (s *server) close() {
	s.end()
	s.tasks.Wait()
	if s.south != nil {
		s.south.Close()
	}
	if s.store != nil {
		s.store.Close()
	}
}

// overlay is where further hosts reach the virtual network's database; empty on a host whose
// address nobody else reaches.
func (s *server) overlay() string { return s.centralConfig().Listen }
