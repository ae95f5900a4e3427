package cluster

import (
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Nouns are the kinds of this domain.
var Nouns = []resource.Noun{Clusters}

// Writer is the right to write clusters: the API's.
type Writer = store.SpecWriter[Spec, Status]

// NewRight takes it out of the registry.
func NewRight(l *store.Registry) *Writer { return store.Specs(l, Clusters, "api") }

// Server is the servers' half: a cluster has no loop, for who decides reads it.
func Server(w *Writer) part.Part {
	return part.Part{Routes: func(a *httpapi.API) { Register(a, w) }}
}
