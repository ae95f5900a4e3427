package observe

import (
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Nouns are the kinds of this domain.
var Nouns = []resource.Noun{Events}

// NewRight takes the right to write events out of the registry: the recorder's, and retention's.
func NewRight(l *store.Registry) *store.SpecWriter[EventSpec, EventStatus] {
	return store.Specs(l, Events, "recorder")
}

// Server is the servers' half.
func Server(db *store.DB, events *store.SpecWriter[EventSpec, EventStatus], remarks Remarks, seen Seen) part.Part {
	return part.Part{
		Loops: []*reconcile.Loop{NewRetention(db, events)},
		Routes: func(a *httpapi.API) {
			Register(a)
			RegisterExplain(a, remarks, seen)
			registerUnreadable(a)
		},
	}
}
