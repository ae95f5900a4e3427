package image

import (
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/store"
)

// Rights is who writes images.
type Rights struct {
	Images   *store.SpecWriter[compute.ImageSpec, compute.ImageStatus]
	Statuses *store.StatusWriter[compute.ImageSpec, compute.ImageStatus]
}

// NewRights takes them out of the registry.
func NewRights(l *store.Registry) Rights {
	return Rights{Images: store.Specs(l, compute.Images, "api"), Statuses: store.Statuses(l, compute.Images, "image loop")}
}

// Server is the servers' half.
func Server(s *Service, r Rights) part.Part {
	return part.Part{
		Loops:      []*reconcile.Loop{s.Loop(), s.Sweeping()},
		Operations: []operation.Definition{s.Definition()},
		Routes:     func(a *httpapi.API) { s.Register(a, r.Images) },
	}
}
