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
