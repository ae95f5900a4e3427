package onhost

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// Options are what the loops of a host work with.
type Options struct {
	// HostID is this host.
	HostID resource.ID
	// Drivers are those that this host has.
	Drivers Drivers
	// Fetch gives an image's content from the server, and its length in bytes. Reading it fails when
	// the context ends.
	Fetch func(ctx context.Context, digest string) (io.ReadCloser, int64, error)
	// Current says why the view may be behind what the servers have: then nothing is removed. Nil: it never is.
	Current func() error
	// Below is the folder that relative paths of storage backends are below: the state folder.
	Below string
}

// Agent is the storage half of a host's agent.
type Agent struct {
	db      *store.DB
	w       Writers
	host    resource.ID
	drivers Drivers
	fetch   func(ctx context.Context, digest string) (io.ReadCloser, int64, error)
	opened  *openings
	below   string

	known reconcile.Knowledge

	looking sync.Mutex // one at a time finds or leaves a folder
}

// NewLoops makes the loops of one host.
func NewLoops(db *store.DB, w Writers, o Options) []*reconcile.Loop {
	a := &Agent{db: db, w: w, host: o.HostID, drivers: o.Drivers, fetch: o.Fetch, opened: newOpenings(), below: o.Below, known: reconcile.Knowledge{DB: db, Current: o.Current}}
	return []*reconcile.Loop{
		{Name: "storage/onhost/scan", Kind: storage.Backends.Kind, Step: a.scan, Resync: scanEvery, Gather: gathered,
			Also: map[resource.Kind]func(resource.Object) []resource.ID{
				storage.Datastores.Kind: func(x resource.Object) []resource.ID {
					return []resource.ID{x.(*storage.Datastore).Spec.BackendID}
				},
			}},
		{Name: "storage/onhost/device", Kind: storage.Devices.Kind, Step: a.device,
			Also: map[resource.Kind]func(resource.Object) []resource.ID{storage.Backends.Kind: a.devicesOf}},
		{Name: "storage/onhost/imagecopy", Kind: storage.ImageCopies.Kind, Step: a.imageCopy, Workers: 2,
			Also: map[resource.Kind]func(resource.Object) []resource.ID{storage.Datastores.Kind: a.copiesOn}},
		{Name: "storage/onhost/allocation", Kind: storage.Allocations.Kind, Step: a.allocation, Workers: 4, Resync: time.Minute,
			Also: map[resource.Kind]func(resource.Object) []resource.ID{
				storage.ImageCopies.Kind: a.allocationsFrom, storage.Datastores.Kind: a.allocationsOn,
			}},
		{Name: "storage/onhost/attachment", Kind: storage.Attachments.Kind, Step: a.attachment, Workers: 4,
			Also: map[resource.Kind]func(resource.Object) []resource.ID{storage.Allocations.Kind: a.attachmentsOf}},
	}
}

// scanEvery is how often a host looks at what its storage backends have free.
const scanEvery = 30 * time.Second

// gathered are changes of a datastore that are no reason to look: it moved by what we have told of it.
func gathered(d store.Delta) time.Duration {
	was, before := d.Old.(*storage.Datastore)
	is, after := d.New.(*storage.Datastore)
	if before && after && was.Generation == is.Generation && was.Status.Identity == is.Status.Identity && slices.Equal(was.Status.HostIDs, is.Status.HostIDs) {
		return scanEvery
	}
	return 0
}

// within is a driver with the place that it is to work in.
type within struct {
	Driver
	Place
}

// place says where a datastore lies on this host, and which driver works there.
func (a *Agent) place(snap *store.Snapshot, datastoreID, backendID resource.ID) (within, error) {
	d, err := store.Need(snap, storage.Datastores, datastoreID)
	if err != nil {
		return within{}, fault.New(fault.Unavailable, "find the datastore: %w", err)
	}
	r, err := store.Need(snap, storage.Backends, backendID)
	if err != nil {
		return within{}, fault.New(fault.Unavailable, "find the storage of datastore %s: %w", d.Name, err)
	}
	if d.Status.Identity == "" {
		return within{}, fault.New(fault.Unavailable, "datastore %s has not been found on any host yet", d.Name)
	}
	driver, err := a.drivers.Of(r.Spec.Type)
	return within{driver, Place{Path: a.pathOf(r), Identity: d.Status.Identity}}, err
}

// pathOf is where a folder is on this host.
func (a *Agent) pathOf(r *storage.Backend) string {
	if filepath.IsAbs(r.Spec.Path) {
		return r.Spec.Path
	}
	return filepath.Join(a.below, r.Spec.Path)
}

// observed makes the common part of a status from what a step has met.
func (a *Agent) observed(old resource.Observed, generation int64, err error) resource.Observed {
	message := ""
	if err != nil {
		message = err.Error()
	}
	return resource.Observed{SeenGeneration: generation,
		Problems: resource.SetProblem(old.Problems, string(fault.KindOf(err)), message, a.db.Now())}
}

// phaseOf says whether what failed may still come by itself.
func phaseOf(err error) string {
	switch fault.KindOf(err) {
	case "":
		return storage.Ready
	case fault.Unavailable, fault.Conflict:
		return storage.Pending
	}
	return storage.Failed
}

// commit writes what a step has met and hands on the step's own error, so that it is tried again.
func (a *Agent) commit(ctx context.Context, b *store.Batch, met error) error {
	// a step that ends because the daemon does says nothing of the world
	if met != nil && errors.Is(met, context.Canceled) && ctx.Err() != nil {
		return met
	}
	if err := a.db.Commit(ctx, b); err != nil {
		return err
	}
	return met
}

func (a *Agent) devicesOf(x resource.Object) []resource.ID {
	return ids(store.Referring(a.db.Snapshot(), storage.Devices, x.Head().ID))
}

func (a *Agent) copiesOn(x resource.Object) []resource.ID {
	return ids(store.Referring(a.db.Snapshot(), storage.ImageCopies, x.Head().ID))
}

func (a *Agent) allocationsOn(x resource.Object) []resource.ID {
	return ids(store.Referring(a.db.Snapshot(), storage.Allocations, x.Head().ID))
}

// allocationsFrom are those that are backed by a copy.
func (a *Agent) allocationsFrom(x resource.Object) []resource.ID {
	c := x.(*storage.ImageCopy)
	var out []resource.ID
	for _, al := range store.Referring(a.db.Snapshot(), storage.Allocations, c.Spec.DatastoreID) {
		if al.Spec.Base != nil && al.Spec.Base.Digest == c.Spec.Digest {
			out = append(out, al.ID)
		}
	}
	return out
}

func (a *Agent) attachmentsOf(x resource.Object) []resource.ID {
	return ids(store.Referring(a.db.Snapshot(), storage.Attachments, x.(*storage.Allocation).Spec.VolumeID))
}

func ids[S, T any](records []*resource.Record[S, T]) []resource.ID {
	var out []resource.ID
	for _, r := range records {
		out = append(out, r.ID)
	}
	return out
}
