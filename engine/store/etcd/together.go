package etcd

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

// lanes is how many transactions are on their way at once. While they are, other commits gather for the next.
const lanes = 2

// together lets commits that come while others are on their way share one transaction: what a transaction
// costs, most of all its way through the log to the disk, is paid once for many. A commit that finds a lane
// free waits for nobody, and one that is refused takes no other with it.
type together struct {
	mu   sync.Mutex
	busy int
	line []*member
}

// member is a commit in the line.
type member struct {
	changes  []store.Change
	done     chan struct{}
	revision int64
	err      error
}

func (m *member) end(revision int64, err error) {
	m.revision, m.err = revision, err
	close(m.done)
}

// enter gives nil to who may go at once and calls leave afterwards; others stand in the line.
func (t *together) enter(changes []store.Change) *member {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.busy < lanes {
		t.busy++
		return nil
	}
	m := &member{changes: changes, done: make(chan struct{})}
	t.line = append(t.line, m)
	return m
}

// next takes from the line those who may go together, in their order. Without any the lane is free.
func (t *together) next() []*member {
	t.mu.Lock()
	defer t.mu.Unlock()
	var some []*member
	var all joint
	t.line = slices.DeleteFunc(t.line, func(m *member) bool {
		goes := all.add(m.changes)
		if goes {
			some = append(some, m)
		}
		return goes
	})
	if len(some) == 0 {
		t.busy--
	}
	return some
}

// quit takes a commit out of the line; false: it is on its way.
func (t *together) quit(m *member) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.Index(t.line, m)
	if i >= 0 {
		t.line = slices.Delete(t.line, i, i+1)
	}
	return i >= 0
}

// Commit implements store.Store: one transaction, that others may share.
func (s *Store) Commit(ctx context.Context, changes ...store.Change) (int64, error) {
	if err := store.Distinct(changes); err != nil {
		return 0, err
	}
	if err := ctx.Err(); err != nil {
		return 0, fault.New(fault.Unavailable, "commit: %w", err)
	}
	ctx, leave, err := s.call(ctx)
	if err != nil {
		return 0, err
	}
	defer leave()
	if len(changes) == 0 {
		return s.alone(ctx, changes)
	}
	m := s.together.enter(changes)
	if m == nil {
		revision, err := s.alone(ctx, changes)
		s.leaveLane()
		return revision, err
	}
	select {
	case <-m.done:
		return m.revision, m.err
	case <-ctx.Done():
		s.together.quit(m)
		return 0, s.failed(ctx.Err(), "commit")
	}
}

// leaveLane lets those go who have gathered meanwhile.
func (s *Store) leaveLane() {
	first := s.together.next()
	if len(first) == 0 {
		return
	}
	ctx, leave, err := s.call(context.Background())
	if err != nil {
		for some := first; len(some) > 0; some = s.together.next() {
			for _, m := range some {
				m.end(0, err)
			}
		}
		return
	}
	go func() {
		defer leave()
		for some := first; len(some) > 0; some = s.together.next() {
			s.commitAll(ctx, some)
		}
	}()
}

// commitAll commits some as one. Whoever has to do with what did not hold goes alone then, and is told by itself;
// where there is no room, all do: what makes room may find some.
func (s *Store) commitAll(ctx context.Context, some []*member) {
	for len(some) > 0 {
		var all joint
		for _, m := range some {
			all.add(m.changes)
		}
		revision, err := s.alone(ctx, all.changes)
		unmet, refused := errors.AsType[*store.Unmet](err)
		noRoom := fault.Is(err, fault.Exhausted)
		if err == nil || len(some) == 1 || !refused && !noRoom {
			for _, m := range some {
				m.end(revision, err)
			}
			return
		}
		some = slices.DeleteFunc(some, func(m *member) bool {
			if !noRoom && !names(m.changes, unmet.Change.Key) {
				return false
			}
			m.end(s.alone(ctx, m.changes))
			return true
		})
	}
}
