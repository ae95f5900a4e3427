package observe

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

type world struct {
	*testing.T
	db    *store.DB
	specs *store.SpecWriter[EventSpec, EventStatus]
	now   time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), specs: store.Specs(store.NewRegistry(), Events, "test")}
	w.db = store.NewDB(memory.New(), resource.NewCatalog(Events))
	w.db.Now = func() time.Time { return w.now }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = w.db.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return w
}

var web = resource.Ref{Kind: "vm", Project: "blue", ID: "v1"}

func (w *world) commit(b *store.Batch) {
	w.Helper()
	if err := w.db.Commit(w.Context(), b); err != nil {
		w.Fatal(err)
	}
}

func (w *world) tell(r *Recorder, about resource.Ref, reason string) {
	w.Helper()
	b := w.db.Begin()
	r.Record(b, about, "web", Warning, reason, "the guest of web crashed", "agent")
	w.commit(b)
}

func (w *world) events() []*Event { return store.Every(w.db.Snapshot(), Events) }

func TestAnEventBelongsToTheProjectOfWhatItIsAbout(t *testing.T) {
	w := newWorld(t)
	w.tell(NewRecorder(w.db, w.specs, "host-1"), web, "crashed")
	got := w.events()
	if len(got) != 1 || got[0].Project != "blue" || got[0].Spec.Subject != "web" || got[0].Spec.HostID != "host-1" || !got[0].Spec.At.Equal(w.now) {
		t.Errorf("got %+v", got)
	}
}

func TestAnOperationThatEndsWithoutSuccessIsTold(t *testing.T) {
	w := newWorld(t)
	r := NewRecorder(w.db, w.specs, "")
	op := &operation.Operation{Spec: operation.Spec{Type: "vm.migrate", Target: web, By: "eva"}}
	op.Status.Why = "transfer: the target ended"
	for _, phase := range []string{operation.Failed, operation.Cancelled} {
		b := w.db.Begin()
		r.Undone(b, op, phase)
		w.commit(b)
	}
	var got []string
	for _, e := range w.events() {
		got = append(got, e.Spec.Severity+" "+e.Spec.Reason+": "+e.Spec.Message+" ("+e.Spec.By+")")
	}
	slices.Sort(got)
	want := []string{"info operation-cancelled: vm.migrate v1 was cancelled (eva)", "warning operation-failed: vm.migrate v1 failed: transfer: the target ended (eva)"}
	if !slices.Equal(got, want) {
		t.Errorf("told is %q", got)
	}
}

func TestTheSameAboutTheSameIsToldOnceAMinute(t *testing.T) {
	w := newWorld(t)
	r := NewRecorder(w.db, w.specs, "")
	w.tell(r, web, "crashed")
	w.tell(r, web, "crashed")
	w.tell(r, web, "started")
	w.tell(r, resource.Ref{Kind: "vm", Project: "blue", ID: "v2"}, "crashed")
	if n := len(w.events()); n != 3 {
		t.Errorf("%d events, want 3", n)
	}
	w.now = w.now.Add(time.Minute)
	w.tell(r, web, "crashed")
	if n := len(w.events()); n != 4 {
		t.Errorf("%d events a minute later, want 4", n)
	}
}

func TestAnEventWhoseCommitWasLostIsToldAgain(t *testing.T) {
	w := newWorld(t)
	r := NewRecorder(w.db, w.specs, "")
	r.Record(w.db.Begin(), web, "web", Info, "started", "web started", "api") // never committed
	w.tell(r, web, "started")
	if n := len(w.events()); n != 1 {
		t.Errorf("%d events, want 1", n)
	}
}

func TestAnAgentThatSeesNoEventsStillDoesNotFlood(t *testing.T) {
	w := newWorld(t)
	blind := store.NewDB(memory.New(), resource.NewCatalog(Events)) // its view shows nothing
	blind.Now = w.db.Now
	r := NewRecorder(blind, w.specs, "h")
	for range 100 {
		w.tell(r, web, "crashed")
	}
	if n := len(w.events()); n != repeats {
		t.Errorf("%d events, want %d", n, repeats)
	}
}

func TestOldEventsGo(t *testing.T) {
	w := newWorld(t)
	r := NewRecorder(w.db, w.specs, "")
	loop := NewRetention(w.db, w.specs)
	for i := range 200 {
		w.tell(r, web, fmt.Sprint("old-", i))
	}
	w.now = w.now.Add(KeepFor)
	w.tell(r, web, "new")
	step := func() {
		t.Helper()
		if _, err := loop.Step(t.Context(), "any"); err != nil {
			t.Fatal(err)
		}
	}
	step()
	if n := len(w.events()); n != 201 {
		t.Errorf("%d events after exactly seven days, want 201", n)
	}
	w.now = w.now.Add(2 * sweepEvery)
	step()
	if n := len(w.events()); n != 1 {
		t.Errorf("%d events after more than seven days, want 1", n)
	}
	before := w.db.Revision()
	w.now = w.now.Add(2 * sweepEvery)
	step()
	if w.db.Revision() != before {
		t.Error("a second look removed more")
	}
}

func TestOnlySoManyOfTheNewestAreKept(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	var all []*Event
	for i := range KeepNewest + 5 {
		all = append(all, &Event{Meta: resource.Meta{Name: fmt.Sprint(i)}, Spec: EventSpec{At: now.Add(time.Duration(i) * time.Second)}})
	}
	got := Surplus(all, now.Add(time.Duration(len(all))*time.Second))
	if len(got) != 5 || got[4].Name != "0" || got[0].Name != "4" {
		t.Errorf("%d too many", len(got))
	}
}

func TestAListOfEventsIsNarrowedAndNewestFirst(t *testing.T) {
	w := newWorld(t)
	r := NewRecorder(w.db, w.specs, "")
	for i, reason := range []string{"created", "started", "crashed"} {
		w.now = w.now.Add(time.Duration(i) * time.Hour)
		w.tell(r, web, reason)
	}
	all := func(*Event) bool { return true }
	reasons := func(f Filter) (out string) {
		for _, e := range Newest(w.db.Snapshot(), all, f) {
			out += e.Spec.Reason + " "
		}
		return out
	}
	for want, f := range map[string]Filter{
		"crashed started created ": {},
		"crashed ":                 {Limit: 1},
		"crashed started ":         {Since: w.now.Add(-2 * time.Hour)},
		"created ":                 {About: "web", Reason: "created"},
		"":                         {About: "v2"},
	} {
		if got := reasons(f); got != want {
			t.Errorf("%+v: %q, want %q", f, got, want)
		}
	}
	if got := Newest(w.db.Snapshot(), func(*Event) bool { return false }, Filter{}); len(got) != 0 {
		t.Error("what may not be seen is listed")
	}
}
