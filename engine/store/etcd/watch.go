package etcd

import (
	"context"
	"sync"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

const buffer = 4096 // revisions a watcher may lag behind

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, after int64) (store.Watch, error) {
	now, err := s.Commit(ctx)
	if err != nil {
		return nil, fault.Wrap(err, "watch after revision %d", after)
	}
	if after > now {
		return nil, fault.New(fault.TooLate, "watch after revision %d: the store is only at %d; list again", after, now)
	}
	if !s.enter() {
		return nil, fault.New(fault.Unavailable, "watch: the store is closed")
	}
	w := &watch{store: s, changes: make(chan store.Changes, buffer), done: make(chan struct{})}
	inner, cancel := context.WithCancel(ctx)
	w.cancel = cancel
	unhook := context.AfterFunc(s.ctx, cancel)
	events := s.client.Watch(inner, root, clientv3.WithPrefix(), clientv3.WithPrevKV(), clientv3.WithRev(after+1), clientv3.WithCreatedNotify())
	// etcd answers a watch of the forgotten past at once, so that the caller hears of it here.
	first, ok := <-events
	if err := first.Err(); err != nil || !ok {
		unhook()
		cancel()
		s.work.Done()
		return nil, s.failed(orEnded(err, ctx), "watch after revision %d", after)
	}
	go func() {
		defer s.work.Done()
		defer close(w.done)
		defer unhook()
		defer cancel()
		w.run(ctx, events)
	}()
	return w, nil
}

func orEnded(err error, ctx context.Context) error {
	if err == nil {
		err = ctx.Err()
	}
	if err == nil {
		err = context.Canceled
	}
	return err
}

type watch struct {
	store   *Store
	changes chan store.Changes
	cancel  context.CancelFunc
	done    chan struct{}

	mu      sync.Mutex
	stopped bool
	err     error
}

func (w *watch) Changes() <-chan store.Changes { return w.changes }

func (w *watch) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Stop ends the watch and waits for it; the channel is closed then.
func (w *watch) Stop() {
	w.mu.Lock()
	w.stopped = true
	w.mu.Unlock()
	w.cancel()
	<-w.done
}

func (w *watch) run(ctx context.Context, events clientv3.WatchChan) {
	defer close(w.changes)
	for r := range events {
		if err := r.Err(); err != nil {
			w.end(ctx, w.store.failed(err, "watch"))
			return
		}
		told, whole := group(r.Events)
		if !whole {
			w.end(ctx, fault.New(fault.TooLate, "watch: what was there before is forgotten already; list again"))
			return
		}
		for _, c := range told {
			select {
			case w.changes <- c:
			default:
				w.end(ctx, fault.New(fault.TooLate, "watch: the reader is more than %d revisions behind; list again", buffer))
				return
			}
		}
	}
	w.end(ctx, fault.New(fault.Unavailable, "watch: the store is closed"))
}

// end keeps why the watch ended, unless its owner wanted it to.
func (w *watch) end(ctx context.Context, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.stopped && ctx.Err() == nil {
		w.err = err
	}
}

// group makes one Changes of the events of each revision; etcd tells them together and in order.
// It is not whole if a compaction has overtaken the watch and took an old value away: who narrows
// a watch to what somebody may see could not tell then whether a record has moved out of sight.
func group(events []*clientv3.Event) (out []store.Changes, whole bool) {
	for _, e := range events {
		ref, err := decode(string(e.Kv.Key))
		if err != nil {
			continue
		}
		event := store.Event{Key: ref}
		if e.Type == clientv3.EventTypePut {
			event.Value = store.Open(e.Kv.Value)
		}
		if e.PrevKv != nil {
			event.Old = store.Open(e.PrevKv.Value)
		} else if !e.IsCreate() {
			return nil, false
		}
		if n := len(out); n == 0 || out[n-1].Revision != e.Kv.ModRevision {
			out = append(out, store.Changes{Revision: e.Kv.ModRevision})
		}
		last := &out[len(out)-1]
		last.Events = append(last.Events, event)
	}
	return out, true
}
