package task

import (
	"context"

	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Controller is the servers' half: it takes tasks away with what they work on, and when they are of the past.
type Controller struct {
	db    *store.DB
	specs *store.SpecWriter[Spec, Status]
}

// NewController makes it.
func NewController(db *store.DB, specs *store.SpecWriter[Spec, Status]) *Controller {
	return &Controller{db: db, specs: specs}
}

// Loop is its loop. A task is looked at when a record that it speaks of is being deleted, or has gone.
func (c *Controller) Loop() *reconcile.Loop {
	also := map[resource.Kind]func(resource.Object) []resource.ID{}
	for _, d := range c.db.Catalog().All() {
		also[d.Kind] = func(x resource.Object) (out []resource.ID) {
			if x.Head().Deleting == nil {
				return nil
			}
			for _, t := range store.Referring(c.db.Snapshot(), Tasks, x.Head().ID) {
				out = append(out, t.ID)
			}
			return out
		}
	}
	return &reconcile.Loop{Name: "task/end", Kind: Tasks.Kind, Also: also, Step: c.Step}
}

// Step looks at one task.
func (c *Controller) Step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap := c.db.Snapshot()
	t := store.Find(snap, Tasks, id)
	if t == nil {
		return reconcile.Result{}, nil
	}
	left := t.Status.EndedAt.Add(Kept).Sub(c.db.Now())
	b := c.db.Begin()
	switch {
	case snap.Lookup(t.Spec.HostID) == nil: // its host was removed: nobody else can stop it, or will
		store.MarkDeleting(b, t)
		store.Release(b, t, Holder)
	case goes(snap, t.Spec.Target.ID), t.Owner != nil && goes(snap, t.Owner.ID), Ended(t) && left <= 0:
		c.specs.Delete(b, t)
	case Ended(t):
		return reconcile.Result{After: left}, nil
	}
	return reconcile.Result{}, c.db.Commit(ctx, b)
}

// goes reports whether a record is gone, or is being deleted.
func goes(s *store.Snapshot, id resource.ID) bool {
	x := s.Lookup(id)
	return x == nil || x.Head().Deleting != nil
}
