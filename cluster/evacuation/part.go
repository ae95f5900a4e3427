package evacuation

import (
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// Nouns are the kinds of this domain.
var Nouns = []resource.Noun{Evacuations}

// Writers is who writes evacuations: their loop, both halves.
type Writers struct {
	Specs    *store.SpecWriter[Spec, Status]
	Statuses *store.StatusWriter[Spec, Status]
}

// NewWriters takes them out of the registry.
func NewWriters(l *store.Registry) Writers {
	return Writers{store.Specs(l, Evacuations, "evacuation loop"), store.Statuses(l, Evacuations, "evacuation loop")}
}

// Server is the servers' half.
func Server(db *store.DB, w Writers, m Mover, events host.Events) part.Part {
	l := &Loop{DB: db, Specs: w.Specs, Statuses: w.Statuses, Mover: m, Note: func(b *store.Batch, h *host.Host, severity, reason, message string) {
		events.Record(b, h.Ref(), h.Name, severity, reason, message, By)
	}}
	return part.Part{
		Loops: []*reconcile.Loop{l.Loop()},
		Routes: func(a *httpapi.API) {
			httpapi.Register(a, Evacuations, httpapi.Routes[Spec, Status]{Ready: func(e *Evacuation) (bool, error) {
				if e.Status.Phase == Blocked {
					return false, blocked(e)
				}
				return e.Status.Phase == Empty, nil
			}})
		},
	}
}
