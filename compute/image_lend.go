package compute

import (
	"slices"

	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/identity"
)

// ImageLending lets a project use the images that others published, or shared with it.
var ImageLending = httpapi.Lending[ImageSpec, ImageStatus]{
	To: func(s *store.Snapshot, project string, i *Image) bool {
		switch {
		case i.Status.Phase != ImageReady: // its own project waits for it
			return false
		case i.Spec.Visibility == ToCloud:
			return true
		case i.Spec.Visibility == ToShared:
			p := store.Named(s, identity.Projects, "", project)
			return p != nil && slices.Contains(i.Spec.SharedWith, string(p.ID))
		}
		return false
	},
}
