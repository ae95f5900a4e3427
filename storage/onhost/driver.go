package onhost

import (
	"context"
	"io"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
)

// Driver keeps volumes and images in one kind of place. It may be called from several hosts at
// once for the same place. Making what is there and removing what is absent succeed.
type Driver interface {
	// Scan looks at a place. An identity is made where there is none, but only if fresh is true.
	// Where there is none and fresh is false it fails with fault.Unavailable; where there is no such
	// place, which somebody has to make, with fault.Precondition.
	Scan(ctx context.Context, path string, fresh bool) (Found, error)
	// Leave takes the identity from a place, and what else the driver made there, if no volume or image
	// is left. What others put there stays. A place that is another one, or not there, is left alone.
	Leave(ctx context.Context, at Place) error
	// List tells all volumes and images that lie there, or fails.
	List(ctx context.Context, at Place) ([]Item, error)
	// EnsureImage keeps content under its digest. It reads content only where it is not there yet,
	// and refuses content that has another digest. What content opens fails when its context ends.
	// It returns the size of what is there, in MiB.
	EnsureImage(ctx context.Context, at Place, digest string, content func(context.Context) (io.ReadCloser, error)) (int64, error)
	// RemoveImage removes content that no volume is backed by.
	RemoveImage(ctx context.Context, at Place, digest string) error
	// EnsureVolume makes a volume, or grows it, unless it is in use. fault.Unavailable: its base is not
	// there yet, or somebody has just opened it.
	EnsureVolume(ctx context.Context, at Place, v Volume) (Usage, error)
	// Open gives the file of a volume to an owner. fault.Precondition: an owner with a higher epoch has had it.
	Open(ctx context.Context, at Place, o Owner) (Opened, error)
	// RemoveVolume removes a volume.
	RemoveVolume(ctx context.Context, at Place, id resource.ID) error
}

// Place is where a driver works. The identity that it finds there must be this one.
type Place struct{ Path, Identity string }

// Found is what a scan says of a place. Sizes in MiB.
type Found struct {
	Identity             string
	CapacityMiB, FreeMiB int64
}

// What an Item is.
const (
	AVolume  = "volume"
	AnImage  = "image"
	Leftover = "leftover" // half made, by somebody who died
)

// Item is something that lies in a place.
type Item struct {
	Kind    string
	Name    string // a volume's id, an image's digest
	UsedMiB int64
}

// Volume is the desired state for a volume. Size in MiB.
type Volume struct {
	ID      resource.ID
	SizeMiB int64
	Base    *storage.Base
	// InUse: a QEMU process may have it open, and grows it by itself; nobody else may touch it.
	InUse bool
}

// Usage is what became of it. Sizes in MiB.
type Usage struct{ SizeMiB, UsedMiB int64 }

// Owner wants to open a volume.
type Owner struct {
	VolumeID resource.ID
	Epoch    int64
	UID      int64
}

// Opened is what QEMU is told.
type Opened struct{ Path, Format string }
