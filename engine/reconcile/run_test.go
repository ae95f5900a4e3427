package reconcile

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

type spec struct {
	OtherID resource.ID `json:"otherID,omitempty"`
}

type status struct{ resource.Observed }

var (
	things = resource.Define("thing", "things", resource.Options[spec, status]{})
	parts  = resource.Define("part", "parts", resource.Options[spec, status]{
		Refs: func(r *resource.Record[spec, status]) []resource.Ref {
			return []resource.Ref{{Kind: "thing", ID: r.Spec.OtherID}}
		},
	})
	loose = resource.Define("loose", "looses", resource.Options[spec, status]{})
)

// bench is a DB with loops that run, inside a bubble of time of their own.
type bench struct {
	*testing.T
	db     *store.DB
	things *store.SpecWriter[spec, status]
	parts  *store.SpecWriter[spec, status]
	loose  *store.SpecWriter[spec, status]

	mu    sync.Mutex
	calls []call
}

type call struct {
	id resource.ID
	at time.Duration // since the start
}

func run(t *testing.T, loop *Loop, step func(b *bench, id resource.ID) (Result, error), test func(b *bench)) {
	synctest.Test(t, func(t *testing.T) {
		registry := store.NewRegistry()
		b := &bench{
			T: t, db: store.NewDB(memory.New(), resource.NewCatalog(things, parts, loose)),
			things: store.Specs(registry, things, "test"), parts: store.Specs(registry, parts, "test"), loose: store.Specs(registry, loose, "test"),
		}
		start := time.Now()
		loop.Kind = "thing"
		loop.Step = func(_ context.Context, id resource.ID) (Result, error) {
			b.mu.Lock()
			b.calls = append(b.calls, call{id, time.Since(start)})
			b.mu.Unlock()
			return step(b, id)
		}
		ctx, cancel := context.WithCancel(t.Context())
		runner := NewRunner(b.db, loop)
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.db.Run(ctx) })
		wg.Go(func() { runner.Run(ctx) })
		synctest.Wait()
		test(b)
		cancel()
		wg.Wait()
	})
}

func (b *bench) thing(id resource.ID) *resource.Record[spec, status] {
	b.Helper()
	r := &resource.Record[spec, status]{Meta: resource.Meta{ID: id}}
	batch := b.db.Begin()
	b.things.Create(batch, r)
	b.must(batch)
	return store.Find(b.db.Snapshot(), things, id)
}

func (b *bench) must(batch *store.Batch) {
	b.Helper()
	if err := b.db.Commit(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
}

// called lets time pass and gives the calls since the last time.
func (b *bench) called(after time.Duration) []call {
	time.Sleep(after)
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	out := b.calls
	b.calls = nil
	return out
}

func fine(*bench, resource.ID) (Result, error) { return Result{}, nil }

func TestALoopIsCalledForItsRecordsAndForWhatSpeaksOfThem(t *testing.T) {
	also := func(resource.Object) []resource.ID { return []resource.ID{"b"} }
	loop := &Loop{Name: "test", Resync: -1, Also: map[resource.Kind]func(resource.Object) []resource.ID{"loose": also}}
	run(t, loop, fine, func(b *bench) {
		b.thing("a")
		if got := b.called(0); len(got) != 1 || got[0].id != "a" {
			t.Fatalf("after the creation: %v", got)
		}
		batch := b.db.Begin()
		b.parts.Create(batch, &resource.Record[spec, status]{Spec: spec{OtherID: "a"}})
		b.must(batch)
		if got := b.called(0); len(got) != 1 || got[0].id != "a" {
			t.Fatalf("after a part of it changed: %v", got)
		}
		batch = b.db.Begin()
		b.loose.Create(batch, &resource.Record[spec, status]{})
		b.must(batch)
		if got := b.called(0); len(got) != 1 || got[0].id != "b" {
			t.Fatalf("after what Also maps: %v", got)
		}
		if got := b.called(time.Hour); len(got) != 0 {
			t.Fatalf("without a reason: %v", got)
		}
	})
}

func TestAllRecordsAreLookedAtOnTheTimer(t *testing.T) {
	run(t, &Loop{Name: "test", Resync: time.Minute}, fine, func(b *bench) {
		b.thing("a")
		b.thing("b")
		b.called(0)
		last := map[resource.ID]time.Duration{}
		for _, c := range b.called(10 * time.Minute) {
			if pause := c.at - last[c.id]; pause > 67*time.Second { // a tenth of jitter, and the turn within a resync
				t.Errorf("%s was not looked at for %v", c.id, pause)
			}
			last[c.id] = c.at
		}
		if len(last) != 2 || last["a"] < 8*time.Minute || last["b"] < 8*time.Minute {
			t.Fatalf("in 10 minutes they were last looked at after %v", last)
		}
	})
}

func TestAFailureIsTriedAgainWithGrowingPauses(t *testing.T) {
	step := func(*bench, resource.ID) (Result, error) { return Result{}, fault.New(fault.Unavailable, "not yet") }
	run(t, &Loop{Name: "test", Resync: -1}, step, func(b *bench) {
		b.thing("a")
		var at []time.Duration
		for _, c := range b.called(time.Second) {
			at = append(at, c.at/time.Millisecond)
		}
		if want := []time.Duration{0, 50, 150, 350, 750}; !slices.Equal(at, want) {
			t.Fatalf("called at %v ms, want %v", at, want)
		}
	})
}

func TestAPanicIsAFailureOfOneStepOnly(t *testing.T) {
	step := func(_ *bench, id resource.ID) (Result, error) {
		if id == "bad" {
			panic("a bug")
		}
		return Result{}, nil
	}
	run(t, &Loop{Name: "test", Resync: -1}, step, func(b *bench) {
		b.thing("bad")
		b.called(0)
		b.thing("good")
		got := b.called(60 * time.Millisecond)
		if !slices.ContainsFunc(got, func(c call) bool { return c.id == "good" }) || !slices.ContainsFunc(got, func(c call) bool { return c.id == "bad" }) {
			t.Fatalf("after a panic: %v", got)
		}
	})
}

func TestAStepIsCalledAgainWhenItAskedFor(t *testing.T) {
	step := func(*bench, resource.ID) (Result, error) { return Result{After: 10 * time.Second}, nil }
	run(t, &Loop{Name: "test", Resync: -1}, step, func(b *bench) {
		b.thing("a")
		b.called(0)
		if got := b.called(31 * time.Second); len(got) != 3 {
			t.Fatalf("in 31 s: %v", got)
		}
	})
}

func TestWorkersShareTheWorkAndNeverOneRecord(t *testing.T) {
	var mu sync.Mutex
	busy, most := map[resource.ID]int{}, 0
	step := func(_ *bench, id resource.ID) (Result, error) {
		mu.Lock()
		busy[id]++
		if busy[id] > 1 {
			mu.Unlock()
			return Result{}, errors.New("twice at once")
		}
		most = max(most, len(busy))
		mu.Unlock()
		time.Sleep(time.Second)
		mu.Lock()
		delete(busy, id)
		mu.Unlock()
		return Result{}, nil
	}
	run(t, &Loop{Name: "test", Resync: 100 * time.Millisecond, Workers: 4}, step, func(b *bench) {
		for _, id := range []resource.ID{"a", "b", "c", "d", "e"} {
			b.thing(id)
		}
		b.called(5 * time.Second)
		mu.Lock()
		defer mu.Unlock()
		if most != 4 {
			t.Errorf("at most %d were in work at once, want 4", most)
		}
	})
}

// A leader runs its loops once in each term. What changed in between is seen at the first look.
func TestRunnerThatRunsAgainSeesWhatChangedMeanwhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db, registry := store.NewDB(memory.New(), resource.NewCatalog(things, parts, loose)), store.NewRegistry()
		b := &bench{T: t, db: db, things: store.Specs(registry, things, "test")}
		var seen []resource.ID
		runner := NewRunner(db, &Loop{Name: "test", Kind: "thing", Resync: -1, Step: func(_ context.Context, id resource.ID) (Result, error) {
			seen = append(seen, id)
			return Result{}, nil
		}})
		ctx, end := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = db.Run(ctx) })
		synctest.Wait()
		b.thing("a")
		term := func(meanwhile resource.ID, want ...resource.ID) {
			ctx, over := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { defer close(ended); runner.Run(ctx) }()
			synctest.Wait()
			b.thing(meanwhile)
			synctest.Wait()
			over()
			<-ended
			if slices.Sort(seen); !slices.Equal(seen, want) {
				t.Errorf("it looked at %v, want %v", seen, want)
			}
			seen = nil
		}
		term("b", "a", "b")
		b.thing("c")
		if synctest.Wait(); len(seen) != 0 {
			t.Errorf("it looked at %v when nothing ran", seen)
		}
		term("d", "a", "b", "c", "d")
		end()
		wg.Wait()
	})
}
