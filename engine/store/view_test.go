package store_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

func TestTheViewFindsByIDNameAndReference(t *testing.T) {
	w := newWorld(t)
	a := w.create("tom")
	w.do(func(b *store.Batch) {
		store.Specs(store.NewRegistry(), boxes, "test").Create(b, &box{Meta: resource.Meta{ID: "box1", Name: "box1"}})
		w.specs.Set(b, a, func(s *catSpec) { s.BoxID = "box1" })
	})
	s := w.db.Snapshot()
	if got := store.Named(s, cats, "p", "tom"); got == nil || got.ID != a.ID {
		t.Errorf("by name: %v", got)
	}
	if got := store.Named(s, cats, "p", string(a.ID)); got == nil {
		t.Error("not found by id in place of a name")
	}
	if got := store.Named(s, cats, "q", string(a.ID)); got != nil {
		t.Error("found by id from another project")
	}
	if got := store.Referring(s, cats, "box1"); len(got) != 1 || got[0].Spec.BoxID != "box1" {
		t.Errorf("by reference: %v", got)
	}
	if got := store.Referring(s, boxes, "box1"); len(got) != 0 {
		t.Errorf("a reference of another kind: %v", got)
	}
	if _, err := store.Need(s, cats, "nobody"); !fault.Is(err, fault.NotFound) {
		t.Errorf("need of what is not there gives %v", err)
	}
	w.do(func(b *store.Batch) { w.specs.Set(b, w.find(a.ID), func(s *catSpec) { s.BoxID = "" }) })
	if got := store.Referring(w.db.Snapshot(), cats, "box1"); len(got) != 0 {
		t.Error("an old reference is still indexed")
	}
	if got := store.Referring(s, cats, "box1"); len(got) != 1 {
		t.Error("a snapshot changed")
	}
}

func TestWhatOneRecordAloneHasIsFoundByItsWord(t *testing.T) {
	w := newWorld(t)
	a, b := w.create("tom"), w.create("kit")
	take := func(batch *store.Batch, c *cat, basket string) {
		w.specs.Set(batch, w.find(c.ID), func(s *catSpec) { s.Basket = basket })
	}
	has := func(basket string) string {
		if x := w.db.Snapshot().TakenBy("basket:" + basket); x != nil {
			return x.Head().Name
		}
		return ""
	}
	w.do(func(batch *store.Batch) { take(batch, a, "red"); take(batch, b, "blue") })
	if has("red") != "tom" || has("blue") != "kit" || has("green") != "" {
		t.Errorf("red is %q's, blue %q's, green %q's", has("red"), has("blue"), has("green"))
	}
	w.do(func(batch *store.Batch) { take(batch, a, "green"); take(batch, b, "red") })
	if has("red") != "kit" || has("blue") != "" || has("green") != "tom" {
		t.Errorf("after they changed: red is %q's, blue %q's, green %q's", has("red"), has("blue"), has("green"))
	}
	w.do(func(batch *store.Batch) { w.specs.Delete(batch, w.find(b.ID)) })
	if has("red") != "" {
		t.Errorf("%s is gone and still has it", has("red"))
	}
}

func TestSubscribersHearEachRevisionInOrder(t *testing.T) {
	w := newWorld(t)
	var heard []string
	w.db.Subscribe(func(deltas []store.Delta) {
		for _, d := range deltas {
			switch {
			case d.Old == nil:
				heard = append(heard, "new "+d.New.Head().Name)
			case d.New == nil:
				heard = append(heard, "gone "+d.Old.Head().Name)
			default:
				heard = append(heard, fmt.Sprintf("%s %d to %d", d.New.Head().Name, d.Old.Head().Generation, d.New.Head().Generation))
			}
		}
	})
	a := w.create("a")
	w.do(func(b *store.Batch) { w.specs.Set(b, a, func(s *catSpec) { s.Colour = "red" }) })
	w.do(func(b *store.Batch) { w.specs.Delete(b, w.find(a.ID)) })
	if got := strings.Join(heard, ", "); got != "new a, a 1 to 2, gone a" {
		t.Errorf("heard: %s", got)
	}
}

func TestANameThatPassesOnIsFoundAtItsNewOwner(t *testing.T) {
	w := newWorld(t)
	a := w.create("tom")
	var second *cat
	w.do(func(b *store.Batch) {
		second = &cat{Meta: resource.Meta{Name: "tom", Project: "p"}}
		w.specs.Delete(b, a)
		w.specs.Create(b, second)
	})
	if got := store.Named(w.db.Snapshot(), cats, "p", "tom"); got == nil || got.ID != second.ID {
		t.Fatalf("the name leads to %v", got)
	}
	// The same while nobody watched: the view lists anew.
	third := &cat{Meta: resource.Meta{Name: "tom", Project: "p"}}
	other := store.NewDB(w.memory, w.db.Catalog())
	other.Inline = true
	for _, fill := range []func(*store.Batch){
		func(b *store.Batch) { w.specs.Delete(b, w.find(second.ID)) },
		func(b *store.Batch) { w.specs.Create(b, third) },
	} {
		b := other.Begin()
		fill(b)
		if err := other.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := store.Named(w.db.Snapshot(), cats, "p", "tom"); got == nil || got.ID != third.ID {
		t.Fatalf("after a list the name leads to %v", got)
	}
}

func TestARecordThatIsNotUnderstoodIsLeftAloneAndListed(t *testing.T) {
	w := newWorld(t)
	a := w.create("tom")
	unknown := resource.Ref{Kind: "dog", Project: "p", ID: "d"}
	broken := a.Ref()
	w.raw("dog", "d", `{"kind":"dog","id":"d"}`)
	w.raw("cat", a.ID, `{"kind":"cat","spec":{"colour":7}}`)
	w.raw("cat", "liar", `{"kind":"cat","id":"other","projectID":"p"}`)
	if err := w.db.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	listed := w.db.NotUnderstood()
	if len(listed) != 3 || listed[unknown] == "" || listed[broken] == "" {
		t.Fatalf("listed: %v", listed)
	}
	for _, x := range w.db.Unreadable() {
		if newer := x.Key == unknown; x.Newer != newer || strings.Contains(x.Remedy(), "update") != newer || strings.Contains(x.Remedy(), "--delete cat/") == newer {
			t.Errorf("%s: %s; %s", x.Key, x.Why, x.Remedy())
		}
	}
	if got := w.find(a.ID); got == nil || got.Spec.Colour != "black" {
		t.Fatal("what it last understood is gone: loops would tear it down")
	}
	w.raw("cat", a.ID, `{"kind":"cat","id":"`+string(a.ID)+`","projectID":"p","name":"tom","spec":{"colour":"red"}}`)
	w.raw("dog", "d", "")
	w.raw("cat", "liar", "")
	if err := w.db.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if listed := w.db.NotUnderstood(); len(listed) != 0 || w.find(a.ID).Spec.Colour != "red" {
		t.Fatalf("after they were mended: %v", listed)
	}
}

func TestWaitForReturnsWhenTheRevisionIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memory.New()
		v := store.NewView(m, resource.NewCatalog(cats))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = v.Run(ctx) })
		synctest.Wait()
		waited := make(chan error, 1)
		go func() { waited <- v.WaitFor(ctx, 1) }()
		synctest.Wait()
		if len(waited) != 0 {
			t.Fatal("it did not wait")
		}
		_, _ = m.Commit(ctx, store.Change{Key: store.ClaimKey("", "x"), Op: store.Put, Value: []byte("1")})
		synctest.Wait()
		if err := <-waited; err != nil {
			t.Fatal(err)
		}
		short, stop := context.WithTimeout(ctx, time.Second)
		defer stop()
		if err := v.WaitFor(short, 99); !fault.Is(err, fault.Unavailable) {
			t.Errorf("a revision that does not come gives %v", err)
		}
		cancel()
		wg.Wait()
	})
}

// fickle is a store that can be made to lose its watches and forget its past.
type fickle struct {
	*memory.Store
	mu    sync.Mutex
	watch store.Watch
	lists int
}

func (f *fickle) List(ctx context.Context, kinds ...resource.Kind) ([]store.Entry, int64, error) {
	f.mu.Lock()
	f.lists++
	f.mu.Unlock()
	return f.Store.List(ctx, kinds...)
}

func (f *fickle) Watch(ctx context.Context, after int64) (store.Watch, error) {
	w, err := f.Store.Watch(ctx, after)
	f.mu.Lock()
	f.watch = w
	f.mu.Unlock()
	return w, err
}

// lose ends the watch, when there is one.
func (f *fickle) lose() {
	for {
		f.mu.Lock()
		w := f.watch
		f.mu.Unlock()
		if w != nil {
			w.Stop()
			return
		}
		time.Sleep(time.Millisecond)
	}
}

func TestAViewThatLostItsWatchMissesNothing(t *testing.T) {
	for _, forgets := range []bool{false, true} {
		t.Run(fmt.Sprintf("forgets=%v", forgets), func(t *testing.T) {
			f := &fickle{Store: memory.New()}
			db := store.NewDB(f, resource.NewCatalog(cats, boxes))
			specs := store.Specs(store.NewRegistry(), cats, "test")
			changed := 0
			db.Subscribe(func(d []store.Delta) { changed += len(d) })
			follow(t, db.View)
			commit := func(fill func(b *store.Batch)) {
				t.Helper()
				b := db.Begin()
				fill(b)
				if err := db.Commit(t.Context(), b); err != nil {
					t.Fatal(err)
				}
			}
			stays, goes := &cat{Meta: resource.Meta{Name: "stays"}}, &cat{Meta: resource.Meta{Name: "goes"}}
			commit(func(b *store.Batch) { specs.Create(b, stays); specs.Create(b, goes) })
			f.lose()
			// While it does not watch: one goes, one changes, one comes.
			b := db.Begin()
			s := db.Snapshot()
			specs.Delete(b, store.Find(s, cats, goes.ID))
			specs.Set(b, store.Find(s, cats, stays.ID), func(c *catSpec) { c.Colour = "red" })
			comes := &cat{Meta: resource.Meta{Name: "comes"}}
			specs.Create(b, comes)
			changes, _ := b.Changes()
			revision, err := f.Commit(t.Context(), changes...)
			if err != nil {
				t.Fatal(err)
			}
			if forgets {
				_ = f.Compact(t.Context(), revision)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			if err := db.WaitFor(ctx, revision); err != nil {
				t.Fatal(err)
			}
			s = db.Snapshot()
			if store.Find(s, cats, goes.ID) != nil || store.Find(s, cats, comes.ID) == nil || store.Find(s, cats, stays.ID).Spec.Colour != "red" {
				t.Error("the view differs from the store")
			}
		})
	}
}

// swapped is a store in whose place another one may come.
type swapped struct{ store.Store }

func TestAViewFollowsAStoreThatWasRestoredToItsPast(t *testing.T) {
	w := newWorld(t)
	a := w.create("tom")
	w.do(func(b *store.Batch) { w.specs.Set(b, a, func(s *catSpec) { s.Colour = "red" }) })
	w.create("later")
	below := &swapped{w.memory}
	view := store.NewView(below, w.db.Catalog())
	if err := view.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	old := memory.New()
	e, _ := w.memory.Get(t.Context(), a.Ref())
	value := strings.Replace(string(e.Value), "red", "white", 1)
	_, _ = old.Commit(t.Context(), store.Change{Key: e.Key, Op: store.Put, Value: []byte(value)})
	below.Store = old
	if err := view.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := store.Every(view.Snapshot(), cats); len(got) != 1 || got[0].Spec.Colour != "white" || view.Revision() != 1 {
		t.Fatalf("the view shows %d cats at revision %d", len(got), view.Revision())
	}
}
