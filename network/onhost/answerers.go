package onhost

import (
	"sync"

	"github.com/virga-cloud/virga/engine/resource"
)

// Answerer answers inside one network.
type Answerer interface {
	// Take gives it the desired state that it answers from.
	Take(desired DesiredState)
	// Stop ends it, and returns when it has ended.
	Stop()
}

// Answerers are the part of a Responder that all have: one server a DNS zone. The zero value has none.
type Answerers[S Answerer] struct {
	mu      sync.Mutex
	servers map[resource.ID]seated[S]
}

// seated is a server in its place.
type seated[S Answerer] struct {
	place  Place
	server S
}

// Answer gives the DNS zone's server the desired state. Where there is none in this place, start starts one.
func (a *Answerers[S]) Answer(place Place, desired DesiredState, start func() (S, error)) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	id := desired.DNSZone.ID
	if s, there := a.servers[id]; there {
		if s.place == place {
			s.server.Take(desired)
			return nil
		}
		s.server.Stop()
		delete(a.servers, id)
	}
	server, err := start()
	if err != nil {
		return err
	}
	if a.servers == nil {
		a.servers = map[resource.ID]seated[S]{}
	}
	a.servers[id] = seated[S]{place, server}
	return nil
}

// Remove implements Responder.
func (a *Answerers[S]) Remove(zoneID resource.ID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if s, there := a.servers[zoneID]; there {
		s.server.Stop()
		delete(a.servers, zoneID)
	}
}

// Close stops answering everywhere.
func (a *Answerers[S]) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for id, s := range a.servers {
		s.server.Stop()
		delete(a.servers, id)
	}
}
