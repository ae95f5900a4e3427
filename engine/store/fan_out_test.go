package store_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/engine/store/storetest"
)

// counting counts the watches of a store.
type counting struct {
	*memory.Store
	watches atomic.Int64
}

func (c *counting) Watch(ctx context.Context, after int64) (store.Watch, error) {
	c.watches.Add(1)
	return c.Store.Watch(ctx, after)
}

// hall is a store, its view that runs, and people who watch it.
type hall struct {
	*testing.T
	below *counting
	view  *store.DB
}

func newHall(t *testing.T, below *memory.Store) *hall {
	t.Helper()
	h := &hall{T: t, below: &counting{Store: below}}
	h.view = store.NewDB(h.below, resource.NewCatalog(cats))
	follow(t, h.view.View)
	return h
}

// say writes n revisions and gives the last one.
func say(t *testing.T, s store.Store, n int, value string) (last int64) {
	t.Helper()
	for range n {
		var err error
		last, err = s.Commit(t.Context(), store.Change{Key: store.ClaimKey("p", "word"), Op: store.Put, Value: []byte(value), Expect: store.Any})
		if err != nil {
			t.Fatal(err)
		}
	}
	return last
}

func (h *hall) watch(after int64) store.Watch {
	h.Helper()
	w, err := h.view.Watch(h.Context(), after)
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(w.Stop)
	return w
}

// hears reads until a revision, and finds none missing.
func (h *hall) hears(w store.Watch, after, upTo int64) {
	h.Helper()
	for want := after + 1; want <= upTo; want++ {
		select {
		case c, ok := <-w.Changes():
			if !ok || c.Revision != want {
				h.Fatalf("revision %d comes, %v, want %d: %v", c.Revision, ok, want, w.Err())
			}
			if h.view.Revision() < c.Revision {
				h.Errorf("revision %d is told before the view shows it", c.Revision)
			}
		case <-time.After(storetest.Patience):
			h.Fatalf("revision %d does not come", want)
		}
	}
}

// ends reads the rest and gives why there is no more.
func (h *hall) ends(w store.Watch) error {
	h.Helper()
	late := time.After(storetest.Patience)
	for {
		select {
		case _, more := <-w.Changes():
			if !more {
				return w.Err()
			}
		case <-late:
			h.Fatal("it does not end")
		}
	}
}

func TestTheSharedStorePassesTheSuite(t *testing.T) {
	loud := slog.Default() // the suite's records are no kind of the view's
	slog.SetDefault(slog.New(slog.DiscardHandler))
	defer slog.SetDefault(loud)
	storetest.Run(t, func(t *testing.T) store.Store { return newHall(t, memory.New()).view.Shared() })
}

func TestAThousandWatchersShareOneWatch(t *testing.T) {
	h := newHall(t, memory.New())
	start := say(t, h.below, 1, "0")
	var all []store.Watch
	for range 1000 {
		all = append(all, h.watch(start))
	}
	last := say(t, h.below, 3, "1")
	var wg sync.WaitGroup
	for _, w := range all {
		wg.Go(func() { h.hears(w, start, last) })
	}
	wg.Wait()
	if n := h.below.watches.Load(); n != 1 {
		t.Errorf("the store has %d watches", n)
	}
}

func TestAWatchFromBeforeTheViewReadsTheStoresPast(t *testing.T) {
	below := memory.New()
	before := say(t, below, 50, "old")
	h := newHall(t, below)
	w := h.watch(10)
	h.hears(w, 10, before)
	last := say(t, below, 20, "new")
	h.hears(w, before, last)
	if again := h.watch(last); h.below.watches.Load() != 2 {
		t.Errorf("a watch from the present is not shared: %+v", again)
	}
	for range 2 * 10_000 { // the memory store's past
		say(t, below, 1, "x")
	}
	if _, err := h.view.Watch(t.Context(), 10); !fault.Is(err, fault.TooLate) {
		t.Errorf("a past that nobody has gives %v", err)
	}
	if _, err := h.view.Watch(t.Context(), 1<<40); !fault.Is(err, fault.TooLate) {
		t.Errorf("a revision that never was gives %v", err)
	}
}

func TestAWatcherThatDoesNotReadIsCutOffAndHoldsUpNobody(t *testing.T) {
	for name, flood := range map[string]struct {
		revisions int
		value     string
	}{"many": {20_000, "x"}, "large": {40, strings.Repeat("x", 1<<20)}} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t, memory.New())
			start := say(t, h.below, 1, "0")
			slow, quick := h.watch(start), h.watch(start)
			for at := start; at < start+int64(flood.revisions); at++ {
				h.hears(quick, at, say(t, h.below, 1, flood.value))
			}
			if err := h.ends(slow); !fault.Is(err, fault.TooLate) || !strings.Contains(err.Error(), "list again") {
				t.Errorf("who does not read hears in the end: %v", err)
			}
		})
	}
}

func TestWatchersOfAViewThatLostItsWatchMissNothing(t *testing.T) {
	below := memory.New()
	view := store.NewDB(below, resource.NewCatalog(cats))
	h := &hall{T: t, view: view}
	start := say(t, below, 1, "0")
	sync := func() {
		if err := view.Sync(t.Context()); err != nil { // it lists, as after a watch that was too late
			t.Fatal(err)
		}
	}
	sync()
	w := h.watch(start)
	last := say(t, below, 5, "missed")
	sync()
	h.hears(w, start, last)
	deaf := h.watch(last)
	forgotten := say(t, below, 5, "forgotten")
	_ = below.Compact(t.Context(), forgotten)
	sync()
	if err := h.ends(deaf); !fault.Is(err, fault.TooLate) {
		t.Errorf("who cannot be told hears %v", err)
	}
}

func TestWatchersEndWithTheView(t *testing.T) {
	view := store.NewDB(memory.New(), resource.NewCatalog(cats))
	h := &hall{T: t, view: view}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { _ = view.Run(ctx) })
	last := say(t, view.Shared(), 1, "0")
	var all []store.Watch
	for range 10 {
		all = append(all, h.watch(last))
	}
	cancel()
	running.Wait()
	for _, w := range all {
		if err := h.ends(w); !fault.Is(err, fault.Unavailable) {
			t.Errorf("a watch of a view that has ended ends with %v", err)
		}
	}
}
