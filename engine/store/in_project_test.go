package store_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func TestInProjectGoesThroughOneProjectByIDFromAPlace(t *testing.T) {
	w := newWorld(t)
	for _, project := range []resource.ID{"o", "p", "p2", "q"} {
		for i := range 5 {
			w.do(func(b *store.Batch) {
				id := resource.ID(fmt.Sprintf("%s-%d", project, i))
				w.specs.Create(b, &cat{Meta: resource.Meta{ID: id, Name: string(id), Project: project}})
			})
		}
	}
	ids := func(project, after resource.ID) (out []resource.ID) {
		for c := range store.InProject(w.db.Snapshot(), cats, project, after) {
			out = append(out, c.ID)
		}
		return out
	}
	for _, test := range []struct {
		project resource.ID
		after   resource.ID
		want    []resource.ID
	}{
		{"p", "", []resource.ID{"p-0", "p-1", "p-2", "p-3", "p-4"}},
		{"p", "p-2", []resource.ID{"p-3", "p-4"}},
		{"p", "p-2a", []resource.ID{"p-3", "p-4"}}, // it went meanwhile
		{"p", "p-4", nil},
		{"q", "", []resource.ID{"q-0", "q-1", "q-2", "q-3", "q-4"}},
		{"none", "", nil},
	} {
		if got := ids(test.project, test.after); !slices.Equal(got, test.want) {
			t.Errorf("%s after %q: %v", test.project, test.after, got)
		}
	}
	if n := w.db.Snapshot().CountInProject(cats.Kind, "p"); n != 5 {
		t.Errorf("%d are counted", n)
	}
	gone := store.Find(w.db.Snapshot(), cats, "p-3")
	w.do(func(b *store.Batch) { w.specs.Delete(b, gone) })
	if n := w.db.Snapshot().CountInProject(cats.Kind, "p"); n != 4 || len(ids("p", "")) != 4 {
		t.Errorf("%d are counted after one went", n)
	}
}
