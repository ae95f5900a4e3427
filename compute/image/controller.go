package image

import (
	"context"
	"os"
	"sync"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// Holder holds an image until its import has ended and nothing of it is staged.
const Holder = "image"

// Loop is the loop that starts imports and follows them.
func (s *Service) Loop() *reconcile.Loop {
	return &reconcile.Loop{Name: "compute/image", Kind: compute.Images.Kind, Step: s.Step}
}

// Step brings one image one step further.
func (s *Service) Step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap := s.db.Snapshot()
	i := store.Find(snap, compute.Images, id)
	if i == nil {
		return s.sweep(snap)
	}
	b := s.db.Begin()
	o := operation.InTheWay(snap, id)
	switch {
	case i.Deleting != nil && o != nil:
		if o.Spec.Cancel == "" && o.Status.Committed == "" {
			_ = operation.Cancel(b, s.operations, o)
		}
	case i.Deleting != nil:
		if err := s.Importer.Blobs.discard(id); err != nil {
			return reconcile.Result{}, err
		}
		store.Release(b, i, Holder)
	case i.Status.Phase == "":
		if err := s.begin(b, i); err != nil {
			return reconcile.Result{}, err
		}
	case i.Status.Phase == compute.ImageWaiting:
		if _, err := os.Lstat(s.Importer.Blobs.staged(id, content)); err == nil {
			if err := s.start(b, i); err != nil {
				return reconcile.Result{}, err
			}
		}
	case i.Status.Phase == compute.ImageImporting:
		s.follow(b, i, store.Find(snap, operation.Operations, i.Status.OperationID))
	}
	return reconcile.Result{}, s.db.Commit(ctx, b)
}

// begin waits for content that will be sent, and starts to get all other.
func (s *Service) begin(b *store.Batch, i *compute.Image) error {
	store.Hold(b, i, Holder)
	if i.Spec.Source.Type != compute.Upload {
		return s.start(b, i)
	}
	s.statuses.Set(b, i, func(t *compute.ImageStatus) { t.SeenGeneration, t.Phase = i.Generation, compute.ImageWaiting })
	return nil
}

// start writes the operation and its id in one commit; the runner begins after that.
func (s *Service) start(b *store.Batch, i *compute.Image) error {
	o, err := operation.Start(b, s.operations, operation.Request{Type: ImportType, Targets: []resource.Ref{i.Ref()}, By: "image loop"})
	if err != nil {
		return err
	}
	s.statuses.Set(b, i, func(t *compute.ImageStatus) {
		t.SeenGeneration, t.Phase, t.OperationID = i.Generation, compute.ImageImporting, o.ID
	})
	return nil
}

// follow tells of an import that failed. One that succeeds writes the status itself.
func (s *Service) follow(b *store.Batch, i *compute.Image, o *operation.Operation) {
	if o != nil && !operation.Ended(o) {
		return
	}
	kind, why := string(fault.Internal), "its import has vanished; delete the image and make it again"
	if o != nil && o.Status.Why != "" {
		kind, why = o.Status.WhyKind, o.Status.Why
	}
	if kind == "" {
		kind = string(fault.Precondition)
	}
	s.statuses.Set(b, i, func(t *compute.ImageStatus) {
		t.SeenGeneration, t.Phase = i.Generation, compute.ImageFailed
		t.Problems = resource.SetProblem(t.Problems, kind, why, s.db.Now())
	})
}

// blobsStay is how long content stays that no record names: an import that is about to be
// committed has kept it already.
const blobsStay = time.Hour

// sweepEvery is how often is looked for content that no record names any more.
const sweepEvery = 10 * time.Minute

// sweeps keeps one sweep at a time.
type sweeps struct {
	sync.Mutex
	next time.Time
}

// Sweeping is the loop that removes what is left when the last VM of a deleted image has gone, or
// when a server ended too early to do it. No record tells of that moment, so it looks by the clock,
// called for datastores because every cloud has one.
func (s *Service) Sweeping() *reconcile.Loop {
	step := func(context.Context, resource.ID) (reconcile.Result, error) {
		s.sweeps.Lock()
		wait := s.sweeps.next.Sub(s.db.Now())
		s.sweeps.Unlock()
		if wait > 0 && wait <= sweepEvery {
			return reconcile.Result{}, nil
		}
		return s.sweep(s.db.Snapshot())
	}
	return &reconcile.Loop{Name: "compute/content", Kind: storage.Datastores.Kind, Resync: sweepEvery, Step: step}
}

// sweep removes content that no record names. It is called when an image has gone, and by the clock.
func (s *Service) sweep(snap *store.Snapshot) (reconcile.Result, error) {
	s.sweeps.Lock()
	defer s.sweeps.Unlock()
	s.sweeps.next = s.db.Now().Add(sweepEvery)
	needed := map[string]bool{}
	for _, i := range store.Every(snap, compute.Images) {
		needed[i.Status.Digest] = true
		for _, d := range i.Status.DataDisks {
			needed[d.Content] = true
		}
		if i.Status.Phase == compute.ImageImporting { // what it keeps is not known yet
			return reconcile.Result{After: time.Minute}, nil
		}
	}
	for _, v := range store.Every(snap, storage.Volumes) {
		if v.Spec.Base != nil {
			needed[v.Spec.Base.Digest] = true
		}
	}
	for _, a := range store.Every(snap, storage.Allocations) {
		if a.Spec.Base != nil {
			needed[a.Spec.Base.Digest] = true
		}
	}
	for _, c := range store.Every(snap, storage.ImageCopies) {
		needed[c.Spec.Digest] = true
	}
	young, err := s.Importer.Blobs.Sweep(func(d string) bool { return needed[d] }, blobsStay, s.db.Now())
	if young > 0 {
		return reconcile.Result{After: sweepEvery}, err
	}
	return reconcile.Result{}, err
}
