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

// tries is how often what a batch brings along is derived anew, when it is overtaken by others.
const tries = 20

// Commit commits a batch, with all that its records bring along, and returns when the view shows it.
// An empty batch does nothing.
func (d *DB) Commit(ctx context.Context, b *Batch) error {
	if b.err != nil || b.Empty() {
		return b.err
	}
	_, err := d.attempt(ctx, b)
	return err
}

// Judge refuses a batch as its commit would, by the present picture, and commits nothing.
func (d *DB) Judge(b *Batch) error {
	_, err := d.changes(b)
	return err
}

func (d *DB) attempt(ctx context.Context, b *Batch) (int64, error) {
	defer d.inLine(b)()
	for try := 1; ; try++ {
		changes, err := d.changes(b)
		if err == nil {
			var revision int64
			if revision, err = d.commit(ctx, changes); err == nil || !overtaken(b, err) {
				return revision, err
			}
		} else if !fault.Is(err, fault.NotFound) { // what this view does not show may be newer than it is
			return 0, err
		}
		if try == tries || d.CaughtUp(ctx) != nil {
			return 0, err
		}
	}
}

func (d *DB) changes(b *Batch) ([]Change, error) {
	var fence []Change
	if d.Fence != nil { // first: who does not lead is told so, and nothing else
		c, err := d.Fence()
		if err != nil {
			return nil, fault.Wrap(err, "commit")
		}
		fence = []Change{c}
	}
	changes, err := b.changes()
	if err != nil {
		return nil, err
	}
	if below, can := d.store.(Deriving); !can || !below.Derives() {
		along, err := d.derive(b)
		if err != nil {
			return nil, err
		}
		changes = append(changes, along...)
	}
	if changes, err = merge(changes); err != nil || len(changes) == 0 {
		return nil, err
	}
	return append(b.stamp(d.catalog, changes), fence...), nil
}

func (d *DB) commit(ctx context.Context, changes []Change) (int64, error) {
	revision, err := d.store.Commit(ctx, changes...)
	if err != nil {
		return 0, err
	}
	return revision, d.shown(ctx, revision)
}

func (d *DB) shown(ctx context.Context, revision int64) error {
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

// CaughtUp returns when the view shows all that was committed before, by whomever.
func (d *DB) CaughtUp(ctx context.Context) error {
	revision, err := d.store.Commit(ctx)
	if err != nil {
		return err
	}
	return d.shown(ctx, revision)
}

// Store gives the store below, for what is no record.
func (d *DB) Store() Store { return d.store }

// Catalog gives the kinds.
func (d *DB) Catalog() *resource.Catalog { return d.catalog }
