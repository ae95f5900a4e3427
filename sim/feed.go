package sim

import (
	"context"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/engine/store/remote"
)

// truth is the store of the cloud. It tells every daemon's feed of each commit.
type truth struct {
	c      *Cluster
	memory *memory.Store
	told   store.Watch
	// commits are the transactions that changed something, each as what it changed.
	commits []store.Changes
	life    store.Incarnation
	backup  []store.Entry
}

// firstLife is the incarnation of records that were never restored.
const firstLife = "first"

func newTruth(c *Cluster) *truth {
	t := &truth{c: c, memory: memory.New(), life: store.Incarnation{ID: firstLife}}
	var err error
	if t.told, err = t.memory.Watch(context.Background(), 0); err != nil {
		panic(err)
	}
	return t
}

func (t *truth) commit(ctx context.Context, changes ...store.Change) (int64, error) {
	revision, err := t.memory.Commit(ctx, changes...)
	if err != nil {
		return 0, err
	}
	for {
		select {
		case told := <-t.told.Changes():
			t.commits = append(t.commits, told)
			for _, e := range told.Events {
				t.c.trace.add("      %s %s %s", verbOf(e), e.Key.Kind, t.c.trace.key(e.Key))
			}
			for _, p := range t.c.daemons() {
				p.feed.add(told)
			}
		default:
			t.c.see()
			return revision, nil
		}
	}
}

func verbOf(e store.Event) string {
	if e.Value == nil {
		return "remove"
	}
	return "put"
}

const mostBehind = 2000 // revisions that a daemon may lag behind before it must list again

// feed is the store as one daemon sees it: late, narrowed, and sometimes not at all.
type feed struct {
	c *Cluster
	p *daemon
	// scope narrows what the daemon may see and do; nil: everything.
	scope   remote.Scope
	lag     func() time.Duration
	up      bool
	pending []told
	watch   *feedWatch
}

type told struct {
	at      time.Time
	changes store.Changes
}

var _ store.Store = (*feed)(nil)

// reachable says why the truth cannot be spoken to; nil: it can.
func (f *feed) reachable() error {
	if why := f.p.unreachable(); why != "" {
		return fault.New(fault.Unavailable, "reach the servers: %s", why)
	}
	return nil
}

// Derives implements store.Deriving: for hosts the servers add what the records bring along.
func (f *feed) Derives() bool { return f.scope != nil }

// Get implements store.Store.
func (f *feed) Get(ctx context.Context, key resource.Ref) (store.Entry, error) {
	if err := f.reachable(); err != nil {
		return store.Entry{}, err
	}
	e, err := f.c.truth.memory.Get(ctx, key)
	e.Value = f.foreign(e.Key, e.Value)
	if err == nil && !f.sees(e) {
		return store.Entry{}, fault.New(fault.NotFound, "no %s with id %q", key.Kind, key.ID)
	}
	return e, err
}

// List implements store.Store.
func (f *feed) List(ctx context.Context, names ...resource.Kind) ([]store.Entry, int64, error) {
	if err := f.reachable(); err != nil {
		return nil, 0, err
	}
	entries, revision, err := f.c.truth.memory.List(ctx, names...)
	var out []store.Entry
	for _, e := range entries {
		if f.sees(e) {
			e.Value = f.foreign(e.Key, e.Value)
			out = append(out, e)
		}
	}
	return out, revision, err
}

// Commit implements store.Store. Who commits waits for its own write: all that lies before it
// arrives too.
func (f *feed) Commit(ctx context.Context, changes ...store.Change) (int64, error) {
	if err := f.reachable(); err != nil {
		return 0, err
	}
	changes, err := f.permitted(ctx, changes)
	if err != nil {
		return 0, err
	}
	if f.Derives() {
		complete, err := f.c.all.Complete(ctx, changes...) // as the servers do
		if err != nil {
			return 0, err
		}
		changes = complete
	}
	revision, err := f.c.truth.commit(ctx, changes...)
	if err != nil {
		return 0, err
	}
	f.p.effect("commit")
	if f.c.answerLost(f.p) {
		return 0, fault.New(fault.Unavailable, "commit: the answer of the servers was lost")
	}
	f.release(func(t told) bool { return t.changes.Revision <= revision })
	return revision, nil
}

// foreign is a record of a kind that servers of another version write in a form that the daemon cannot read.
func (f *feed) foreign(key resource.Ref, value []byte) []byte {
	if value == nil || key.Kind != f.p.strange {
		return value
	}
	return []byte(`{"id":"` + string(key.ID) + `","spec":"in another form"}`)
}

func (f *feed) sees(e store.Entry) bool { return f.scope == nil || f.scope.Sees(e) }

// permitted asks what of it is to be committed. What it may not is a bug
// of its loops.
func (f *feed) permitted(ctx context.Context, changes []store.Change) ([]store.Change, error) {
	if f.scope == nil {
		return changes, nil
	}
	current := map[resource.Ref]store.Entry{}
	for _, ch := range changes {
		if e, err := f.c.truth.memory.Get(ctx, ch.Key); err == nil {
			current[ch.Key] = e
		}
	}
	return f.scope.Admit(current, changes)
}

// Watch implements store.Store.
func (f *feed) Watch(_ context.Context, after int64) (store.Watch, error) {
	if err := f.reachable(); err != nil {
		return nil, err
	}
	for len(f.pending) > 0 && f.pending[0].changes.Revision <= after {
		f.pending = f.pending[1:] // the list has shown it
	}
	f.watch = &feedWatch{changes: make(chan store.Changes, mostBehind+1)}
	return f.watch, nil
}

// add takes what a commit changed; it arrives later.
func (f *feed) add(changes store.Changes) {
	if !f.up {
		return
	}
	out := store.Changes{Revision: changes.Revision}
	for _, e := range changes.Events {
		if e.Key.Kind == store.NameKind {
			continue
		}
		before := e.Old != nil && f.sees(store.Entry{Key: e.Key, Value: e.Old})
		after := e.Value != nil && f.sees(store.Entry{Key: e.Key, Value: e.Value})
		switch {
		case after:
			e.Value = f.foreign(e.Key, e.Value)
			out.Events = append(out.Events, e)
		case before:
			out.Events = append(out.Events, store.Event{Key: e.Key, Old: e.Old})
		}
	}
	at := f.c.now.Add(f.lag())
	if n := len(f.pending); n > 0 && f.pending[n-1].at.After(at) {
		at = f.pending[n-1].at // in order
	}
	f.pending = append(f.pending, told{at, out})
}

// release hands over what is first in line as long as ready says so.
func (f *feed) release(ready func(told) bool) {
	if f.watch == nil {
		return
	}
	if len(f.pending) > mostBehind {
		f.cutOff()
		return
	}
	for len(f.pending) > 0 && ready(f.pending[0]) {
		f.watch.changes <- f.pending[0].changes
		f.pending = f.pending[1:]
	}
}

// cutOff ends the watch: the daemon lists again.
func (f *feed) cutOff() {
	if f.watch != nil {
		f.watch.err = fault.New(fault.TooLate, "watch: too far behind; list again")
		close(f.watch.changes)
		f.watch, f.pending = nil, nil
	}
}

// due is when the next change arrives.
func (f *feed) due() (time.Time, bool) {
	if !f.up || len(f.pending) == 0 || f.watch == nil || f.reachable() != nil {
		return time.Time{}, false
	}
	return f.pending[0].at, true
}

type feedWatch struct {
	changes chan store.Changes
	err     error
}

// Changes implements store.Watch.
func (w *feedWatch) Changes() <-chan store.Changes { return w.changes }

// Err implements store.Watch.
func (w *feedWatch) Err() error { return w.err }

// Stop implements store.Watch.
func (w *feedWatch) Stop() {}
