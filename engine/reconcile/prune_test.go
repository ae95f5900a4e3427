package reconcile

import (
	"context"
	"errors"
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

// attic is a host with effects, a store, and a view of it that may be behind.
type attic struct {
	truth   *memory.Store
	known   Knowledge
	pruner  *Pruner
	here    map[resource.ID]bool
	now     time.Time
	doubt   error
	listing error
	refuses error
	removed []resource.ID
	// during happens in the middle of a sweep, after the inventory was taken.
	during func()
}

const wait = 2 * time.Minute

func newAttic(wait time.Duration) *attic {
	a := &attic{truth: memory.New(), here: map[resource.ID]bool{}, now: time.Unix(1_800_000_000, 0)}
	a.known.DB = store.NewDB(a.truth, resource.NewCatalog(things))
	a.known.DB.Now = func() time.Time { return a.now }
	a.known.Current = func() error { return a.doubt }
	a.pruner = &Pruner{Name: "thing", Kind: things.Kind, Wait: wait,
		List: func(context.Context) ([]resource.ID, error) {
			out := slices.Sorted(maps.Keys(a.here))
			if a.during != nil {
				a.during()
			}
			return out, a.listing
		},
		Remove: func(_ context.Context, id resource.ID) error {
			if a.refuses != nil {
				return a.refuses
			}
			delete(a.here, id)
			a.removed = append(a.removed, id)
			return nil
		}}
	a.put("seed", `{"id":"seed","kind":"thing","name":"seed"}`)
	a.see()
	return a
}

func (a *attic) put(id resource.ID, value string) {
	change := store.Change{Key: resource.Ref{Kind: things.Kind, ID: id}, Op: store.Put, Value: []byte(value), Expect: store.Any}
	if value == "" {
		change.Op, change.Value = store.Delete, nil
	}
	if _, err := a.truth.Commit(context.Background(), change); err != nil {
		panic(err)
	}
}

func (a *attic) record(id resource.ID) {
	a.put(id, `{"id":"`+string(id)+`","kind":"thing","name":"`+string(id)+`"}`)
}

func (a *attic) see() {
	if err := a.known.DB.Sync(context.Background()); err != nil {
		panic(err)
	}
}

func (a *attic) sweep() error { return a.pruner.Sweep(context.Background(), a.known) }

// sweeps for as long as a thing without a record stays, and once more.
func (a *attic) sweeps(t *testing.T) {
	t.Helper()
	for range 6 {
		if err := a.sweep(); err != nil {
			t.Fatal(err)
		}
		a.now = a.now.Add(wait / 4)
	}
}

func TestPrunerRemovesWhatIsSurelyGone(t *testing.T) {
	a := newAttic(wait)
	a.record("kept")
	a.see()
	a.here["kept"], a.here["stray"] = true, true
	if err := a.sweep(); err != nil || len(a.removed) != 0 {
		t.Fatalf("at first sight: %v, %v", a.removed, err)
	}
	a.sweeps(t)
	if !slices.Equal(a.removed, []resource.ID{"stray"}) {
		t.Errorf("removed %v", a.removed)
	}
}

func TestPrunerRemovesNothingOfWhichThereIsDoubt(t *testing.T) {
	for name, spoil := range map[string]func(*attic){
		"the servers are silent":                func(a *attic) { a.doubt = errors.New("silent") },
		"the view is behind the store":          func(a *attic) { a.record("x") },
		"the record cannot be read":             func(a *attic) { a.put("x", `{"id":`); a.see() },
		"the record cannot be read, and is new": func(a *attic) { a.put("x", `{"id":`) },
		"the view has seen nothing":             func(a *attic) { a.known.DB = store.NewDB(a.truth, resource.NewCatalog(things)) },
		"the server that answers is behind": func(a *attic) {
			old := memory.New()
			if _, err := old.Commit(context.Background()); err != nil {
				panic(err)
			}
			db := store.NewDB(&lagging{Store: a.truth, old: old}, resource.NewCatalog(things))
			db.Apply(store.Changes{Revision: 1000})
			db.Now = func() time.Time { return a.now }
			a.known.DB = db
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := newAttic(wait)
			a.here["x"] = true
			spoil(a)
			for range 6 {
				_ = a.sweep()
				a.now = a.now.Add(wait / 4)
			}
			if len(a.removed) != 0 {
				t.Errorf("removed %v", a.removed)
			}
		})
	}
}

// lagging answers from an older state.
type lagging struct {
	store.Store
	old store.Store
}

func (l *lagging) List(ctx context.Context, kinds ...resource.Kind) ([]store.Entry, int64, error) {
	return l.old.List(ctx, kinds...)
}

func TestPrunerBeginsToWaitAnewAfterADoubt(t *testing.T) {
	a := newAttic(wait)
	a.here["stray"] = true
	_ = a.sweep()
	a.now = a.now.Add(10 * wait)
	a.doubt = errors.New("silent")
	_ = a.sweep()
	a.doubt = nil
	if err := a.sweep(); err != nil || len(a.removed) != 0 {
		t.Fatalf("right after a silence: %v, %v", a.removed, err)
	}
	a.sweeps(t)
	if len(a.removed) != 1 {
		t.Errorf("removed %v", a.removed)
	}
}

func TestPrunerWithAnInventoryThatFailsRemovesNothing(t *testing.T) {
	a := newAttic(0)
	a.here["stray"], a.listing = true, errors.New("the disk is on fire")
	if err := a.sweep(); err == nil || len(a.removed) != 0 {
		t.Errorf("removed %v, %v", a.removed, err)
	}
}

func TestPrunerLooksAtTheViewAfterTheInventory(t *testing.T) {
	a := newAttic(0)
	a.during = func() { // somebody makes a record and its effect, in this order
		a.record("new")
		a.see()
	}
	a.here["new"] = true
	if err := a.sweep(); err != nil || len(a.removed) != 0 {
		t.Errorf("removed %v, %v", a.removed, err)
	}
}

func TestPrunerThatCannotRemoveOneRemovesTheOthersAndTriesAgain(t *testing.T) {
	a := newAttic(0)
	a.here["one"], a.here["two"], a.refuses = true, true, errors.New("busy")
	if err := a.sweep(); err == nil || len(a.here) != 2 {
		t.Fatalf("left %v, %v", a.here, err)
	}
	a.refuses = nil
	if err := a.sweep(); err != nil || len(a.here) != 0 {
		t.Errorf("left %v, %v", a.here, err)
	}
}

// Whatever happens in whatever order: what has a record stays, and what has none goes in the end.
func TestPrunerNeverRemovesWhatHasARecord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := newAttic(rapid.SampledFrom([]time.Duration{0, wait}).Draw(t, "wait"))
		ids, has := []resource.ID{"a", "b", "c"}, map[resource.ID]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := rapid.SampledFrom(ids).Draw(t, "id")
			switch rapid.IntRange(0, 6).Draw(t, "what") {
			case 0: // the agent makes an effect of a record that it has seen
				if !has[id] {
					a.record(id)
					has[id] = true
				}
				a.see()
				a.here[id] = true
			case 1: // a record comes back, or comes, and the view does not know
				a.record(id)
				has[id] = true
			case 2:
				if has[id] {
					a.put(id, "")
					delete(has, id)
				}
			case 3:
				a.see()
			case 4:
				a.doubt = rapid.SampledFrom([]error{nil, nil, errors.New("silent")}).Draw(t, "doubt")
			case 5:
				a.now = a.now.Add(wait / 2)
			}
			a.removed = nil
			err := a.sweep()
			for _, id := range a.removed {
				if has[id] || a.doubt != nil || err != nil {
					t.Fatalf("%s was removed: record %v, doubt %v, error %v", id, has[id], a.doubt, err)
				}
			}
		}
		a.doubt = nil
		a.see()
		for range 6 {
			_ = a.sweep()
			a.now = a.now.Add(wait / 2)
		}
		for id := range a.here {
			if !has[id] {
				t.Fatalf("%s has no record and stays", id)
			}
		}
	})
}
