// Package metadata tells a VM what it is, in the way of EC2 (cloud-init's Ec2 data source
// and most others know it): http://169.254.169.254/latest/meta-data/... . Who asks is known by
// the address inside the network that the question comes from, which the switch does not let be
// forged. Sessions by token (IMDSv2) work and are not demanded.
package metadata

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network/onhost"
)

// Guest is what a VM may know of itself.
type Guest struct {
	// InstanceID stays the same over restarts and moves: the VM's id, not the run's.
	InstanceID resource.ID
	// Hostname is its name without the domain.
	Hostname string
	// Zone is the failure domain that it runs in.
	Zone string
	// Type is its size in a word.
	Type string
	// Project is whose it is.
	Project string
	// SSHKeys may log in; UserData is what the user gave along, byte for byte.
	SSHKeys  []string
	UserData []byte
	// NICs are all that it has, in their order, whichever of their networks it asks in.
	NICs []NIC
}

// NIC is one network interface of a guest.
type NIC struct {
	MAC     string
	Address netip.Prefix // with the length of its subnet's range
}

// Lookup finds what runs as an instance on this host.
type Lookup func(instanceID resource.ID) (Guest, bool)

// Responder is metadata for all networks of a host.
type Responder struct {
	onhost.Answerers[*server]
	lookup Lookup
	now    func() time.Time
	key    []byte // of the tokens; a new one with every start of the daemon
}

var _ onhost.Responder = (*Responder)(nil)

// New makes it.
func New(lookup Lookup) *Responder {
	return &Responder{lookup: lookup, now: time.Now, key: newKey()}
}

// What one VM may ask: cloud-init asks some fifty questions in a row at its start.
var perGuest = onhost.Limit{PerSecond: 50, Burst: 500, AtOnce: 16, Connections: 16}

type server struct {
	owner   *Responder
	limit   *onhost.Limiter
	desired atomic.Pointer[onhost.DesiredState]
	http    *http.Server
	wg      sync.WaitGroup
}

// Ensure implements onhost.Responder.
func (r *Responder) Ensure(ctx context.Context, place onhost.Place, desired onhost.DesiredState) error {
	return r.Answer(place, desired, func() (*server, error) {
		l, err := place.Listen(ctx, "0.0.0.0:80")
		if err != nil {
			return nil, err
		}
		s := &server{owner: r, limit: onhost.NewLimiter(perGuest)}
		s.Take(desired)
		s.start(s.limit.Listener(l))
		return s, nil
	})
}

// Take implements onhost.Answerer.
func (s *server) Take(desired onhost.DesiredState) { s.desired.Store(&desired) }

func (s *server) start(l net.Listener) {
	s.http = &http.Server{Handler: s, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second,
		WriteTimeout: 10 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 16 << 10}
	s.wg.Go(func() {
		if err := s.http.Serve(l); err != nil && !errors.Is(err, http.ErrServerClosed) {
			slog.Debug("a metadata socket has ended", "error", err)
		}
	})
}

// Stop implements onhost.Answerer.
func (s *server) Stop() {
	_ = s.http.Close()
	s.wg.Wait()
}
