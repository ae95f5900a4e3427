package storage

import (
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// Controller is the server half of storage.
type Controller struct {
	db     *store.DB
	w      Writers
	policy Policy

	mu     sync.Mutex
	unused map[resource.ID]time.Time // image copies that nobody needs, and since when we know
	unfit  map[resource.ID]struct{}  // volumes for which no datastore was fit when they were last looked at
}

// NewLoops makes the server's loops. The zero policy is the default one.
func NewLoops(db *store.DB, w Writers, p Policy) []*reconcile.Loop {
	c := &Controller{db: db, w: w, policy: p.orDefault(), unused: map[resource.ID]time.Time{}, unfit: map[resource.ID]struct{}{}}
	also := func(kind resource.Kind, f func(resource.Object) []resource.ID) map[resource.Kind]func(resource.Object) []resource.ID {
		return map[resource.Kind]func(resource.Object) []resource.ID{kind: f}
	}
	datastore := also(Devices.Kind, func(x resource.Object) []resource.ID {
		return ids(referring(c.db, Datastores, x.(*Device).Spec.BackendID))
	})
	datastore[host.Livenesses.Kind] = func(x resource.Object) []resource.ID { return c.datastoresOf(x.(*host.Liveness).Spec.HostID) }
	datastore[host.Removals.Kind] = func(x resource.Object) []resource.ID { return c.datastoresOf(x.(*host.Removal).Spec.HostID) }
	volume := also(Datastores.Kind, c.volumesMoved)
	volume[host.Livenesses.Kind] = func(x resource.Object) []resource.ID {
		return volumesOf(referring(c.db, Allocations, x.(*host.Liveness).Spec.HostID))
	}
	volume[ImageCopies.Kind] = func(x resource.Object) []resource.ID {
		return volumesOf(referring(c.db, Allocations, x.(*ImageCopy).Spec.DatastoreID))
	}
	imageCopy := also(Allocations.Kind, func(x resource.Object) []resource.ID {
		return ids(referring(c.db, ImageCopies, x.(*Allocation).Spec.DatastoreID))
	})
	imageCopy[host.Livenesses.Kind] = func(x resource.Object) []resource.ID {
		return ids(referring(c.db, ImageCopies, x.(*host.Liveness).Spec.HostID))
	}
	imageCopy[Datastores.Kind] = func(x resource.Object) []resource.ID {
		return ids(referring(c.db, ImageCopies, x.Head().ID))
	}
	// One worker for volumes: admission adds up what is promised, and must see its own last promise.
	return []*reconcile.Loop{
		{Name: "storage/backend", Kind: Backends.Kind, Step: c.backend},
		{Name: "storage/datastore", Kind: Datastores.Kind, Step: c.datastore, Also: datastore, Gather: gathered},
		{Name: "storage/volume", Kind: Volumes.Kind, Step: c.volume, Also: volume, Workers: 1},
		{Name: "storage/imagecopy", Kind: ImageCopies.Kind, Step: c.imageCopy, Also: imageCopy},
	}
}

// figures is how long what a datastore has promised and has free may be behind: the disks of many VMs
// that are made at once are added up once. Whoever decides adds up the allocations itself.
const figures = 2 * time.Second

// gathered are changes that move the figures of a datastore, and nothing else of it.
func gathered(d store.Delta) time.Duration {
	switch was := d.Old.(type) {
	case *Device:
		is, there := d.New.(*Device)
		if there && was.Generation == is.Generation && (was.Deleting == nil) == (is.Deleting == nil) && slices.Equal(was.Status.Problems, is.Status.Problems) {
			return figures
		}
	case *Allocation, *Volume:
		return figures
	case nil:
		switch d.New.(type) {
		case *Allocation, *Volume, *ImageCopy:
			return figures
		}
	}
	return 0
}

// volumesMoved are those that a change of a datastore may concern: those for which none was fit, and those
// on it when it is no longer ready.
func (c *Controller) volumesMoved(x resource.Object) []resource.ID {
	d := x.(*Datastore)
	c.mu.Lock()
	out := slices.Collect(maps.Keys(c.unfit))
	c.mu.Unlock()
	if d.Status.Phase != DatastoreReady {
		out = append(out, ids(referring(c.db, Volumes, d.ID))...)
	}
	return sorted(out)
}

// waits remembers whether a volume waits for a datastore that is fit.
func (c *Controller) waits(id resource.ID, waits bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if waits {
		c.unfit[id] = struct{}{}
	} else {
		delete(c.unfit, id)
	}
}

// datastoresOf are those that a host reaches, or shall.
func (c *Controller) datastoresOf(hostID resource.ID) []resource.ID {
	backends := ids(referring(c.db, Backends, hostID))
	for _, d := range referring(c.db, Devices, hostID) {
		backends = append(backends, d.Spec.BackendID)
	}
	var out []resource.ID
	for _, id := range sorted(backends) {
		out = append(out, ids(referring(c.db, Datastores, id))...)
	}
	return out
}

// referring lists the records of a type that refer to id, in the present picture.
func referring[S, T any](db *store.DB, t *resource.Type[S, T], id resource.ID) []*resource.Record[S, T] {
	return store.Referring(db.Snapshot(), t, id)
}

func volumesOf(allocations []*Allocation) []resource.ID {
	var out []resource.ID
	for _, a := range allocations {
		out = append(out, a.Spec.VolumeID)
	}
	return out
}

func ids[S, T any](records []*resource.Record[S, T]) []resource.ID {
	var out []resource.ID
	for _, r := range records {
		out = append(out, r.ID)
	}
	return out
}

// observed makes the common part of a status from what keeps a record from being as specified.
func (c *Controller) observed(old resource.Observed, generation int64, kind, message string) resource.Observed {
	return resource.Observed{SeenGeneration: generation, Problems: resource.SetProblem(old.Problems, kind, message, c.db.Now())}
}

// sorted gives ids without repetition, in order.
func sorted(in []resource.ID) []resource.ID {
	out := slices.Clone(in)
	slices.Sort(out)
	return slices.Compact(out)
}
