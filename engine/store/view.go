package store

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Delta is one record that changed: Old or New is nil when it was not there before, or is gone.
type Delta struct{ Old, New resource.Object }

// View is the in-memory picture of all records at one revision, fed by one watch.
type View struct {
	store   Store
	catalog *resource.Catalog
	next    *picture // of whoever applies

	mu       sync.Mutex
	shown    *picture // a copy of it, that changes no more
	revision int64
	waiting  waiting
	tell     []func([]Delta)
	strange  map[resource.ID]Strange // records that this program does not understand

	fanOut *fanOut // tells those who watch the view
	pull   Watch   // CatchUp's

	// Quota judges what grows; nil: nothing is limited. It is set before Run.
	Quota Quota
	lines sync.Map // of batches that grow in a project with a quota, by its id: *sync.Mutex
}

// NewView makes an empty view. Run fills it.
func NewView(s Store, c *resource.Catalog) *View {
	return &View{store: s, catalog: c, next: newPicture(), shown: newPicture(), waiting: newWaiting(), strange: map[resource.ID]Strange{}, fanOut: newFanOut()}
}

// Subscribe calls fn with what each revision changed, in order, after the view shows it. It must
// not block. Subscribe before Run.
func (v *View) Subscribe(fn func([]Delta)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tell = append(v.tell, fn)
}

// The pauses before a broken watch is begun again.
const (
	firstPause = 50 * time.Millisecond
	longPause  = 5 * time.Second
)

// Run keeps the view current until ctx ends. A watch that breaks is begun again, by a full list
// where the past is gone.
func (v *View) Run(ctx context.Context) error {
	defer v.fanOut.end(fault.New(fault.Unavailable, "watch: the server ends; begin again from the last revision"))
	listed := false
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longPause) {
		before := v.Revision()
		err := v.once(ctx, &listed)
		if v.Revision() != before {
			pause = firstPause // it worked for a while
		}
		if err != nil && ctx.Err() == nil {
			slog.Warn("the view lost its watch; it begins again", "error", err, "pause", pause)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
	return ctx.Err()
}

func (v *View) once(ctx context.Context, listed *bool) error {
	if !*listed {
		if err := v.relist(ctx); err != nil {
			return err
		}
		*listed = true
	}
	err := v.follow(ctx)
	if fault.Is(err, fault.TooLate) {
		*listed = false
	}
	return err
}

// Sync lists once and applies nothing further.
func (v *View) Sync(ctx context.Context) error { return v.relist(ctx) }

// CatchUp applies all that has happened so far, in the caller's goroutine: the simulator, which
// has no others, calls it instead of Run. The store must be in this process's memory.
func (v *View) CatchUp(ctx context.Context) error {
	for {
		if v.pull == nil {
			if err := v.relist(ctx); err != nil {
				return err
			}
			w, err := v.store.Watch(ctx, v.Revision())
			if err != nil {
				return fault.Wrap(err, "watch all records")
			}
			v.pull = w
		}
		select {
		case c, ok := <-v.pull.Changes():
			if !ok {
				err := v.pull.Err()
				v.pull = nil
				if err != nil && !fault.Is(err, fault.TooLate) || ctx.Err() != nil {
					return fault.Wrap(err, "watch all records")
				}
				continue
			}
			v.Apply(c)
		default:
			return nil
		}
	}
}

// relist makes the view equal to what the store holds now, whatever it showed before: the store
// may even have been restored to an older state.
func (v *View) relist(ctx context.Context) error {
	entries, revision, err := v.store.List(ctx)
	if err != nil {
		return fault.Wrap(err, "list all records")
	}
	revisions := make(map[resource.Ref]int64, len(entries))
	for _, e := range entries {
		revisions[e.Key] = e.Revision
	}
	var events []Event
	for x := range v.Snapshot().all() {
		if ref := x.Head().Ref(); revisions[ref] == 0 {
			events = append(events, Event{Key: ref})
		}
	}
	for _, e := range entries {
		events = append(events, Event{Key: e.Key, Value: e.Value})
	}
	v.mu.Lock()
	for id, x := range v.strange {
		if revisions[x.Key] == 0 {
			delete(v.strange, id)
		}
	}
	v.revision = min(v.revision, revision)
	v.mu.Unlock()
	read := v.decodeNew(entries)
	v.fanOut.restart(revision) // first: whoever waits for the revision finds its watchers ready
	v.apply(revision, events, read, func(there int64, k resource.Ref) (int64, bool) {
		return revisions[k], there != revisions[k]
	})
	return nil
}

func (v *View) follow(ctx context.Context) error {
	w, err := v.store.Watch(ctx, v.Revision())
	if err != nil {
		return fault.Wrap(err, "watch all records")
	}
	defer w.Stop()
	for c := range w.Changes() {
		v.Apply(c)
	}
	if err := w.Err(); err != nil {
		return err
	}
	if ctx.Err() == nil {
		return errors.New("the watch ended")
	}
	return nil
}

// Apply brings one revision's changes into the view. Run calls it; the simulator, which has no
// goroutines, calls it itself.
func (v *View) Apply(c Changes) {
	read := v.apply(c.Revision, c.Events, v.decode, func(there int64, _ resource.Ref) (int64, bool) {
		return c.Revision, there < c.Revision
	})
	v.fanOut.add(c, v.concerned(c, read))
}

// news tells the revision that an event brings for a key of which the view shows another one,
// and whether that is news.
type news func(there int64, key resource.Ref) (revision int64, isNew bool)

// decoder makes a record of its stored form.
type decoder func(e Event, revision int64) (resource.Object, error)

// apply gives what it read of the events, as far as it showed before what was there before.
func (v *View) apply(revision int64, events []Event, decode decoder, isNews news) map[resource.Ref]Delta {
	var deltas []Delta
	read := make(map[resource.Ref]Delta, len(events))
	// Removals first: a name that passes from one record to another within one revision must
	// not be dropped from the index after its new owner has entered it.
	for _, removals := range []bool{true, false} {
		for _, e := range events {
			if (e.Value == nil) != removals {
				continue
			}
			d, changed, sure := v.applyOne(e, decode, isNews)
			if changed {
				deltas = append(deltas, d)
			}
			if changed && sure {
				read[e.Key] = d
			}
		}
	}
	v.next.put(v.catalog, deltas)
	shown := v.next.copy()
	v.mu.Lock()
	v.shown = shown
	v.revision = max(v.revision, revision)
	v.waiting.wake(v.revision, deltas)
	tell := slices.Clone(v.tell)
	v.mu.Unlock()
	if len(deltas) > 0 {
		for _, fn := range tell {
			fn(deltas)
		}
	}
	return read
}

// applyOne reports whether an event changes the view, and whether what the view shows before is what was there.
func (v *View) applyOne(e Event, decode decoder, isNews news) (d Delta, changed, sure bool) {
	if e.Key.Kind == NameKind || e.Key.Kind == JournalKind {
		return d, false, false
	}
	var there int64
	if old, _ := v.next.ids.Get(&resource.Meta{ID: e.Key.ID}); old != nil {
		d.Old, there = old, old.Head().Revision
	}
	if e.Value == nil {
		sure = !v.forget(e.Key)
		if d.Old == nil || d.Old.Head().Ref() != e.Key {
			return d, false, false
		}
		return d, true, sure
	}
	revision, isNew := isNews(there, e.Key)
	if !isNew {
		return d, false, false
	}
	x, err := decode(e, revision)
	if err != nil {
		v.remember(e, revision, err)
		return d, false, false
	}
	sure = !v.forget(e.Key)
	d.New = x
	return d, true, sure
}

func (v *View) decode(e Event, revision int64) (resource.Object, error) {
	kind, known := v.catalog.Lookup(e.Key.Kind)
	if Damaged(e.Value) {
		return nil, errDamaged
	}
	if !known {
		return nil, notYet("this version of virga knows no kind " + string(e.Key.Kind))
	}
	x, err := kind.Decode(e.Value, revision)
	if err != nil {
		return nil, err
	}
	if ref := x.Head().Ref(); ref != e.Key {
		return nil, errors.New("it calls itself " + ref.String())
	}
	if why := resource.Strange(x); why != "" {
		return nil, notYet(why)
	}
	return x, nil
}

// Revision is the store's revision that the view shows; 0 before the first list.
func (v *View) Revision() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.revision
}
