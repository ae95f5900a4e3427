package store_test

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func TestTotalsAreWhatACountWouldGive(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t)
		for range rapid.IntRange(1, 30).Draw(r, "commits") {
			before := w.db.Snapshot()
			had := before.Total("p", "letters")
			b := w.db.Begin()
			for _, c := range store.Every(before, cats) {
				switch rapid.IntRange(0, 3).Draw(r, "act") {
				case 0:
					w.specs.Delete(b, c)
				case 1:
					w.specs.Set(b, c, func(s *catSpec) { s.Colour = rapid.StringN(0, 9, 9).Draw(r, "colour") })
				}
			}
			c := &cat{}
			c.Name, c.Project = rapid.StringMatching("[a-z]{8}").Draw(r, "name"), rapid.SampledFrom([]resource.ID{"p", "q"}).Draw(r, "project")
			w.specs.Create(b, c)
			growth := map[resource.ID]map[string]int64{"p": w.db.Growth(before, b, "p"), "q": w.db.Growth(before, b, "q")}
			if err := w.db.Commit(t.Context(), b); err != nil {
				continue // the name is taken
			}
			if rapid.Bool().Draw(r, "again") { // a list finds the same
				if err := w.db.Sync(t.Context()); err != nil {
					r.Fatal(err)
				}
			}
			now := w.db.Snapshot()
			want := map[resource.ID][2]int64{}
			for _, c := range store.Every(now, cats) {
				n := want[c.Project]
				want[c.Project] = [2]int64{n[0] + 1, n[1] + int64(len(c.Spec.Colour))}
			}
			for _, project := range []resource.ID{"p", "q"} {
				if got := [2]int64{now.Total(project, "cats"), now.Total(project, "letters")}; got != want[project] {
					r.Fatalf("project %s has %v, its totals are %v", project, want[project], got)
				}
				for _, name := range []string{"cats", "letters"} {
					if grew := now.Total(project, name) - before.Total(project, name); grew != growth[project][name] {
						r.Fatalf("project %s grew by %d %s, foretold was %d", project, grew, name, growth[project][name])
					}
				}
			}
			if before.Total("p", "letters") != had {
				r.Fatal("a total of the past has changed")
			}
		}
	})
}
