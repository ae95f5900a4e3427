package httpapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// WatchEvent is the data of an event of a watch.
type WatchEvent struct {
	Revision int64           `json:"revision" doc:"The revision of the store that made the change."`
	Type     string          `json:"type,omitempty" enum:"put,delete" doc:"What happened; only in change."`
	Kind     resource.Kind   `json:"kind,omitempty" doc:"The kind of the record; only in change."`
	Object   json.RawMessage `json:"object,omitempty" doc:"The record; of a deleted one at least kind, id and projectID."`
}

const watchDoc = `Tells of every change, in order, as server-sent events.

- ` + "`change`" + `: a record was put or deleted.
- ` + "`synced`" + `: everything that was there at the beginning has been told; only without after.
- ` + "`bookmark`" + `: nothing else up to this revision; every 10 s.
- ` + "`error`" + `: a problem document; the stream ends. too-late: begin again without after.

The id of an event is the revision to go on from, by after or Last-Event-ID. Who does not read is cut off.`

func (a *API) registerWatch() {
	op := Op{ID: "watch", Method: http.MethodGet, Path: "/v1/watch", Right: Known, Tag: "server", Summary: "Watch records", Doc: watchDoc, Query: []Query{
		{Name: "kinds", Type: huma.TypeString, Doc: "The kinds, with commas between them; none: all that the caller may read."},
		{Name: "project", Type: huma.TypeString, Doc: "Only records of the project of this name or id."},
		{Name: "after", Type: huma.TypeString, Doc: "The revision after which to begin; none: begin with everything that is there."},
	}}
	a.Raw(op, http.HandlerFunc(a.serveWatch))
	item := a.OpenAPI().Paths["/v1/watch"].Get
	item.Parameters = append(item.Parameters, &huma.Param{Name: "Last-Event-ID", In: "header", Description: "The same as after, from a stream that broke.", Schema: &huma.Schema{Type: huma.TypeString}})
	item.Responses["200"].Content = map[string]*huma.MediaType{"text/event-stream": {Schema: a.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[WatchEvent](), true, "")}}
}

// stream is one watch of one caller.
type stream struct {
	api     *API
	caller  Caller
	kinds   map[resource.Kind]*kindRoutes
	project resource.ID
	w       http.ResponseWriter
	ctl     *http.ResponseController
}

func (a *API) serveWatch(w http.ResponseWriter, r *http.Request) {
	s, after, err := a.newStream(w, r)
	if err != nil {
		writeProblem(w, r, err)
		return
	}
	a.watching.Add(1)
	defer a.watching.Add(-1)
	// A project that is watched may go while the caller, who may see all, stays.
	ctx, cancel := While(r.Context(), a.options.Recheck, func() error {
		_, err := a.project(&Call{Project: s.project, Snapshot: a.DB.Snapshot()})
		return err
	})
	defer cancel()
	var present []store.Entry
	listed := after < 0
	if listed {
		if present, after, err = a.DB.Store().List(ctx, s.named()...); err != nil {
			writeProblem(w, r, fault.Wrap(err, "watch"))
			return
		}
	}
	changes, err := a.DB.Follow(ctx, after)
	if err != nil {
		writeProblem(w, r, fault.Wrap(err, "watch"))
		return
	}
	defer changes.Stop()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Accel-Buffering", "no")
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return
	}
	if err := s.begin(present, after, listed); err != nil {
		return
	}
	s.follow(ctx, changes, after)
}

func (a *API) newStream(w http.ResponseWriter, r *http.Request) (*stream, int64, error) {
	q := r.URL.Query()
	s := &stream{api: a, caller: CallerOf(r.Context()), kinds: map[resource.Kind]*kindRoutes{}, project: a.projectID(a.DB.Snapshot(), q.Get("project")), w: w, ctl: http.NewResponseController(w)}
	if !s.caller.May(Read, s.project) && s.project != "" {
		return nil, 0, s.caller.refuse("cloud.watch", Read, q.Get("project"))
	}
	if q.Get("kinds") == "" {
		for name, k := range a.kinds {
			if s.mayKind(k) {
				s.kinds[name] = k
			}
		}
	} else {
		for _, word := range strings.Split(q.Get("kinds"), ",") {
			k, ok := a.kinds[resource.Kind(word)]
			if !ok {
				return nil, 0, fault.New(fault.NotFound, "there is no kind %q to watch", word)
			}
			if !s.mayKind(k) {
				return nil, 0, a.Authorize(s.caller, k.reading, s.whole(k))
			}
			s.kinds[k.Kind] = k
		}
	}
	from := r.Header.Get("Last-Event-ID")
	if from == "" {
		from = q.Get("after")
	}
	if from == "" {
		return s, -1, nil
	}
	after, err := strconv.ParseInt(from, 10, 64)
	if err != nil || after < 0 {
		return nil, 0, fault.New(fault.Invalid, "watch after %q: a revision is wanted, a whole number", from)
	}
	return s, after, nil
}

// mayKind reports whether the caller could see any record of a kind.
func (s *stream) mayKind(k *kindRoutes) bool {
	return s.api.allows(s.caller, k.reading, s.whole(k))
}

// whole stands for the records of a kind in the project of the caller, or in the cloud.
func (s *stream) whole(k *kindRoutes) resource.Ref {
	if k.Scope == resource.InProject {
		return resource.Ref{Kind: k.Kind, Project: s.caller.Project}
	}
	return resource.Ref{Kind: k.Kind}
}

func (s *stream) named() []resource.Kind {
	out := []resource.Kind{"-"} // never no kind at all, which would mean every kind
	for k := range s.kinds {
		out = append(out, k)
	}
	return out
}

// begin tells what is there. These events have no id: a stream that breaks here begins anew.
func (s *stream) begin(present []store.Entry, revision int64, listed bool) error {
	for _, e := range present {
		if text := s.see(store.Event{Key: e.Key, Value: e.Value}, e.Revision); text != nil {
			if err := s.write("change", "", text); err != nil {
				return err
			}
		}
	}
	word := "bookmark"
	if listed {
		word = "synced"
	}
	return s.send(word, id(revision), encoded(&WatchEvent{Revision: revision}))
}

func (s *stream) follow(ctx context.Context, changes *store.Follower, told int64) {
	beat := time.NewTicker(s.api.options.Beat)
	defer beat.Stop()
	for {
		some, err := changes.Next(ctx, beat.C)
		if ctx.Err() != nil {
			if cause := context.Cause(ctx); cause != ctx.Err() { // not the reader, who has gone
				s.end(cause)
			}
			return
		}
		if err != nil {
			s.end(err)
			return
		}
		for _, c := range some {
			if s.tell(c, told) != nil {
				return
			}
			told = c.Revision
		}
		if len(some) > 0 && s.ctl.Flush() != nil {
			return
		}
		due := len(some) == 0
		if !due { // a bookmark may be due where there is much that this caller does not see
			select {
			case <-beat.C:
				due = true
			default:
			}
		}
		if due && s.send("bookmark", id(told), encoded(&WatchEvent{Revision: told})) != nil {
			return
		}
	}
}

// tell writes what one revision changed. Only its last event carries its revision as id, so that
// a stream that breaks between two of them tells both again.
func (s *stream) tell(c store.Changes, before int64) error {
	var events [][]byte
	for _, e := range c.Events {
		if text := s.see(e, c.Revision); text != nil {
			events = append(events, text)
		}
	}
	for i, text := range events {
		upTo := before
		if i == len(events)-1 {
			upTo = c.Revision
		}
		if err := s.write("change", id(upTo), text); err != nil {
			return err
		}
	}
	return nil
}

// see writes the event that this caller sees of a change; nil if it is none of theirs.
func (s *stream) see(e store.Event, revision int64) []byte {
	k, ok := s.kinds[e.Key.Kind]
	if !ok || s.project != "" && e.Key.Project != s.project {
		return nil
	}
	if e.Value == nil && e.Old == nil {
		if !s.api.allows(s.caller, k.reading, e.Key) {
			return nil
		}
		return encoded(&WatchEvent{Revision: revision, Type: "delete", Kind: e.Key.Kind, Object: encoded(e.Key)})
	}
	told := s.api.events.of(k, e, revision, s.api.projectName)
	if told.object == nil || !k.visible(s.caller, told.object) {
		return nil
	}
	return told.to(s.caller.Sight(e.Key.Project))
}

// send is write, and lets nothing wait.
func (s *stream) send(event, id string, text []byte) error {
	if err := s.write(event, id, text); err != nil {
		return err
	}
	return s.ctl.Flush()
}

// write writes one event. A reader that does not read is waited for a little, then cut off.
func (s *stream) write(event, id string, text []byte) error {
	if id != "" {
		id = "id: " + id + "\n"
	}
	_ = s.ctl.SetWriteDeadline(time.Now().Add(s.api.options.Patience))
	_, err := fmt.Fprintf(s.w, "event: %s\n%sdata: %s\n\n", event, id, text)
	return err
}

func (s *stream) end(err error) {
	if err == nil {
		err = fault.New(fault.Unavailable, "the watch ended; begin again from the last id")
	}
	_ = s.send("error", "", encoded(AsProblem(err)))
}

func id(revision int64) string { return strconv.FormatInt(revision, 10) }
