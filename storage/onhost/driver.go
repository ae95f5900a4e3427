package onhost

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
)

// Driver keeps volumes in one kind of place. It may be called from several hosts at once for the same
// place. Making what is there and removing what is absent succeed. What not every kind of place can do
// is an interface of its own, below; AbilitiesOf tells which a driver has.
type Driver interface {
	Devices
	Pool
}

// Drivers are found by the type of storage backend that they are for.
type Drivers map[storage.BackendType]Driver

// Of gives the driver for a storage backend. One of a type that this host does not know is of a newer version.
func (d Drivers) Of(t storage.BackendType) (Driver, error) {
	if driver := d[t]; driver != nil {
		return driver, nil
	}
	return nil, fault.New(fault.Precondition, "this host has no driver for storage backends of type %q; upgrade virga there", t)
}

// Devices is a driver's way to what lies behind a storage backend.
type Devices interface {
	// Scan looks at a place. An identity is made where there is none, but only if fresh is true.
	// Where there is none and fresh is false it fails with fault.Unavailable; where there is no such
	// place, which somebody has to make, with fault.Precondition.
	Scan(ctx context.Context, path string, fresh bool) (Found, error)
	// Leave takes the identity from a place, and what else the driver made there, if no volume or image
	// is left. What others put there stays. A place that is another one, or not there, is left alone.
	Leave(ctx context.Context, at Place) error
}

// Pool is a driver's way to the volumes of a place.
type Pool interface {
	// List tells all volumes and images that lie there, or fails.
	List(ctx context.Context, at Place) ([]Item, error)
	// EnsureVolume makes the layers of a volume that are not there yet, and tells its size and use, and all
	// layers that lie there. One that is there is left as it is. fault.Unavailable: its base is not there
	// yet. fault.Precondition: a layer was made, and is not there.
	EnsureVolume(ctx context.Context, at Place, v Volume) (Usage, error)
	// Open gives a layer of a volume to an owner, who writes to it, and all that it builds on, the nearest
	// first. fault.Precondition: an owner with a higher epoch has had it, or another one with the same, or
	// another layer builds on it.
	Open(ctx context.Context, at Place, o Owner) (storage.Source, []storage.Source, error)
	// RemoveVolume removes a volume. Only its id and epoch are read.
	RemoveVolume(ctx context.Context, at Place, v Volume) error
}

// Cloner is a driver whose volumes can start from content, sharing it until they are written to.
type Cloner interface {
	// EnsureImage keeps content under its digest. It reads content only where it is not there yet,
	// and refuses content that has another digest. What content opens fails when its context ends.
	// It returns the size of what is there, in MiB.
	EnsureImage(ctx context.Context, at Place, i Image, content func(context.Context) (io.ReadCloser, error)) (int64, error)
	// RemoveImage removes content. fault.Precondition: a volume is backed by it, and it stays.
	RemoveImage(ctx context.Context, at Place, i Image) error
}

// Grower is a driver that can make a volume larger.
type Grower interface {
	// Grow makes a volume at least so large that nobody has open: a QEMU process grows what it has open
	// by itself. fault.Unavailable: somebody has just opened it.
	Grow(ctx context.Context, at Place, v Volume) (Usage, error)
}

// Snapshotter is a driver whose volumes can have several layers.
type Snapshotter interface {
	// Rebase lets a layer build on the parent that v names: it pulls into it what lies between. What is seen
	// through it stays the same, whoever dies in the middle. Nobody may have it open. fault.Unavailable:
	// somebody has.
	Rebase(ctx context.Context, at Place, v Volume, layer string) error
	// RemoveLayer removes a layer that v does not name. fault.Precondition: it does, or another layer builds on it.
	// fault.Unavailable: somebody has it open.
	RemoveLayer(ctx context.Context, at Place, v Volume, layer string) error
}

// Tidier is a driver that makes things half in a place of their own.
type Tidier interface {
	// Tidy removes what was half made by those who died, and tells how many things that were. What
	// somebody is making, on whichever host, stays.
	Tidy(ctx context.Context, at Place) (int, error)
}

// AbilitiesOf tells what the volumes of a driver can do, for the host to report.
func AbilitiesOf(d Driver) []storage.Ability {
	var out []storage.Ability
	if _, can := d.(Cloner); can {
		out = append(out, storage.CanClone)
	}
	if _, can := d.(Grower); can {
		out = append(out, storage.CanGrow)
	}
	if _, can := d.(Snapshotter); can {
		out = append(out, storage.CanSnapshot)
	}
	return out
}

// PastEpoch refuses whoever comes with an epoch lower than one that was here. Of images and volumes
// the driver keeps the highest epoch of an owner host beside them, on the same storage, and compares
// before each act: a host that has not heard that another is the owner now can do no harm.
type PastEpoch struct{ Asked, Highest int64 }

func (e *PastEpoch) Error() string {
	return fmt.Sprintf("epoch %d is over: epoch %d was here", e.Asked, e.Highest)
}

// Judge compares an epoch with the highest one that was here: a fault.Precondition that holds a
// PastEpoch when it is lower.
func Judge(asked, highest int64) error {
	if asked >= highest {
		return nil
	}
	return fault.New(fault.Precondition, "%w", &PastEpoch{Asked: asked, Highest: highest})
}

// Highest gives the epoch that was in the way; 0: none was.
func Highest(err error) int64 {
	if past, ok := errors.AsType[*PastEpoch](err); ok {
		return past.Highest
	}
	return 0
}

// Missing says that a volume was made once and is not there.
func Missing(file string) error {
	return fault.New(fault.Precondition, "it was made, and its file %s is missing; nothing is made in its place: put it back there, and it is found by itself", file)
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

// Image is content, and the epoch of the host that looks after it.
type Image struct {
	Digest string
	Epoch  int64
}

// Volume is the desired state of a volume. Size in MiB.
type Volume struct {
	ID      resource.ID
	SizeMiB int64
	Base    *storage.Base
	// Epoch is that of the host that looks after it.
	Epoch int64
	// Chain are its layers.
	storage.Chain
	// Made are the layers that were made before. One that is missing is then an error, never a new one.
	Made []string
}

// Usage is what became of it. Sizes in MiB.
type Usage struct {
	SizeMiB, UsedMiB int64
	// Layers are those that lie there, each with the one that it builds on there.
	Layers []storage.Layer
}

// Owner wants to open a volume.
type Owner struct {
	VolumeID resource.ID
	// InstanceID is who: within one epoch there is one.
	InstanceID resource.ID
	Epoch      int64
	UID        int64
	// Layer is the one that it writes to.
	Layer string
}
