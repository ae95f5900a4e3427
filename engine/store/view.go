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
	all, revision, err := v.readAll(ctx)
	if err != nil {
		return fault.Wrap(err, "list all records")
	}
	gone := v.missing(all)
	v.mu.Lock()
	for _, r := range gone {
		delete(v.strange, r.Key.ID)
	}
	v.revision = min(v.revision, revision)
	v.mu.Unlock()
	v.fanOut.restart(revision) // first: whoever waits for the revision finds its watchers ready
	v.apply(revision, append(gone, all...), nil)
	return nil
}

// missing tells of what the view knows and a list does not have.
func (v *View) missing(all []reading) (gone []reading) {
	known := map[resource.Ref]bool{}
	for x := range v.Snapshot().all() {
		known[x.Head().Ref()] = true
	}
	v.mu.Lock()
	for _, x := range v.strange {
		known[x.Key] = true
	}
	v.mu.Unlock()
	if len(known) == 0 {
		return nil
	}
	for _, r := range all {
		delete(known, r.Key)
	}
	for ref := range known {
		gone = append(gone, reading{Event: Event{Key: ref}})
	}
	return gone
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
	readings := make([]reading, len(c.Events))
	for i, e := range c.Events {
		readings[i] = v.readEvent(e, c.Revision)
	}
	read := make(map[resource.Ref]Delta, len(c.Events))
	v.apply(c.Revision, readings, read)
	v.fanOut.add(c, v.concerned(c, read))
}

// apply brings what was read into the view. In read, if not nil, it enters that of which the view showed before
// what was there before.
func (v *View) apply(revision int64, readings []reading, read map[resource.Ref]Delta) {
	deltas := make([]Delta, 0, len(readings))
	// Removals first: a name that passes from one record to another within one revision must
	// not be dropped from the index after its new owner has entered it.
	for _, removals := range []bool{true, false} {
		for _, r := range readings {
			if (r.Value == nil) != removals {
				continue
			}
			d, changed, sure := v.applyOne(r)
			if changed {
				deltas = append(deltas, d)
			}
			if changed && sure && read != nil {
				read[r.Key] = d
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
}

// applyOne reports whether an event changes the view, and whether what the view shows before is what was there.
func (v *View) applyOne(r reading) (d Delta, changed, sure bool) {
	if !IsRecord(r.Key.Kind) {
		return d, false, false
	}
	if old, _ := v.next.ids.Get(&resource.Meta{ID: r.Key.ID}); old != nil {
		d.Old = old
	}
	switch {
	case r.Value == nil:
		sure = !v.forget(r.Key)
		return d, d.Old != nil && d.Old.Head().Ref() == r.Key, sure
	case !r.isNews:
		return d, false, false
	case r.err != nil:
		v.remember(r.Event, r.revision, r.err)
		return d, false, false
	}
	sure = !v.forget(r.Key)
	d.New = r.object
	return d, true, sure
}

func (v *View) decode(key resource.Ref, value []byte, revision int64) (resource.Object, error) {
	kind, known := v.catalog.Lookup(key.Kind)
	if Damaged(value) {
		return nil, errDamaged
	}
	if !known {
		return nil, notYet("this version of virga knows no kind " + string(key.Kind))
	}
	x, err := kind.Decode(value, revision)
	if err != nil {
		return nil, err
	}
	if ref := x.Head().Ref(); ref != key {
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
