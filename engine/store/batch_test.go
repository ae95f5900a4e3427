package store_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func TestCreationTakesTheNameAndRemovalFreesIt(t *testing.T) {
	w := newWorld(t)
	a := w.create("tom")
	if a.Generation != 1 || a.Revision == 0 || !a.Created.Equal(w.db.Now()) {
		t.Errorf("created as %+v", a.Meta)
	}
	err := w.try(func(b *store.Batch) {
		w.specs.Create(b, &cat{Meta: resource.Meta{Name: "tom", Project: "p"}})
	})
	if !fault.Is(err, fault.Exists) {
		t.Fatalf("a second tom gives %v", err)
	}
	w.do(func(b *store.Batch) { w.specs.Create(b, &cat{Meta: resource.Meta{Name: "tom", Project: "q"}}) })
	w.do(func(b *store.Batch) { w.specs.Delete(b, a) })
	if w.find(a.ID) != nil {
		t.Fatal("it is still there")
	}
	w.create("tom")
}

func TestARecordGoesWithItsLastHolder(t *testing.T) {
	w := newWorld(t)
	a := w.create("tom", "one", "two")
	w.do(func(b *store.Batch) { w.specs.Delete(b, a) })
	marked := w.find(a.ID)
	if marked == nil || marked.Deleting == nil || a.Deleting != nil {
		t.Fatal("it is not marked, or a shared record was changed in place")
	}
	w.do(func(b *store.Batch) { store.Release(b, marked, "one") })
	if got := w.find(a.ID); got == nil || !slices.Equal(got.Holders, []string{"two"}) {
		t.Fatalf("after the first let go: %+v", got)
	}
	w.do(func(b *store.Batch) { store.Release(b, w.find(a.ID), "two") })
	if w.find(a.ID) != nil || len(w.keys()) != 0 {
		t.Fatalf("left behind: %v", slices.Collect(maps.Keys(w.keys())))
	}
}

func TestTwoHoldersThatLetGoAtOnceDoNotLeaveItBehind(t *testing.T) {
	w := newWorld(t)
	a := w.create("tom", "one", "two")
	w.do(func(b *store.Batch) { w.specs.Delete(b, a) })
	seen := w.find(a.ID)
	w.do(func(b *store.Batch) { store.Release(b, seen, "one") })
	err := w.try(func(b *store.Batch) { store.Release(b, seen, "two") })
	if !fault.Is(err, fault.Conflict) {
		t.Fatalf("the second, who has not seen the first, gives %v", err)
	}
}

func TestAClaimIsHeldByOne(t *testing.T) {
	w := newWorld(t)
	key := store.ClaimKey("net", "10.0.0.5")
	w.do(func(b *store.Batch) {
		w.specs.Create(b, &cat{Meta: resource.Meta{Name: "a", Project: "p"}})
		b.Claim(key, "a")
	})
	err := w.try(func(b *store.Batch) {
		w.specs.Create(b, &cat{Meta: resource.Meta{Name: "b", Project: "p"}})
		b.Claim(key, "b")
	})
	if !fault.Is(err, fault.Exists) || store.Named(w.db.Snapshot(), cats, "p", "b") != nil {
		t.Fatalf("a second claim gives %v", err)
	}
	w.do(func(b *store.Batch) { b.Unclaim(key); b.Claim(key, "c") }) // it passes on in one commit
	w.do(func(b *store.Batch) { b.Unclaim(key) })
	w.do(func(b *store.Batch) { b.Claim(key, "d") })
}

func TestRenamedRecordGivesItsNameBack(t *testing.T) {
	w := newWorld(t)
	tom, eve := w.create("tom"), w.create("eve")
	named := func(name string) (id resource.ID) {
		if c := store.Named(w.db.Snapshot(), cats, "p", name); c != nil {
			id = c.ID
		}
		return id
	}
	if err := w.try(func(b *store.Batch) { w.specs.Rename(b, tom, "eve") }); !fault.Is(err, fault.Exists) || named("eve") != eve.ID || named("tom") != tom.ID {
		t.Fatalf("a name that is taken: %v", err)
	}
	w.do(func(b *store.Batch) { w.specs.Rename(b, tom, "jim") })
	if named("jim") != tom.ID || named("tom") != "" {
		t.Fatalf("jim is %q, tom is %q", named("jim"), named("tom"))
	}
	other := w.create("tom")
	// Two that are renamed in one commit may change their names with each other.
	jim := store.Find(w.db.Snapshot(), cats, tom.ID)
	w.do(func(b *store.Batch) { w.specs.Rename(b, jim, "tom"); w.specs.Rename(b, other, "jim") })
	if named("tom") != tom.ID || named("jim") != other.ID {
		t.Fatalf("jim is %q, tom is %q", named("jim"), named("tom"))
	}
	// One that is renamed and goes in the same commit leaves neither name behind.
	last := store.Find(w.db.Snapshot(), cats, tom.ID)
	w.do(func(b *store.Batch) { w.specs.Rename(b, last, "zoe"); w.specs.Delete(b, last) })
	w.create("tom")
	w.create("zoe")
	before := w.db.Revision()
	w.do(func(b *store.Batch) { w.specs.Rename(b, w.find(other.ID), "jim") })
	if w.db.Revision() != before {
		t.Error("the name that it has is written again")
	}
}

func TestSeveralWritesToOneRecordAreOneChange(t *testing.T) {
	w := newWorld(t)
	a := w.create("tom")
	before := w.db.Revision()
	w.do(func(b *store.Batch) {
		w.specs.Set(b, a, func(s *catSpec) { s.Colour = "red" })
		w.statuses.Set(b, a, func(s *catStatus) { s.Mood = "well" })
		w.specs.Label(b, a, map[string]string{"x": "y"})
		store.Hold(b, a, "me")
		b.Check(a.Ref(), a.Revision)
	})
	got := w.find(a.ID)
	if w.db.Revision() != before+1 || got.Spec.Colour != "red" || got.Status.Mood != "well" || got.Labels["x"] != "y" || !got.HeldBy("me") || got.Generation != 2 {
		t.Errorf("revision %d after %d: %+v", w.db.Revision(), before, got)
	}
}

func TestWritingWhatIsThereWritesNothing(t *testing.T) {
	w := newWorld(t)
	a := w.create("tom")
	before := w.db.Revision()
	w.do(func(b *store.Batch) {
		w.specs.Set(b, a, func(s *catSpec) { s.Colour = "black" })
		w.statuses.Set(b, a, func(*catStatus) {})
		store.Release(b, a, "nobody")
		if !b.Empty() {
			t.Error("the batch is not empty")
		}
	})
	if w.db.Revision() != before {
		t.Error("something was written")
	}
}

func TestAWriteOnAnOldPictureConflicts(t *testing.T) {
	w := newWorld(t)
	old := w.create("tom")
	w.do(func(b *store.Batch) { w.statuses.Set(b, old, func(s *catStatus) { s.Mood = "well" }) })
	err := w.try(func(b *store.Batch) { w.specs.Set(b, old, func(s *catSpec) { s.Colour = "red" }) })
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("gives %v", err)
	}
	err = w.try(func(b *store.Batch) {
		b.Check(old.Ref(), old.Revision)
		w.specs.Set(b, w.find(old.ID), func(s *catSpec) { s.Colour = "red" })
	})
	if !fault.Is(err, fault.Conflict) {
		t.Errorf("a batch that read it at two revisions gives %v", err)
	}
}

func TestADeposedFenceRefusesTheCommit(t *testing.T) {
	w := newWorld(t)
	w.do(func(b *store.Batch) { b.Claim(store.ClaimKey("", "leader"), "me") })
	held := w.db.Revision()
	w.db.Fence = func() (store.Change, error) {
		return store.Change{Key: store.ClaimKey("", "leader"), Op: store.Check, Expect: held}, nil
	}
	w.create("tom")
	before := w.db.Revision()
	if err := w.db.Confirm(t.Context()); err != nil || w.db.Revision() != before {
		t.Errorf("a leader that asks whether it leads: %v, and the store is at %d after %d", err, w.db.Revision(), before)
	}
	w.raw("x", "y", "1")
	_, err := w.memory.Commit(t.Context(), store.Change{Key: store.ClaimKey("", "leader"), Op: store.Put, Value: []byte(`"you"`), Expect: store.Any})
	if err != nil {
		t.Fatal(err)
	}
	late := func(b *store.Batch) { w.specs.Create(b, &cat{Meta: resource.Meta{Name: "late", Project: "p"}}) }
	if err = w.try(late); !fault.Is(err, fault.Conflict) {
		t.Errorf("gives %v", err)
	}
	if err := w.db.Confirm(t.Context()); !fault.Is(err, fault.Conflict) {
		t.Errorf("a deposed leader that asks whether it leads hears %v", err)
	}
	w.db.Fence = func() (store.Change, error) {
		return store.Change{}, fault.New(fault.Unavailable, "it does not lead")
	}
	if err = w.try(late); !fault.Is(err, fault.Unavailable) {
		t.Errorf("one that knows that it does not lead commits: %v", err)
	}
}

func TestTheRegistryGivesEachRightOnce(t *testing.T) {
	l := store.NewRegistry()
	store.Specs(l, cats, "api")
	store.Statuses(l, cats, "loop")
	store.Specs(l, boxes, "api")
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	if got := l.Given(); got["cat spec"] != "api" || got["cat status"] != "loop" || len(got) != 3 {
		t.Errorf("given: %v", got)
	}
	store.Statuses(l, cats, "thief")
	err := l.Err()
	if err == nil || !strings.Contains(err.Error(), "thief") || !strings.Contains(err.Error(), "loop") {
		t.Errorf("asking twice gives %v", err)
	}
}
