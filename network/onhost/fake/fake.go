// Package fake is a virtual switch in memory, for tests of loops and for the simulator. It is
// deterministic: a port is ready when it is asked for, unless Hold says otherwise.
package fake

import (
	"context"
	"maps"
	"net"
	"slices"
	"sync"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network/onhost"
)

// Switch is the fake.
type Switch struct {
	mu       sync.Mutex
	up       bool
	failure  error
	held     bool
	ports    map[resource.ID]onhost.Attached
	services map[resource.ID]onhost.Service
}

var _ onhost.Switch = (*Switch)(nil)

// New makes it.
func New() *Switch {
	return &Switch{ports: map[resource.ID]onhost.Attached{}, services: map[resource.ID]onhost.Service{}}
}

// Fail makes every call fail with err; nil ends that.
func (s *Switch) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
}

// Hold keeps new ports from becoming ready.
func (s *Switch) Hold(held bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = held
}

func (s *Switch) able() error {
	if s.failure != nil {
		return s.failure
	}
	if !s.up {
		return fault.New(fault.Unavailable, "the switch is not set up")
	}
	return nil
}

// Setup implements onhost.Switch.
func (s *Switch) Setup(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = s.failure == nil
	return s.failure
}

// EnsurePort implements onhost.Switch.
func (s *Switch) EnsurePort(_ context.Context, p onhost.Port) (onhost.Attached, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.able(); err != nil {
		return onhost.Attached{}, err
	}
	at := onhost.Attached{PortBindingID: p.PortBindingID, PortID: p.PortID, Device: "vt" + string(p.PortBindingID[max(0, len(p.PortBindingID)-12):]), Ready: !s.held}
	if s.held {
		at.Why = "it is held"
	}
	s.ports[p.PortBindingID] = at
	return at, nil
}

// RemovePort implements onhost.Switch.
func (s *Switch) RemovePort(_ context.Context, bindingID resource.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.able(); err != nil {
		return err
	}
	delete(s.ports, bindingID)
	return nil
}

// ListPorts implements onhost.Switch.
func (s *Switch) ListPorts(context.Context) ([]onhost.Attached, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.able(); err != nil {
		return nil, err
	}
	var out []onhost.Attached
	for _, id := range slices.Sorted(maps.Keys(s.ports)) {
		out = append(out, s.ports[id])
	}
	return out, nil
}

// EnsureService implements onhost.Switch.
func (s *Switch) EnsureService(_ context.Context, want onhost.Service) (onhost.Place, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.able(); err != nil {
		return nil, err
	}
	s.services[want.DNSZoneID] = want
	return place{}, nil
}

// RemoveService implements onhost.Switch.
func (s *Switch) RemoveService(_ context.Context, zoneID resource.ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.able(); err != nil {
		return err
	}
	delete(s.services, zoneID)
	return nil
}

// ListServices implements onhost.Switch.
func (s *Switch) ListServices(context.Context) ([]resource.ID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.able(); err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(s.services)), nil
}

// Teardown implements onhost.Switch.
func (s *Switch) Teardown(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.up = false
	clear(s.ports)
	clear(s.services)
	return nil
}

// place has no network: nobody listens there.
type place struct{}

func (place) Listen(context.Context, string) (net.Listener, error) {
	return nil, fault.New(fault.Precondition, "the fake switch carries no packets")
}

func (place) ListenPacket(context.Context, string) (net.PacketConn, error) {
	return nil, fault.New(fault.Precondition, "the fake switch carries no packets")
}
