package store

import (
	"context"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// DB is a Store with the View that it feeds. It is what loops, planners and routes are given.
type DB struct {
	*View
	// Now is the clock; the simulator has its own.
	Now func() time.Time
	// Fence, if set, is added to every commit: a leader's proof that it still leads.
	// An error refuses the commit: it leads no more.
	Fence func() (Change, error)
	// Inline lets a commit bring the view up to date by CatchUp, where no goroutine runs the
	// view: in the simulator and in tests of one goroutine.
	Inline bool
}

// NewDB makes a DB on a store, with the real clock.
func NewDB(s Store, c *resource.Catalog) *DB {
	return &DB{View: NewView(s, c), Now: time.Now}
}

// Begin starts a batch.
func (d *DB) Begin() *Batch { return NewBatch(d.Now()) }

// Commit commits a batch and returns when the view shows it. An empty batch does nothing.
func (d *DB) Commit(ctx context.Context, b *Batch) error {
	changes, err := b.Changes()
	if err != nil || len(changes) == 0 {
		return err
	}
	changes = Stamp(d.catalog, changes)
	if d.Fence != nil {
		fence, err := d.Fence()
		if err != nil {
			return fault.Wrap(err, "commit")
		}
		changes = append(changes, fence)
	}
	revision, err := d.store.Commit(ctx, changes...)
	if err != nil {
		return err
	}
	if d.Inline {
		return d.CatchUp(ctx)
	}
	return d.WaitFor(ctx, revision)
}

// Confirm reports whether the fence still holds, by asking the store. It comes before effects that no
// commit guards: rows of another database.
func (d *DB) Confirm(ctx context.Context) error {
	if d.Fence == nil {
		return nil
	}
	fence, err := d.Fence()
	if err == nil {
		_, err = d.store.Commit(ctx, fence)
	}
	return fault.Wrap(err, "ask who leads")
}

// Store gives the store below, for what is no record.
func (d *DB) Store() Store { return d.store }

// Catalog gives the kinds.
func (d *DB) Catalog() *resource.Catalog { return d.catalog }
