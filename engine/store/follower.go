package store

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

// Follower is a place in what happens, from which its owner reads on. It is no goroutine of its own.
type Follower struct {
	view *View
	told int64 // everything up to it has been given
	life int   // of the fan-out, that it follows
	past Watch // of the store, until the fan-out holds what follows
}

// Follow begins after a revision. All followers share the view's one watch, and hear of a change
// after the view shows it. One that begins further back than the view remembers, or follows a view
// that has lost its watch, reads the store's own past until it has caught up.
func (v *View) Follow(ctx context.Context, after int64) (*Follower, error) {
	if err := v.reach(ctx, after); err != nil {
		return nil, fault.Wrap(err, "watch after revision %d", after)
	}
	f := &Follower{view: v, told: after}
	return f, f.join(ctx)
}

// join goes to the fan-out, or if that does not know what follows, to the store.
func (f *Follower) join(ctx context.Context) (err error) {
	f.Stop()
	life, near := f.view.fanOut.join(f.told)
	if f.life = life; !near {
		f.past, err = f.view.store.Watch(ctx, f.told)
	}
	return err
}

// Stop lets go of what the follower holds.
func (f *Follower) Stop() {
	if f.past != nil {
		f.past.Stop()
		f.past = nil
	}
}

// Next waits for what follows and gives some of it; nothing when tick, which may be nil, comes first.
// An error other than of ctx ends it.
func (f *Follower) Next(ctx context.Context, tick <-chan time.Time) (some []Changes, err error) {
	for {
		if f.past != nil {
			some, err = f.catchUp(ctx, tick)
		} else {
			some, err = f.view.fanOut.next(ctx, tick, f.life, f.told)
		}
		if errors.Is(err, errGap) { // the store knows, if somebody does
			f.past, err = f.view.store.Watch(ctx, f.told)
			if err == nil {
				continue
			}
		}
		if n := len(some); n > 0 {
			f.told = some[n-1].Revision
		}
		return some, err
	}
}

// catchUp reads from the store's own past, and leaves it when the fan-out holds what follows.
func (f *Follower) catchUp(ctx context.Context, tick <-chan time.Time) ([]Changes, error) {
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-tick:
		return nil, nil
	case c, more := <-f.past.Changes():
		if !more {
			if err := f.past.Err(); err != nil {
				return nil, err
			}
			return nil, fault.New(fault.Unavailable, "watch: the store's watch ended; begin again")
		}
		if err := f.view.WaitFor(ctx, c.Revision); err != nil {
			return nil, err
		}
		if life, near := f.view.fanOut.join(c.Revision); near {
			f.Stop()
			f.life = life
		}
		return []Changes{c}, nil
	}
}

// reach waits for a revision that the view will show in a moment, and refuses one that never was.
func (v *View) reach(ctx context.Context, revision int64) error {
	if revision <= v.Revision() {
		return nil
	}
	now, err := v.store.Commit(ctx)
	if err != nil {
		return err
	}
	if revision > now {
		return fault.New(fault.TooLate, "the store is only at %d; list again", now)
	}
	return v.WaitFor(ctx, revision)
}

// Watch is Follow in the form of the store's Watch.
func (v *View) Watch(ctx context.Context, after int64) (Watch, error) {
	ctx, cancel := context.WithCancel(ctx)
	f, err := v.Follow(ctx, after)
	if err != nil {
		cancel()
		return nil, err
	}
	w := &relay{changes: make(chan Changes, fanOutHelping), cancel: cancel, done: make(chan struct{})}
	go w.run(ctx, f)
	return w, nil
}

// relay reads for a follower that wants a channel.
type relay struct {
	changes chan Changes
	cancel  context.CancelFunc
	done    chan struct{}

	mu  sync.Mutex
	err error
}

func (w *relay) Changes() <-chan Changes { return w.changes }

func (w *relay) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Stop ends the watch and waits for it; the channel is closed then.
func (w *relay) Stop() {
	w.cancel()
	<-w.done
}

func (w *relay) run(ctx context.Context, f *Follower) {
	defer close(w.done)
	defer close(w.changes)
	defer w.cancel()
	defer f.Stop()
	for {
		some, err := f.Next(ctx, nil)
		for _, c := range some {
			select {
			case w.changes <- c:
			case <-ctx.Done():
				return
			}
		}
		if ctx.Err() != nil {
			return // its owner wanted it to end
		}
		if err != nil {
			w.mu.Lock()
			w.err = err
			w.mu.Unlock()
			return
		}
	}
}
