package remote

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

const (
	keepalive  = 5 * time.Second
	bodyLimit  = 32 << 20
	pinRetries = 5
)

// Scope is what a caller may see and do.
type Scope interface {
	// Host is the one host whose records the caller sees; empty: it is not bound to one.
	Host() resource.ID
	// Sees reports whether the caller may see an entry. A change that moves an entry out of sight
	// is told as its removal.
	Sees(e store.Entry) bool
	// Admit gives the changes as they are to be committed, or refuses with fault.Denied what the caller
	// may not commit. Current is what is there now of the keys that the changes name; the commit happens
	// on that or not at all.
	Admit(current map[resource.Ref]store.Entry, changes []store.Change) ([]store.Change, error)
}

// Access finds the scope of a request's sender, or refuses.
type Access func(r *http.Request) (Scope, error)

// Handler serves a store. Its routes are relative: mount it with http.StripPrefix.
func Handler(s store.Store, a Access) http.Handler { return newHandler(s, a, keepalive) }

func newHandler(s store.Store, a Access, keepalive time.Duration) http.Handler {
	h := &handler{store: s, access: a, keepalive: keepalive}
	mux := http.NewServeMux()
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request, Scope) error{
		"GET /entry": h.entry, "GET /list": h.list, "POST /commit": h.commit, "GET /watch": h.watch,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			scope, err := a(r)
			if err == nil {
				err = serve(w, r, scope)
			}
			if err != nil {
				refuse(w, err)
			}
		})
	}
	return mux
}

type handler struct {
	store     store.Store
	access    Access
	keepalive time.Duration
}

func (h *handler) entry(w http.ResponseWriter, r *http.Request, scope Scope) error {
	q := r.URL.Query()
	key := resource.Ref{Kind: resource.Kind(q.Get("kind")), Project: resource.ID(q.Get("project")), ID: resource.ID(q.Get("id"))}
	e, err := h.store.Get(r.Context(), key)
	if err != nil {
		return err
	}
	if !scope.Sees(e) { // in the words of what is not there
		return fault.New(fault.NotFound, "no %s with id %q", key.Kind, key.ID)
	}
	answer(w, http.StatusOK, entryWire(e))
	return nil
}

func (h *handler) list(w http.ResponseWriter, r *http.Request, scope Scope) error {
	var kinds []resource.Kind
	for _, k := range r.URL.Query()["kind"] {
		kinds = append(kinds, resource.Kind(k))
	}
	entries, revision, err := h.read(r.Context(), scope, kinds)
	if err != nil {
		return err
	}
	out := listWire{Revision: revision, Entries: []entryWire{}}
	for _, e := range entries {
		if scope.Sees(e) {
			out.Entries = append(out.Entries, entryWire(e))
		}
	}
	answer(w, http.StatusOK, out)
	return nil
}

// read asks the index of the host's records, where there is one.
func (h *handler) read(ctx context.Context, scope Scope, kinds []resource.Kind) ([]store.Entry, int64, error) {
	if by, ok := h.store.(store.ByHost); ok && scope.Host() != "" {
		return by.ListHost(ctx, scope.Host(), kinds...)
	}
	return h.store.List(ctx, kinds...)
}

func (h *handler) commit(w http.ResponseWriter, r *http.Request, scope Scope) error {
	var body commitWire
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, bodyLimit)).Decode(&body); err != nil {
		return fault.New(fault.Invalid, "read the commit: %w", err)
	}
	changes := make([]store.Change, 0, len(body.Changes))
	for _, c := range body.Changes {
		got, err := receive(c)
		if err != nil {
			return err
		}
		changes = append(changes, got)
	}
	if err := store.Distinct(changes); err != nil {
		return err
	}
	for try := 1; ; try++ {
		pinned, err := h.judge(r.Context(), scope, changes)
		if err != nil {
			return err
		}
		revision, err := h.store.Commit(r.Context(), pinned...)
		if err == nil {
			if by, ok := h.store.(store.ByHost); ok {
				by.Ask(scope.Host(), revision)
			}
			answer(w, http.StatusOK, revisionWire{revision})
			return nil
		}
		// What was expected as it may be has changed between the judgement and the commit.
		if try == pinRetries || !fault.Is(err, fault.Conflict) && !fault.Is(err, fault.Exists) {
			return err
		}
	}
}

// judge asks the scope, and holds every change to the revision that the scope has judged: else
// something could be slipped under a permitted commit.
func (h *handler) judge(ctx context.Context, scope Scope, changes []store.Change) ([]store.Change, error) {
	current := make(map[resource.Ref]store.Entry, len(changes))
	for _, c := range changes {
		e, err := h.store.Get(ctx, c.Key)
		if err == nil {
			current[c.Key] = e
		} else if !fault.Is(err, fault.NotFound) {
			return nil, err
		}
	}
	changes, err := scope.Admit(current, changes)
	if err != nil {
		return nil, err
	}
	pinned := make([]store.Change, len(changes))
	for i, c := range changes {
		there := current[c.Key].Revision
		if err := store.CheckExpectation(c, there); err != nil {
			return nil, err
		}
		c.Expect = there
		pinned[i] = c
	}
	return pinned, nil
}

func (h *handler) watch(w http.ResponseWriter, r *http.Request, scope Scope) error {
	after, err := strconv.ParseInt(r.URL.Query().Get("after"), 10, 64)
	if err != nil {
		return fault.New(fault.Invalid, "watch: after is no revision: %w", err)
	}
	next, stop, err := h.follow(r.Context(), scope, after)
	if err != nil {
		return err
	}
	defer stop()
	w.Header().Set("Content-Type", "application/x-ndjson")
	w.Header().Set(keepaliveHeader, strconv.FormatInt(h.keepalive.Milliseconds(), 10))
	out := &lines{to: w, control: http.NewResponseController(w), patience: 6 * h.keepalive}
	if err := out.write(lineWire{}); err != nil {
		return nil //nolint:nilerr // the caller has gone
	}
	tick := time.NewTicker(h.keepalive)
	defer tick.Stop()
	for {
		some, err := next(tick.C)
		if r.Context().Err() != nil {
			return nil
		}
		if err == nil && len(some) == 0 {
			_, err = h.access(r) // meanwhile
			some = []lineWire{{}}
		}
		if err != nil {
			_ = out.write(lineWire{Fault: toWire(ended(err))})
			return nil
		}
		for _, line := range some {
			if out.write(line) != nil {
				return nil // the caller has gone
			}
		}
	}
}

// follow gives what happens, bit by bit: nothing means that a tick came. An agent hears what concerns its
// host; that other revisions have passed it hears at ticks, and when it waits for one of its own.
func (h *handler) follow(ctx context.Context, scope Scope, after int64) (next func(tick <-chan time.Time) ([]lineWire, error), stop func(), err error) {
	if by, ok := h.store.(store.ByHost); ok && scope.Host() != "" {
		f, err := by.FollowHost(ctx, scope.Host(), after)
		if err != nil {
			return nil, nil, err
		}
		return func(tick <-chan time.Time) (out []lineWire, err error) {
			some, err := f.Next(ctx, tick)
			for _, c := range some {
				out = append(out, toLine(c))
			}
			return out, err
		}, f.Stop, nil
	}
	watch, err := h.store.Watch(ctx, after)
	if err != nil {
		return nil, nil, err
	}
	return func(tick <-chan time.Time) ([]lineWire, error) {
		select {
		case c, ok := <-watch.Changes():
			if !ok {
				return nil, ended(watch.Err())
			}
			return []lineWire{narrow(c, scope)}, nil
		case <-tick:
			return nil, nil
		}
	}, watch.Stop, nil
}

func toLine(c store.Changes) lineWire {
	line := lineWire{Revision: c.Revision}
	for _, e := range c.Events {
		line.Events = append(line.Events, eventWire(e))
	}
	return line
}

func ended(err error) error {
	if err == nil {
		err = fault.New(fault.Unavailable, "the server's watch ended")
	}
	return err
}

// narrow tells what a scope sees of a revision: possibly nothing but that it has passed.
func narrow(c store.Changes, scope Scope) lineWire {
	line := lineWire{Revision: c.Revision}
	for _, e := range c.Events {
		sawOld := e.Old != nil && scope.Sees(store.Entry{Key: e.Key, Value: e.Old})
		switch {
		case e.Value != nil && scope.Sees(store.Entry{Key: e.Key, Value: e.Value, Revision: c.Revision}):
			out := eventWire{Key: e.Key, Value: e.Value}
			if sawOld {
				out.Old = e.Old
			}
			line.Events = append(line.Events, out)
		case sawOld:
			line.Events = append(line.Events, eventWire{Key: e.Key, Old: e.Old})
		}
	}
	return line
}

// lines writes JSON, one value a line, each sent at once.
type lines struct {
	to       http.ResponseWriter
	control  *http.ResponseController
	patience time.Duration
}

func (l *lines) write(line lineWire) error {
	if err := l.control.SetWriteDeadline(time.Now().Add(l.patience)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return err
	}
	if err := json.NewEncoder(l.to).Encode(line); err != nil {
		return err
	}
	return l.control.Flush()
}
