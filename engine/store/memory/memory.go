// Package memory is a Store in this process's memory, for tests and the simulator.
//
// It keeps the last History revisions for watchers; one that asks for older ones, or lags
// behind by more than its buffer, is told fault.TooLate, as the real store would.
package memory

import (
	"bytes"
	"context"
	"sort"
	"sync"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

const (
	history = 10_000 // revisions kept for watchers
	buffer  = 4_096  // revisions a watcher may lag behind
)

// Store is the in-memory store. The zero value is not usable; call New.
type Store struct {
	mu       sync.Mutex
	revision int64
	entries  map[resource.Ref]store.Entry
	past     []store.Changes
	watches  map[*watch]struct{}
}

// New makes an empty store.
func New() *Store {
	return &Store{entries: map[resource.Ref]store.Entry{}, watches: map[*watch]struct{}{}}
}

// Get implements store.Store.
func (s *Store) Get(_ context.Context, key resource.Ref) (store.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	e, ok := s.entries[key]
	if !ok {
		return store.Entry{}, fault.New(fault.NotFound, "no %s with id %q", key.Kind, key.ID)
	}
	e.Value = store.Open(e.Value)
	return e, nil
}

// List implements store.Store.
func (s *Store) List(_ context.Context, kinds ...resource.Kind) ([]store.Entry, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	wanted := map[resource.Kind]bool{}
	for _, k := range kinds {
		wanted[k] = true
	}
	var out []store.Entry
	for key, e := range s.entries {
		if len(kinds) == 0 && store.IsRecord(key.Kind) || wanted[key.Kind] {
			e.Value = store.Open(e.Value)
			out = append(out, e)
		}
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Key.String() < out[j].Key.String() })
	return out, s.revision, nil
}

// Commit implements store.Store.
func (s *Store) Commit(ctx context.Context, changes ...store.Change) (int64, error) {
	if err := ctx.Err(); err != nil {
		return 0, fault.New(fault.Unavailable, "commit: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := store.Distinct(changes); err != nil {
		return 0, err
	}
	for _, c := range changes {
		if err := store.CheckExpectation(c, s.entries[c.Key].Revision); err != nil {
			return 0, err
		}
	}
	told, changed := store.Changes{Revision: s.revision + 1}, false
	for _, c := range changes {
		old := s.entries[c.Key]
		event := store.Event{Key: c.Key, Old: store.Open(old.Value)}
		switch {
		case c.Op == store.Put:
			event.Value = bytes.Clone(c.Value) // the caller may go on using theirs
			s.entries[c.Key] = store.Entry{Key: c.Key, Value: store.Seal(c.Value), Revision: told.Revision}
		case c.Op == store.Delete && old.Revision != 0:
			delete(s.entries, c.Key)
		default:
			continue
		}
		changed = true
		if !store.Hidden(c.Key.Kind) {
			told.Events = append(told.Events, event)
		}
	}
	if !changed {
		return s.revision, nil
	}
	s.revision = told.Revision
	s.past = append(s.past, told)
	if len(s.past) > 2*history {
		s.past = append([]store.Changes(nil), s.past[len(s.past)-history:]...)
	}
	for w := range s.watches {
		w.tell(told)
	}
	return s.revision, nil
}

// Damage flips a bit of what is stored under a key, as a disk may.
func (s *Store) Damage(_ context.Context, key resource.Ref) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.entries[key]
	e.Value = bytes.Clone(e.Value)
	e.Value[len(e.Value)/2] ^= 1
	s.entries[key] = e
	return nil
}

// Compact forgets all changes up to revision; watchers that are past it go on.
func (s *Store) Compact(_ context.Context, revision int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.revision - int64(len(s.past))
	if n := min(revision, s.revision) - first; n > 0 {
		s.past = append([]store.Changes(nil), s.past[n:]...)
	}
	return nil
}

// Watch implements store.Store.
func (s *Store) Watch(ctx context.Context, after int64) (store.Watch, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.revision - int64(len(s.past))
	if after < first {
		return nil, fault.New(fault.TooLate, "watch after revision %d: only changes after %d are kept; list again", after, first)
	}
	if after > s.revision {
		return nil, fault.New(fault.TooLate, "watch after revision %d: the store is only at %d; list again", after, s.revision)
	}
	if err := ctx.Err(); err != nil {
		return nil, fault.New(fault.Unavailable, "watch: %w", err)
	}
	missed := s.past[after-first:]
	w := &watch{store: s, changes: make(chan store.Changes, buffer+len(missed))}
	for _, c := range missed {
		w.changes <- c
	}
	s.watches[w] = struct{}{}
	w.unhook = context.AfterFunc(ctx, func() { w.end(nil) })
	return w, nil
}

type watch struct {
	store   *Store
	changes chan store.Changes
	unhook  func() bool
	err     error // guarded by store.mu
	ended   bool  // guarded by store.mu
}

func (w *watch) Changes() <-chan store.Changes { return w.changes }

func (w *watch) Err() error {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	return w.err
}

func (w *watch) Stop() {
	w.unhook()
	w.end(nil)
}

// tell is called with the store's lock held.
func (w *watch) tell(c store.Changes) {
	select {
	case w.changes <- c:
	default:
		w.endLocked(fault.New(fault.TooLate, "watch: the reader is more than %d revisions behind; list again", buffer))
	}
}

func (w *watch) end(err error) {
	w.store.mu.Lock()
	defer w.store.mu.Unlock()
	w.endLocked(err)
}

func (w *watch) endLocked(err error) {
	if w.ended {
		return
	}
	w.ended, w.err = true, err
	delete(w.store.watches, w)
	close(w.changes)
}
