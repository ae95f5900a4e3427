package store_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

func TestIncarnationIsMadeOnceAndSettledByWord(t *testing.T) {
	s := memory.New()
	a, err := store.ReadIncarnation(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	if err := store.Settle(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	b, err := store.ReadIncarnation(t.Context(), s)
	if err != nil || b.ID != a.ID || b.Settled == a.Settled {
		t.Errorf("%+v, then %+v: %v", a, b, err)
	}
}

func TestHostDoubtsAnotherLifeUntilItIsSettledAfterItHasHeardOfIt(t *testing.T) {
	for _, d := range []struct {
		name   string
		heard  [][2]string // id, word
		doubts bool
	}{
		{"the first", [][2]string{{"a", ""}}, false},
		{"the first, settled before", [][2]string{{"a", "x"}, {"a", "y"}}, false},
		{"another", [][2]string{{"a", ""}, {"b", ""}}, true},
		{"another, again and again", [][2]string{{"a", ""}, {"b", ""}, {"b", ""}}, true},
		{"another, settled", [][2]string{{"a", ""}, {"b", ""}, {"b", "x"}}, false},
		{"one that was settled before this host came", [][2]string{{"a", ""}, {"b", "x"}, {"b", "x"}}, true},
		{"settled once more", [][2]string{{"a", ""}, {"b", "x"}, {"b", "y"}}, false},
		{"a second backup meanwhile", [][2]string{{"a", ""}, {"b", ""}, {"c", ""}}, true},
		{"back to the one that is known", [][2]string{{"a", ""}, {"b", ""}, {"a", ""}}, false},
	} {
		var a store.Acquaintance
		for _, h := range d.heard {
			a = a.Hear(resource.ID(h[0]), h[1])
		}
		if (a.Doubt() != nil) != d.doubts {
			t.Errorf("%s: %+v", d.name, a)
		}
	}
}

// Whatever is heard: a life other than the known one is never believed at the first word of it.
func TestHostNeverBelievesAnotherLifeAtOnce(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var a store.Acquaintance
		for range rapid.IntRange(1, 20).Draw(t, "words") {
			before := a
			id := resource.ID(rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "id"))
			a = a.Hear(id, rapid.SampledFrom([]string{"", "x", "y"}).Draw(t, "word"))
			if before.Known != "" && id != before.Known && id != before.Other && a.Doubt() == nil {
				t.Fatalf("%+v heard %s and became %+v", before, id, a)
			}
		}
	})
}
