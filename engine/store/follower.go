package store

import (
	"context"
	"errors"
	"sync"

	"github.com/virga-cloud/virga/engine/fault"
)

// Watch is the store's Watch, but all watchers share the view's one, and each is told of a change
// after the view shows it. One that begins further back than the view remembers, or follows a view
// that has lost its watch, reads the store's own past until it has caught up.
func (v *View) Watch(ctx context.Context, after int64) (Watch, error) {
	if err := v.reach(ctx, after); err != nil {
		return nil, fault.Wrap(err, "watch after revision %d", after)
	}
	w := &follower{view: v, told: after, changes: make(chan Changes), done: make(chan struct{})}
	var past Watch
	if _, near := v.hub.join(after); !near {
		var err error
		if past, err = v.store.Watch(ctx, after); err != nil {
			return nil, err
		}
	}
	ctx, w.cancel = context.WithCancel(ctx)
	go w.run(ctx, past)
	return w, nil
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

// Shared gives the store below with watches that share the view's one.
func (v *View) Shared() Store { return shared{v.store, v} }

type shared struct {
	Store
	view *View
}

func (s shared) Watch(ctx context.Context, after int64) (Watch, error) {
	return s.view.Watch(ctx, after)
}

// follower is one watcher of a hub.
type follower struct {
	view    *View
	told    int64 // everything up to it has been told; its goroutine's
	changes chan Changes
	cancel  context.CancelFunc
	done    chan struct{}

	mu  sync.Mutex
	err error
}

func (w *follower) Changes() <-chan Changes { return w.changes }

func (w *follower) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Stop ends the watch and waits for it; the channel is closed then.
func (w *follower) Stop() {
	w.cancel()
	<-w.done
}

func (w *follower) run(ctx context.Context, past Watch) {
	defer close(w.done)
	defer close(w.changes)
	defer w.cancel()
	var err error
	for err == nil {
		if past != nil {
			err = w.catchUp(ctx, past)
		}
		if err == nil {
			err = w.follow(ctx)
		}
		if errors.Is(err, errGap) {
			past, err = w.view.store.Watch(ctx, w.told)
		}
	}
	if ctx.Err() == nil { // else its owner wanted it to end
		w.mu.Lock()
		w.err = err
		w.mu.Unlock()
	}
}

// catchUp tells from the store's own past until the hub holds what follows.
func (w *follower) catchUp(ctx context.Context, past Watch) error {
	defer past.Stop()
	for c := range past.Changes() {
		if err := w.view.WaitFor(ctx, c.Revision); err != nil {
			return err
		}
		if err := w.tell(ctx, c); err != nil {
			return err
		}
		if _, near := w.view.hub.join(w.told); near {
			return nil
		}
	}
	if err := past.Err(); err != nil {
		return err
	}
	return fault.New(fault.Unavailable, "watch: the store's watch ended; begin again")
}

// follow tells what the hub brings; it ends with an error only.
func (w *follower) follow(ctx context.Context) error {
	life, near := w.view.hub.join(w.told)
	if !near {
		return errGap
	}
	for {
		some, err := w.view.hub.next(ctx, life, w.told)
		if err != nil {
			return err
		}
		for _, c := range some {
			if err := w.tell(ctx, c); err != nil {
				return err
			}
		}
	}
}

func (w *follower) tell(ctx context.Context, c Changes) error {
	select {
	case w.changes <- c:
		w.told = c.Revision
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
