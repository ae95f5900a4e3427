package storage

import (
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Nouns are the kinds of this domain.
var Nouns = []resource.Noun{Backends, Devices, Datastores, Volumes, VolumeSnapshots, Allocations, ImageCopies, Attachments}

// NewAPIRights takes the rights of the API out of the registry. The specs of attachments are
// compute's.
func NewAPIRights(l *store.Registry) APIRights {
	return APIRights{
		Backends:   store.Specs(l, Backends, "api"),
		Datastores: store.Specs(l, Datastores, "api"),
		Volumes:    store.Specs(l, Volumes, "api"),

		VolumeSnapshots: store.Specs(l, VolumeSnapshots, "api"),
	}
}

// Writers are the rights of the server's storage loops. The specs of backends, datastores and
// volumes are the API's.
type Writers struct {
	Backends   *store.StatusWriter[BackendSpec, BackendStatus]
	Datastores *store.StatusWriter[DatastoreSpec, DatastoreStatus]
	Volumes    *store.StatusWriter[VolumeSpec, VolumeStatus]

	VolumeSnapshots *store.StatusWriter[VolumeSnapshotSpec, VolumeSnapshotStatus]

	Allocations *store.SpecWriter[AllocationSpec, AllocationStatus]
	ImageCopies *store.SpecWriter[ImageCopySpec, ImageCopyStatus]
}

// Rights takes the loops' rights out of the registry.
func Rights(l *store.Registry, writer string) Writers {
	return Writers{
		Backends:   store.Statuses(l, Backends, writer),
		Datastores: store.Statuses(l, Datastores, writer),
		Volumes:    store.Statuses(l, Volumes, writer),

		VolumeSnapshots: store.Statuses(l, VolumeSnapshots, writer),

		Allocations: store.Specs(l, Allocations, writer),
		ImageCopies: store.Specs(l, ImageCopies, writer),
	}
}

// Server is the servers' half.
func Server(db *store.DB, api APIRights, loops Writers) part.Part {
	return part.Part{Loops: NewLoops(db, loops, Policy{}), Routes: func(a *httpapi.API) { Register(a, api) }}
}
