package host

import (
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Nouns are the kinds of this domain.
var Nouns = []resource.Noun{Hosts, Livenesses, Removals}

// Rights is who writes what of this domain on a server. A host's own status is its agent's.
type Rights struct {
	Hosts      *store.SpecWriter[Spec, Status]
	Livenesses *store.SpecWriter[LivenessSpec, LivenessStatus]
	Lives      *store.StatusWriter[LivenessSpec, LivenessStatus]
	Removals   *store.SpecWriter[RemovalSpec, RemovalStatus]
	Removing   *store.StatusWriter[RemovalSpec, RemovalStatus]
}

// NewRights takes them out of the registry.
func NewRights(l *store.Registry) Rights {
	return Rights{
		Hosts:      store.Specs(l, Hosts, "api"),
		Livenesses: store.Specs(l, Livenesses, "liveness loop"),
		Lives:      store.Statuses(l, Livenesses, "liveness loop"),
		Removals:   store.Specs(l, Removals, "api"),
		Removing:   store.Statuses(l, Removals, "removal loop"),
	}
}

// ServerDeps are what the servers' half needs.
type ServerDeps struct {
	DB       *store.DB // for the loops
	Rights   Rights
	Listener *Listener
	Relay    *Relay
	Remover  *Remover
	Events   Events
	// Held lists what agents hold and the removal of a host lets go of.
	Held []Held
}

// Server is the servers' half.
func Server(d ServerDeps) part.Part {
	life := &LivenessLoop{DB: d.DB, Listener: d.Listener, Specs: d.Rights.Livenesses, Statuses: d.Rights.Lives,
		Note: func(b *store.Batch, h *Host, severity, reason, message string) {
			d.Events.Record(b, h.Ref(), h.Name, severity, reason, message, "liveness")
		}}
	removal := &RemovalLoop{DB: d.DB, Statuses: d.Rights.Removing, Held: d.Held}
	return part.Part{
		Loops: []*reconcile.Loop{life.Loop(), removal.Loop()},
		Routes: func(a *httpapi.API) {
			Register(a, d.Remover, d.Events)
			RegisterHeartbeat(a, d.Relay)
		},
	}
}
