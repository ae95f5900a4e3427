package onhost

import (
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// Writers are the rights of a host's agent.
type Writers struct {
	Devices      *store.SpecWriter[storage.DeviceSpec, storage.DeviceStatus]
	DeviceStatus *store.StatusWriter[storage.DeviceSpec, storage.DeviceStatus]
	ImageCopies  *store.StatusWriter[storage.ImageCopySpec, storage.ImageCopyStatus]
	Allocations  *store.StatusWriter[storage.AllocationSpec, storage.AllocationStatus]
	Attachments  *store.StatusWriter[storage.AttachmentSpec, storage.AttachmentStatus]
}

// Rights takes the agent's rights out of the registry.
func Rights(l *store.Registry, writer string) Writers {
	return Writers{
		Devices:      store.Specs(l, storage.Devices, writer),
		DeviceStatus: store.Statuses(l, storage.Devices, writer),
		ImageCopies:  store.Statuses(l, storage.ImageCopies, writer),
		Allocations:  store.Statuses(l, storage.Allocations, writer),
		Attachments:  store.Statuses(l, storage.Attachments, writer),
	}
}

// Host is the hosts' half.
func Host(db *store.DB, l *store.Registry, o Options) part.Part {
	return part.Part{Loops: NewLoops(db, Rights(l, "agent"), o)}
}
