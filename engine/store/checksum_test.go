package store_test

import (
	"bytes"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func TestEveryFlippedBitOfAValueIsFound(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		value := []byte(`{"text":"` + rapid.StringMatching(`[a-z ]{0,60}`).Draw(r, "text") + `"}`)
		stored := store.Seal(value)
		if got := store.Open(stored); !bytes.Equal(got, value) || store.Damaged(got) {
			r.Fatalf("%q comes back as %q", value, got)
		}
		stored[rapid.IntRange(0, len(stored)-1).Draw(r, "byte")] ^= 1 << rapid.IntRange(0, 7).Draw(r, "bit")
		if got := store.Open(stored); !store.Damaged(got) {
			r.Fatalf("%q with a flipped bit is taken for %q", value, got)
		}
	})
}

func TestADamagedRecordIsListedAndNeverTakenForARemovedOne(t *testing.T) {
	w := newWorld(t)
	a := w.create("tom")
	if err := w.memory.Damage(t.Context(), a.Ref()); err != nil {
		t.Fatal(err)
	}
	if err := w.db.Sync(t.Context()); err != nil { // who has it goes on with what it has
		t.Fatal(err)
	}
	if w.find(a.ID) == nil {
		t.Error("it is told as removed")
	}
	fresh := store.NewDB(w.memory, w.db.Catalog())
	if err := fresh.Sync(t.Context()); err != nil {
		t.Fatal(err)
	}
	if why := fresh.NotUnderstood()[a.Ref()]; !strings.Contains(why, "damaged") {
		t.Errorf("listed is %q", why)
	}
	b := fresh.Begin()
	w.specs.Create(b, &cat{Meta: resource.Meta{Name: "tom", Project: "p"}})
	if err := fresh.Commit(t.Context(), b); !fault.Is(err, fault.Exists) {
		t.Errorf("another of its name gives %v", err)
	}
}

func TestADamagedRecordIsPassedOnToHostsAsDamaged(t *testing.T) {
	seen := resource.Define("seen", "seens", resource.Options[catSpec, catStatus]{Reach: resource.NamedHost})
	hidden := resource.Define("hidden", "hiddens", resource.Options[catSpec, catStatus]{})
	damaged := store.Open([]byte(`{"kind":"seen"}`))
	for kind, want := range map[resource.Kind]int{"seen": 1, "hidden": 0, "unknown": 0} {
		got := store.HostsOf(resource.NewCatalog(seen, hidden), store.Entry{Key: resource.Ref{Kind: kind, ID: "x"}, Value: damaged})
		if len(got) != want || want == 1 && got[0] != resource.AnyHost {
			t.Errorf("a damaged %s is told to %v", kind, got)
		}
	}
}
