package store

import (
	"context"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Shared gives the store to those who have no DB on it, the agents: its watches follow the view, and its
// commits bring along what their records do.
func (d *DB) Shared() Store { return shared{d.store, d} }

type shared struct {
	Store
	db *DB
}

// Derives implements Deriving.
func (shared) Derives() bool { return true }

// Watch implements Store.
func (s shared) Watch(ctx context.Context, after int64) (Watch, error) {
	return s.db.Watch(ctx, after)
}

// Commit implements Store.
func (s shared) Commit(ctx context.Context, changes ...Change) (int64, error) {
	b, err := s.db.read(ctx, changes)
	if err != nil {
		return 0, err
	}
	return s.db.attempt(ctx, b)
}

// Complete gives the changes of somebody who has no DB with all that their records bring along.
func (d *DB) Complete(ctx context.Context, changes ...Change) ([]Change, error) {
	b, err := d.read(ctx, changes)
	if err != nil {
		return nil, err
	}
	return d.changes(b)
}

// read makes a batch of changes. What this program does not understand goes on as it is.
func (d *DB) read(ctx context.Context, changes []Change) (*Batch, error) {
	if err := Distinct(changes); err != nil {
		return nil, err
	}
	b := d.Begin()
	for _, c := range changes {
		w, err := d.readOne(ctx, c)
		if err != nil {
			return nil, err
		}
		if w == nil {
			b.extra = append(b.extra, c)
			continue
		}
		b.keep(c.Key, w)
	}
	return b, nil
}

func (d *DB) readOne(ctx context.Context, c Change) (*work, error) {
	kind, known := d.catalog.Lookup(c.Key.Kind)
	if !known || c.Op == Check {
		return nil, nil //nolint:nilnil // it is no work
	}
	w := &work{expect: c.Expect, value: c.Value, gone: c.Op == Delete}
	if c.Expect != Absent {
		there, err := d.store.Get(ctx, c.Key)
		if err != nil && !fault.Is(err, fault.NotFound) {
			return nil, err
		}
		if err := CheckExpectation(c, there.Revision); err != nil {
			return nil, err
		}
		if w.expect = there.Revision; there.Revision != 0 {
			if w.before, err = readable(kind, there); err != nil {
				return nil, nil //nolint:nilerr // what is not understood brings nothing along
			}
		}
	}
	if w.object = w.before; !w.gone {
		var err error
		if w.object, err = readable(kind, Entry{Key: c.Key, Value: c.Value}); err != nil {
			return nil, fault.Wrap(err, "write %s", c.Key)
		}
	} else if w.before == nil {
		return nil, nil //nolint:nilnil // removing what is not there
	}
	return w, nil
}

func readable(kind resource.Descriptor, e Entry) (resource.Object, error) {
	x, err := kind.Decode(e.Value, e.Revision)
	if err == nil && x.Head().Ref() != e.Key {
		err = fault.New(fault.Invalid, "the record at %s calls itself %s", e.Key, x.Head().Ref())
	}
	return x, err
}
