package storage

import (
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Nouns are the kinds of this domain.
var Nouns = []resource.Noun{Resources, Devices, Datastores, Volumes, Allocations, ImageCopies, Attachments}

// NewAPIRights takes the rights of the API out of the ledger. The specs of attachments are
// compute's.
func NewAPIRights(l *store.Ledger) APIRights {
	return APIRights{
		Resources:  store.Specs(l, Resources, "api"),
		Datastores: store.Specs(l, Datastores, "api"),
		Volumes:    store.Specs(l, Volumes, "api"),
	}
}

// Writers are the rights of the server's storage loops. The specs of resources, datastores and
// volumes are the API's.
type Writers struct {
	Resources   *store.StatusWriter[ResourceSpec, ResourceStatus]
	Datastores  *store.StatusWriter[DatastoreSpec, DatastoreStatus]
	Volumes     *store.StatusWriter[VolumeSpec, VolumeStatus]
	Allocations *store.SpecWriter[AllocationSpec, AllocationStatus]
	ImageCopies *store.SpecWriter[ImageCopySpec, ImageCopyStatus]
}

// Rights takes the loops' rights out of the ledger.
func Rights(l *store.Ledger, party string) Writers {
	return Writers{
		Resources:   store.Statuses(l, Resources, party),
		Datastores:  store.Statuses(l, Datastores, party),
		Volumes:     store.Statuses(l, Volumes, party),
		Allocations: store.Specs(l, Allocations, party),
		ImageCopies: store.Specs(l, ImageCopies, party),
	}
}

// Server is the servers' half.
func Server(db *store.DB, api APIRights, loops Writers) part.Part {
	return part.Part{Loops: NewLoops(db, loops, Policy{}), Routes: func(a *httpapi.API) { Register(a, api) }}
}
