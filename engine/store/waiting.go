package store

import (
	"context"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// waiting are those who wait for what the view will show. Each is woken for what it waits for and for nothing
// else, however many there are. The view's lock guards it.
type waiting struct {
	revisions map[*waiter]int64                    // by the revision that is waited for
	records   map[resource.ID]map[*waiter]struct{} // by the record of which any change is waited for
}

// waiter is woken by its channel being closed, once.
type waiter struct{ woken chan struct{} }

func newWaiting() waiting {
	return waiting{revisions: map[*waiter]int64{}, records: map[resource.ID]map[*waiter]struct{}{}}
}

// wake wakes those for whom a revision and what it changed is what they wait for.
func (w *waiting) wake(revision int64, deltas []Delta) {
	for one, wanted := range w.revisions {
		if wanted <= revision {
			delete(w.revisions, one)
			close(one.woken)
		}
	}
	for _, d := range deltas {
		x := d.New
		if x == nil {
			x = d.Old
		}
		id := x.Head().ID
		for one := range w.records[id] {
			close(one.woken)
		}
		delete(w.records, id)
	}
}

// WaitFor returns when the view shows revision or a later one.
func (v *View) WaitFor(ctx context.Context, revision int64) error {
	v.mu.Lock()
	there, one := v.revision, &waiter{make(chan struct{})}
	if there < revision {
		v.waiting.revisions[one] = revision
	}
	v.mu.Unlock()
	if there >= revision {
		return nil
	}
	select {
	case <-one.woken:
		return nil
	case <-ctx.Done():
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.waiting.revisions, one)
		return fault.New(fault.Unavailable, "wait for revision %d (the view shows %d): %w", revision, v.revision, ctx.Err())
	}
}

// Changed gives a channel that is closed when the view shows a change of a record, or that it is gone. Who
// looks after this call misses nothing. Leave is called when nobody waits any more.
func (v *View) Changed(id resource.ID) (changed <-chan struct{}, leave func()) {
	one := &waiter{make(chan struct{})}
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.waiting.records[id] == nil {
		v.waiting.records[id] = map[*waiter]struct{}{}
	}
	v.waiting.records[id][one] = struct{}{}
	return one.woken, func() {
		v.mu.Lock()
		defer v.mu.Unlock()
		delete(v.waiting.records[id], one)
		if len(v.waiting.records[id]) == 0 {
			delete(v.waiting.records, id)
		}
	}
}

// Waiting is how many wait.
func (v *View) Waiting() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := len(v.waiting.revisions)
	for _, all := range v.waiting.records {
		n += len(all)
	}
	return n
}
