package onhost

import (
	"context"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// imageCopy fetches content, or removes it. Only the owner host does either.
func (a *Agent) imageCopy(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap := a.db.Snapshot()
	c := store.Find(snap, storage.ImageCopies, id)
	if c == nil || c.Spec.OwnerHostID != a.host {
		return reconcile.Result{}, nil
	}
	at, met := a.place(snap, c.Spec.DatastoreID, c.Spec.BackendID)
	if c.Deleting != nil {
		return reconcile.Result{}, a.removeCopy(ctx, c, at, met)
	}
	var size int64
	cloner, met := cloning(at, met)
	if met == nil {
		size, met = cloner.EnsureImage(ctx, at.Place, Image{c.Spec.Digest, c.Spec.Epoch}, func(ctx context.Context) (io.ReadCloser, error) {
			in, _, err := a.fetch(ctx, c.Spec.Digest)
			return &told{ReadCloser: in, once: a.longFetch(ctx, c)}, err
		})
	}
	if c = store.Find(a.db.Snapshot(), storage.ImageCopies, id); c == nil {
		return reconcile.Result{}, nil
	}
	b := a.db.Begin()
	a.w.ImageCopies.Set(b, c, func(s *storage.ImageCopyStatus) {
		s.Observed = a.observed(s.Observed, c.Generation, met)
		s.Phase, s.HighestEpoch = phaseOf(met), max(s.HighestEpoch, Highest(met))
		if met == nil {
			s.SizeMiB = size
		}
	})
	return reconcile.Result{}, a.commit(ctx, b, met)
}

// cloning gives the driver that keeps content.
func cloning(at within, met error) (Cloner, error) {
	c, can := at.Driver.(Cloner)
	if met == nil && !can {
		met = fault.New(fault.Precondition, "volumes on this datastore cannot start from an image")
	}
	return c, met
}

// longFetch tells once of a fetch that takes long. A further try after a failure is not told.
func (a *Agent) longFetch(ctx context.Context, c *storage.ImageCopy) func() error {
	done := len(c.Status.Problems) > 0
	return func() error {
		if done || c.Young(a.db.Now()) {
			return nil
		}
		done = true
		b := a.db.Begin()
		a.w.ImageCopies.Set(b, c, func(s *storage.ImageCopyStatus) { s.Phase = storage.Fetching })
		return a.db.Commit(ctx, b)
	}
}

// told is content whose reading is told.
type told struct {
	io.ReadCloser
	once func() error
}

// Read implements io.Reader.
func (t *told) Read(p []byte) (int, error) {
	if err := t.once(); err != nil {
		return 0, err
	}
	return t.ReadCloser.Read(p)
}

func (a *Agent) removeCopy(ctx context.Context, c *storage.ImageCopy, at within, met error) error {
	cloner, met := cloning(at, met)
	if met == nil {
		met = a.destroy(func() error { return cloner.RemoveImage(ctx, at.Place, Image{c.Spec.Digest, c.Spec.Epoch}) })
	}
	b := a.db.Begin()
	if met != nil {
		a.w.ImageCopies.Set(b, c, func(s *storage.ImageCopyStatus) {
			s.Observed, s.HighestEpoch = a.observed(s.Observed, c.Generation, met), max(s.HighestEpoch, Highest(met))
		})
		return a.commit(ctx, b, met)
	}
	store.Release(b, c, storage.AgentHolder)
	return a.db.Commit(ctx, b)
}

// destroy does what cannot be undone, if the view is current. One that is behind may show a deletion of
// long ago, and somebody else may have made the same thing anew since.
func (a *Agent) destroy(do func() error) error {
	if doubt := a.known.Doubt(); doubt != nil {
		return fault.New(fault.Unavailable, "remove a file: %w", doubt)
	}
	return do()
}

// growing is how often is looked at a file that a QEMU process is to grow.
const growing = time.Second

// allocation makes, grows or removes a volume's file. Only the owner host does. While a host uses the
// file it is QEMU's there: it grows the file itself, and we only see that it has.
func (a *Agent) allocation(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap := a.db.Snapshot()
	al := store.Find(snap, storage.Allocations, id)
	if al == nil || al.Spec.OwnerHostID != a.host {
		return reconcile.Result{}, nil
	}
	at, met := a.place(snap, al.Spec.DatastoreID, al.Spec.BackendID)
	if al.Deleting != nil {
		return reconcile.Result{}, a.removeAllocation(ctx, snap, al, at, met)
	}
	var u Usage
	if met == nil {
		u, met = a.ensure(ctx, al, at)
	}
	if met == nil {
		u, met = a.tend(ctx, al, at, u)
	}
	result := reconcile.Result{}
	if met == nil && (u.SizeMiB < al.Spec.SizeMiB || len(planLayers(al.Spec.Chain(), u.Layers, false)) > 0) {
		result.After = growing
	}
	layers := coarseLayers(u.Layers)
	b, opened := a.db.Begin(), map[resource.ID]int64{}
	switch s := al.Status; {
	case met == nil && s.Phase == storage.Ready && s.SizeMiB == u.SizeMiB && s.UsedMiB == coarseUse(u.UsedMiB) && slices.Equal(s.Layers, layers) && len(s.Problems) == 0:
		return result, nil // which hosts use it is no business of its file
	case phaseOf(met) == storage.Pending && s.Phase == "" && al.Young(a.db.Now()):
		return result, met // its image comes: that is no news yet
	case met == nil:
		opened = a.openWaiting(ctx, b, al, at)
	}
	a.w.Allocations.Set(b, al, func(s *storage.AllocationStatus) {
		s.Observed, s.HighestEpoch = a.observed(s.Observed, al.Generation, met), max(s.HighestEpoch, Highest(met))
		if s.Phase != storage.Ready || met == nil {
			s.Phase = phaseOf(met) // what was made stays made, whatever fails later
		}
		if met == nil {
			s.SizeMiB, s.UsedMiB, s.Layers = u.SizeMiB, coarseUse(u.UsedMiB), layers
		}
	})
	err := a.commit(ctx, b, met)
	if err == nil {
		for id, generation := range opened {
			a.opened.add(id, generation)
		}
	}
	return result, err
}

// ensure makes a volume, and makes it larger where nobody may have it open.
func (a *Agent) ensure(ctx context.Context, al *storage.Allocation, at within) (Usage, error) {
	v := volumeOf(al)
	u, err := at.EnsureVolume(ctx, at.Place, v)
	if err != nil || u.SizeMiB >= v.SizeMiB || len(al.Spec.HostIDs) > 0 {
		return u, err
	}
	g, can := at.Driver.(Grower)
	if !can {
		return u, fault.New(fault.Precondition, "volume %s has %d MiB, and volumes on this datastore cannot grow", v.ID, u.SizeMiB)
	}
	return g.Grow(ctx, at.Place, v)
}

// openWaiting opens a volume that was just made for those who wait for it on this host, in the same
// commit: their guest waits for both. What cannot be opened is left to its own loop, which says why.
func (a *Agent) openWaiting(ctx context.Context, b *store.Batch, al *storage.Allocation, place within) map[resource.ID]int64 {
	opened := map[resource.ID]int64{}
	if al.Status.Phase == storage.Ready {
		return opened
	}
	for _, at := range store.Referring(a.db.Snapshot(), storage.Attachments, al.Spec.VolumeID) {
		if at.Spec.HostID != a.host || at.Deleting != nil || at.Status.Phase == storage.AttachmentReady {
			continue
		}
		if source, backing, err := place.Open(ctx, place.Place, ownerOf(at, al)); err == nil {
			a.report(b, at, source, backing, nil)
			opened[at.ID] = at.Generation
		}
	}
	return opened
}

func ownerOf(at *storage.Attachment, al *storage.Allocation) Owner {
	return Owner{VolumeID: at.Spec.VolumeID, InstanceID: at.Spec.InstanceID, Epoch: at.Spec.Epoch, UID: at.Spec.UID, Layer: al.Spec.ActiveLayer}
}

// report writes how the opening of a volume went.
func (a *Agent) report(b *store.Batch, at *storage.Attachment, source storage.Source, backing []storage.Source, met error) {
	a.w.Attachments.Set(b, at, func(s *storage.AttachmentStatus) {
		s.Observed = a.observed(s.Observed, at.Generation, met)
		s.Phase, s.Source, s.Backing, s.HighestEpoch = storage.AttachmentReady, source, backing, max(s.HighestEpoch, Highest(met))
		if met != nil {
			s.Phase = storage.AttachmentWaiting
		}
	})
}

// coarseUse rounds up, so that a guest that writes does not write a record with every look.
func coarseUse(used int64) int64 {
	step := int64(16)
	if used > 4096 {
		step = 256
	}
	return (used + step - 1) / step * step
}

func (a *Agent) removeAllocation(ctx context.Context, snap *store.Snapshot, al *storage.Allocation, at within, met error) error {
	if used := store.Referring(snap, storage.Attachments, al.Spec.VolumeID); met == nil && len(used) > 0 {
		met = fault.New(fault.Unavailable, "remove volume %s: it is still attached on this host", al.Spec.VolumeID)
	}
	if met == nil {
		met = a.destroy(func() error {
			return at.RemoveVolume(ctx, at.Place, volumeOf(al))
		})
	}
	b := a.db.Begin()
	if met != nil {
		a.w.Allocations.Set(b, al, func(s *storage.AllocationStatus) {
			s.Observed, s.HighestEpoch = a.observed(s.Observed, al.Generation, met), max(s.HighestEpoch, Highest(met))
		})
		return a.commit(ctx, b, met)
	}
	store.Release(b, al, storage.AgentHolder)
	return a.db.Commit(ctx, b)
}

// attachment opens a volume for one owner. Once this process has opened it, it is not asked again:
// while a VM moves, the target's higher epoch must not take the disk from the running source.
// After a restart it is asked again, and an owner of the past is refused.
func (a *Agent) attachment(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap := a.db.Snapshot()
	at := store.Find(snap, storage.Attachments, id)
	if at == nil || at.Spec.HostID != a.host {
		a.opened.forget(id)
		return reconcile.Result{}, nil
	}
	b := a.db.Begin()
	if at.Deleting != nil {
		a.opened.forget(id)
		a.w.Attachments.Set(b, at, func(s *storage.AttachmentStatus) {
			s.Observed, s.Phase, s.Source, s.Backing = a.observed(s.Observed, at.Generation, nil), storage.AttachmentClosed, storage.Source{}, nil
		})
		store.Release(b, at, storage.AgentHolder)
		return reconcile.Result{}, a.db.Commit(ctx, b)
	}
	if at.Status.Phase == storage.AttachmentReady && a.opened.has(id, at.Generation) {
		return reconcile.Result{}, nil
	}
	source, backing, met := a.open(ctx, snap, at)
	if phaseOf(met) == storage.Pending && at.Status.Phase == "" && at.Young(a.db.Now()) {
		return reconcile.Result{}, met
	}
	a.report(b, at, source, backing, met)
	err := a.commit(ctx, b, met)
	if err == nil {
		a.opened.add(id, at.Generation)
	}
	return reconcile.Result{}, err
}

func (a *Agent) open(ctx context.Context, snap *store.Snapshot, at *storage.Attachment) (storage.Source, []storage.Source, error) {
	for _, al := range store.Referring(snap, storage.Allocations, at.Spec.VolumeID) {
		there := storage.Chain{Layers: al.Status.Layers}
		if al.Deleting != nil || al.Status.Phase != storage.Ready || there.Find(al.Spec.ActiveLayer) == nil {
			return storage.Source{}, nil, fault.New(fault.Unavailable, "volume %s is not made yet%s", at.Spec.VolumeID, because(al.Status.Observed))
		}
		place, err := a.place(snap, al.Spec.DatastoreID, al.Spec.BackendID)
		if err != nil {
			return storage.Source{}, nil, err
		}
		return place.Open(ctx, place.Place, ownerOf(at, al))
	}
	return storage.Source{}, nil, fault.New(fault.Unavailable, "volume %s has no place yet", at.Spec.VolumeID)
}

func because(o resource.Observed) string {
	if len(o.Problems) == 0 {
		return ""
	}
	return ": " + o.Problems[0].Message
}

// openings remembers what this process has opened.
type openings struct {
	mu   sync.Mutex
	made map[resource.ID]int64
}

func newOpenings() *openings { return &openings{made: map[resource.ID]int64{}} }

func (o *openings) has(id resource.ID, generation int64) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	g, ok := o.made[id]
	return ok && g == generation
}

func (o *openings) add(id resource.ID, generation int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.made[id] = generation
}

func (o *openings) forget(id resource.ID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.made, id)
}
