package compute

import (
	"slices"

	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// ImageLending lets a project use the images that others published, or shared with it.
var ImageLending = httpapi.Lending[ImageSpec, ImageStatus]{
	To: func(_ *store.Snapshot, project resource.ID, i *Image) bool {
		switch {
		case i.Status.Phase != ImageReady: // its own project waits for it
			return false
		case i.Spec.Visibility == ToCloud:
			return true
		case i.Spec.Visibility == ToShared:
			return slices.Contains(i.Spec.SharedWith, project)
		}
		return false
	},
}
