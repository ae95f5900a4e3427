package store_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// sound is a store with a box and two cats in it, as commits leave it.
func sound(t *testing.T) *world {
	t.Helper()
	w := newWorld(t)
	l := store.NewRegistry()
	writer := store.Specs(l, boxes, "test")
	b := w.db.Begin()
	home := &box{}
	home.ID, home.Name = "b1", "home"
	writer.Create(b, home)
	for _, name := range []string{"tom", "eve"} {
		c := &cat{}
		c.ID, c.Name, c.Project, c.Spec.BoxID = resource.ID("c-"+name), name, "p", "b1"
		w.specs.Create(b, c)
	}
	b.Claim(store.ClaimKey("p", "seat:1"), "c-tom")
	if err := w.db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return w
}

func examined(t *testing.T, w *world) []store.Finding {
	t.Helper()
	entries, err := store.Held(t.Context(), w.memory)
	if err != nil {
		t.Fatal(err)
	}
	return store.Examine(w.db.Catalog(), entries)
}

func TestExaminationFindsWhatIsWrongAndRepairsOnlyWhatIsSafe(t *testing.T) {
	tom, eve := resource.Ref{Kind: "cat", Project: "p", ID: "c-tom"}, resource.Ref{Kind: "cat", Project: "p", ID: "c-eve"}
	put := func(key resource.Ref, value string) store.Change {
		return store.Change{Key: key, Op: store.Put, Value: []byte(value), Expect: store.Any}
	}
	del := func(key resource.Ref) store.Change {
		return store.Change{Key: key, Op: store.Delete, Expect: store.Any}
	}
	for _, d := range []struct {
		name   string
		damage []store.Change
		words  []string // of each finding
		left   int      // after the repair
	}{
		{"sound", nil, nil, 0},
		{"a record that is no JSON", []store.Change{put(tom, `{"na`)}, []string{"cannot be read"}, 1},
		{"a record under another's key", []store.Change{put(resource.Ref{Kind: "cat", Project: "p", ID: "c-x"}, `{"kind":"cat","projectID":"p","id":"c-y","name":"x"}`)}, []string{"says of itself"}, 1},
		{"an unknown kind", []store.Change{put(resource.Ref{Kind: "dog", ID: "d"}, `{}`)}, []string{"does not know the kind"}, 1},
		{"a name nobody holds", []store.Change{del(store.NameKey("cat", "p", "tom"))}, []string{`its name "tom" is not held`}, 0},
		{"a name of one that is gone", []store.Change{put(store.NameKey("cat", "p", "kit"), `"c-kit"`)}, []string{"held by c-kit, which is not there"}, 0},
		{"a name held by one that is gone", []store.Change{put(store.NameKey("cat", "p", "tom"), `"c-old"`)}, []string{"has this name"}, 0},
		{"a name held by another", []store.Change{put(store.NameKey("cat", "p", "tom"), `"c-eve"`)}, []string{"is held by c-eve"}, 1},
		{"a name key that is garbage", []store.Change{put(store.NameKey("cat", "p", "tom"), `17`)}, []string{"does not say who"}, 0},
		{"a claim of one that is gone", []store.Change{put(store.ClaimKey("p", "seat:2"), `"c-old"`)}, []string{"nobody can take it"}, 0},
		{"a claim of a record that cannot be read", []store.Change{put(tom, `{`)}, []string{"cannot be read"}, 1},
		{"who leads", []store.Change{put(store.ClaimKey("", "leader:server"), `"h"`)}, nil, 0},
		{"what was asked lately", []store.Change{put(store.ClaimKey("p", "once:x"), `"c-old h 1"`)}, nil, 0},
		{"a reference to nothing", []store.Change{del(resource.Ref{Kind: "box", ID: "b1"}), del(store.NameKey("box", "", "home"))}, []string{"speaks of box b1", "speaks of box b1"}, 2},
		{"two at once", []store.Change{del(store.NameKey("cat", "p", "tom")), put(eve, `?`)}, []string{"cannot be read", "not held"}, 1},
	} {
		w := sound(t)
		if _, err := w.memory.Commit(t.Context(), d.damage...); err != nil {
			t.Fatal(err)
		}
		found := examined(t, w)
		if len(found) != len(d.words) {
			t.Errorf("%s: found %v", d.name, found)
			continue
		}
		for i, f := range found {
			if !strings.Contains(f.Wrong, d.words[i]) {
				t.Errorf("%s: found %q, want %q", d.name, f.Wrong, d.words[i])
			}
			if f.Repair != nil {
				if _, err := w.memory.Commit(t.Context(), *f.Repair); err != nil {
					t.Errorf("%s: repair: %v", d.name, err)
				}
			}
		}
		if after := examined(t, w); len(after) != d.left {
			t.Errorf("%s: after the repair %v", d.name, fmt.Sprint(after))
		}
	}
}

func TestRecordThatCannotBeReadIsGivenUpWithWhatItHolds(t *testing.T) {
	w := sound(t)
	tom := resource.Ref{Kind: "cat", Project: "p", ID: "c-tom"}
	if err := w.memory.Damage(t.Context(), tom); err != nil {
		t.Fatal(err)
	}
	found := examined(t, w)
	if len(found) != 1 || found[0].Class != store.Unreadable || found[0].Name != "tom" {
		t.Fatalf("found %+v", found)
	}
	entries := func() []store.Entry {
		out, err := store.Held(t.Context(), w.memory)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	for id, want := range map[resource.ID]fault.Kind{"c-eve": fault.Precondition, "c-no": fault.NotFound} {
		if _, err := store.RemoveUnreadable(w.db.Catalog(), entries(), "cat", id); !fault.Is(err, want) {
			t.Errorf("%s: %v", id, err)
		}
	}
	changes, err := store.RemoveUnreadable(w.db.Catalog(), entries(), "cat", "c-tom")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.memory.Commit(t.Context(), changes...); err != nil {
		t.Fatal(err)
	}
	if after := examined(t, w); len(after) != 0 {
		t.Errorf("afterwards %v", after)
	}
	for _, e := range entries() {
		if strings.Contains(string(e.Key.ID), "tom") || strings.Contains(string(e.Key.ID), "seat") {
			t.Errorf("%s is left", e.Key)
		}
	}
}
