package placement

import (
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Nouns are the kinds of this domain.
var Nouns = []resource.Noun{Claims}

// NewRight takes the right to write claims out of the registry: the gate's alone.
func NewRight(l *store.Registry) *store.SpecWriter[ClaimSpec, ClaimStatus] {
	return store.Specs(l, Claims, "placement")
}

// Server is the servers' half: claims can be looked at.
func Server() part.Part {
	return part.Part{Routes: func(a *httpapi.API) {
		httpapi.Register(a, Claims, httpapi.Routes[ClaimSpec, ClaimStatus]{})
	}}
}
