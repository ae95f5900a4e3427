package part

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

type note struct{}

var notes = resource.Define("note", "notes", resource.Options[note, note]{Doc: "A note.", Scope: resource.InCloud})
var others = resource.Define("other", "others", resource.Options[note, note]{Doc: "Something else.", Scope: resource.InCloud})

// drive runs a chore on an empty store until the test ends; it gives the store.
func drive(t *testing.T, c Chore) (*store.DB, *store.Registry) {
	db := store.NewDB(memory.New(), resource.NewCatalog(notes, others))
	nothing := func(context.Context, resource.ID) (reconcile.Result, error) { return reconcile.Result{}, nil }
	loop := &reconcile.Loop{Name: "a loop", Kind: notes.Kind, Step: nothing}
	r := NewRunner(db, Part{Loops: []*reconcile.Loop{loop}}, Part{Chores: []Chore{c}})
	if want := []string{"a loop", c.Name}; !slices.Equal(r.Names(), want) {
		t.Errorf("it runs %v, want %v", r.Names(), want)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{}, 2)
	go func() { r.Run(ctx); ended <- struct{}{} }()
	synctest.Wait() // it waits for the records
	go func() { _ = db.Run(ctx); ended <- struct{}{} }()
	t.Cleanup(func() { cancel(); <-ended; <-ended })
	return db, store.NewRegistry()
}

func put[S, T any](t *testing.T, db *store.DB, l *store.Registry, kind *resource.Type[S, T]) {
	b := db.Begin()
	store.Specs(l, kind, "test").Create(b, &resource.Record[S, T]{})
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
}

func TestChoreIsDoneAtOnceThenByTheClockAndWhenItIsWoken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begun := time.Now()
		db, l := drive(t, Chore{Name: "sweep", Every: time.Minute, Together: time.Second, Wakes: []resource.Kind{notes.Kind}, Do: func(context.Context) error {
			at = append(at, time.Since(begun))
			return nil
		}})
		put(t, db, l, others)
		time.Sleep(90 * time.Second)
		put(t, db, l, notes)
		time.Sleep(2 * time.Second)
		if want := []time.Duration{0, time.Minute, 91 * time.Second}; !slices.Equal(at, want) {
			t.Errorf("done at %v, want %v", at, want)
		}
	})
}

func TestChoreRestsThreeTimesAsLongAsItTook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begun := time.Now()
		db, l := drive(t, Chore{Name: "compile", Every: time.Minute, Together: 10 * time.Millisecond, Wakes: []resource.Kind{notes.Kind}, Do: func(context.Context) error {
			at = append(at, time.Since(begun))
			time.Sleep(100 * time.Millisecond)
			return nil
		}})
		put(t, db, l, others)
		time.Sleep(110 * time.Millisecond)
		put(t, db, l, notes) // while it rests
		time.Sleep(10 * time.Second)
		put(t, db, l, others) // concerns it not
		put(t, db, l, notes)  // long after
		time.Sleep(time.Second)
		if want := []time.Duration{0, 400 * time.Millisecond, 10*time.Second + 120*time.Millisecond}; !slices.Equal(at, want) {
			t.Errorf("done at %v, want %v", at, want)
		}
	})
}

func TestChoreThatFailsIsTriedAgainWithGrowingPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		begun := time.Now()
		db, l := drive(t, Chore{Name: "sweep", Every: time.Minute, Do: func(context.Context) error {
			at = append(at, time.Since(begun))
			if len(at) < 4 {
				return errors.New("not now")
			}
			return nil
		}})
		put(t, db, l, others)
		time.Sleep(30 * time.Second)
		if want := []time.Duration{0, 50 * time.Millisecond, 150 * time.Millisecond, 350 * time.Millisecond}; !slices.Equal(at, want) {
			t.Errorf("done at %v, want %v", at, want)
		}
	})
}

func TestChorePauseIsNeverLongerThanItsClock(t *testing.T) {
	c := Chore{Every: 10 * time.Second}
	for failures, want := range map[int]time.Duration{0: 10 * time.Second, 1: 50 * time.Millisecond, 3: 200 * time.Millisecond, 7: 2 * time.Second, 1000: 2 * time.Second} {
		if got := c.Pause(failures); got != want {
			t.Errorf("after %d failures it rests %v, want %v", failures, got, want)
		}
	}
	if got := (&Chore{Every: 20 * time.Millisecond}).Pause(5); got != 20*time.Millisecond {
		t.Errorf("a chore of every 20 ms rests %v", got)
	}
}
