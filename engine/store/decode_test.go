package store_test

import (
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// counted is the cats, and counts how many of them are decoded.
type counted struct{ made *atomic.Int64 }

func (c counted) Describe() resource.Descriptor {
	d := cats.Describe()
	made := d.New
	d.New = func() resource.Object { c.made.Add(1); return made() }
	return d
}

func TestAListIsDecodedOnceAndOnlyWhatIsNewInIt(t *testing.T) {
	w := newWorld(t)
	const n = 500
	var all []*cat
	for i := range n {
		all = append(all, w.create(fmt.Sprint("cat", i)))
	}
	const damaged = "00000000-0000-7000-8000-000000000000"
	w.raw(cats.Kind, damaged, "{")
	var made atomic.Int64
	other := store.NewDB(w.memory, resource.NewCatalog(counted{&made}, boxes))
	list := func(want int64) {
		t.Helper()
		made.Store(0)
		if err := other.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := made.Load(); got != want {
			t.Errorf("%d records are decoded, not %d", got, want)
		}
	}
	list(n + 1)
	for _, c := range all {
		if got := store.Find(other.Snapshot(), cats, c.ID); got == nil || got.Name != c.Name || got.Revision != c.Revision {
			t.Fatalf("%s is read as %+v", c.Name, got)
		}
	}
	if x := other.Snapshot().Lookup(damaged); x != nil {
		t.Errorf("what cannot be read is shown as %+v", x)
	}
	w.do(func(b *store.Batch) { w.specs.Set(b, all[7], func(s *catSpec) { s.Colour = "red" }) })
	list(2) // the one that changed, and the one that cannot be read
	if got := store.Find(other.Snapshot(), cats, all[7].ID); got.Spec.Colour != "red" {
		t.Errorf("it is %s after the second list", got.Spec.Colour)
	}
}

// lent is counted, of cats that hosts see.
type lent struct{ counted }

func (l lent) Describe() resource.Descriptor {
	d := l.counted.Describe()
	d.Reach = resource.NamedHost
	d.Refs = func(x resource.Object) []resource.Ref {
		return []resource.Ref{{Kind: "host", ID: resource.ID(x.(*cat).Spec.Colour)}}
	}
	return d
}

// What is written is read once, by the view: neither for the hosts that stand beside it, nor for those who
// are told of it.
func TestWhatIsCommittedIsDecodedOnce(t *testing.T) {
	w := newWorld(t)
	var made atomic.Int64
	w.db = store.NewDB(w.memory, resource.NewCatalog(lent{counted{&made}}, boxes))
	w.db.Inline = true
	c := w.create("tom")
	if got := made.Load(); got != 1 {
		t.Errorf("for a new record %d are decoded", got)
	}
	w.do(func(b *store.Batch) { w.specs.Set(b, c, func(s *catSpec) { s.Colour = "red" }) })
	if got := made.Load(); got != 2 {
		t.Errorf("for a change %d are decoded", got-1)
	}
	if hosts := store.StampedHosts(w.stored(c.ID)); len(hosts) != 1 || hosts[0] != "red" {
		t.Errorf("beside it stands %v", hosts)
	}
	w.do(func(b *store.Batch) { w.specs.Delete(b, w.find(c.ID)) })
	if got := made.Load(); got != 2 {
		t.Errorf("for a removal %d are decoded", got-2)
	}
}

func (w *world) stored(id resource.ID) []byte {
	w.Helper()
	e, err := w.memory.Get(w.Context(), resource.Ref{Kind: cats.Kind, Project: "p", ID: id})
	if err != nil {
		w.Fatal(err)
	}
	return e.Value
}
