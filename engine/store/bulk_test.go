package store

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
)

// indexed is what a picture's indexes say, in words.
func indexed(p *picture) (out []string) {
	for name, tree := range map[string]interface {
		Scan(func(resource.Object) bool)
	}{"ids": p.ids, "kinds": p.kinds, "places": p.places, "names": p.names} {
		tree.Scan(func(x resource.Object) bool {
			out = append(out, fmt.Sprintf("%s %s %s %d", name, x.Head().ID, x.Head().Name, x.Head().Revision))
			return true
		})
	}
	for name, tree := range map[string]interface{ Scan(func(tie) bool) }{"refs": p.refs, "hosts": p.hosts} {
		tree.Scan(func(t tie) bool {
			out = append(out, fmt.Sprintf("%s %s %s %d", name, t.to, t.from.Head().ID, t.from.Head().Revision))
			return true
		})
	}
	p.taken.Scan(func(t taking) bool {
		out = append(out, fmt.Sprintf("taken %s %s %d", t.word, t.by.Head().ID, t.by.Head().Revision))
		return true
	})
	p.totals.Scan(func(t total) bool {
		if t.sum != 0 {
			out = append(out, fmt.Sprintf("total %q %d", t.key, t.sum))
		}
		return true
	})
	slices.Sort(out)
	return out
}

// Whether changes come one by one, some at a time, or all at once by goroutines of their own for each index, the
// indexes are those that the records as they are now would make.
func TestIndexesAreTheSameHoweverTheyWereMade(t *testing.T) {
	catalog := resource.NewCatalog(lamps)
	rapid.Check(t, func(t *rapid.T) {
		there := map[int]*lamp{}
		grown := newPicture()
		for revision := range int64(30) {
			var deltas []Delta
			for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 9), 1, 5, rapid.ID).Draw(t, "which") {
				d := Delta{}
				if old := there[n]; old != nil {
					d.Old = old
				}
				if d.Old == nil || rapid.IntRange(0, 3).Draw(t, "goes") > 0 {
					x := &lamp{Meta: resource.Meta{Kind: "lamp", ID: resource.ID(fmt.Sprint("l", n)), Revision: revision + 1, Name: fmt.Sprint("l", n, rapid.IntRange(0, 1).Draw(t, "name"))},
						Spec: lampSpec{HostIDs: rapid.SliceOfNDistinct(rapid.SampledFrom([]resource.ID{"h1", "h2", "h3"}), 0, 3, rapid.ID).Draw(t, "hosts")}}
					d.New, there[n] = x, x
				} else {
					delete(there, n)
				}
				deltas = append(deltas, d)
			}
			grown.put(catalog, deltas)
		}
		var all []Delta
		for _, x := range there {
			all = append(all, Delta{New: x})
		}
		made := newPicture()
		made.put(catalog, all)
		if got, want := indexed(grown), indexed(made); !slices.Equal(got, want) {
			t.Fatalf("the indexes have become\n%q, and should be\n%q", got, want)
		}
	})
	var all []Delta
	one, bulk := newPicture(), newPicture()
	for i := range 3 * parallel {
		// Some have the names of others, as no store should have them: the later has it.
		x := &lamp{Meta: resource.Meta{Kind: "lamp", ID: resource.ID(fmt.Sprintf("%08d", i)), Name: fmt.Sprint("n", i%(2*parallel))}, Spec: lampSpec{HostIDs: []resource.ID{resource.ID(fmt.Sprint("h", i%7)), "h9"}}}
		all = append(all, Delta{New: x})
		one.put(catalog, all[i:])
	}
	bulk.put(catalog, all)
	backwards, back := slices.Clone(all), newPicture()
	slices.Reverse(backwards)
	back.put(catalog, backwards)
	if !slices.Equal(indexed(back), indexed(bulk)) {
		t.Error("the indexes are others when the records come in another order")
	}
	if !slices.Equal(indexed(one), indexed(bulk)) {
		t.Error("all at once makes other indexes than one by one")
	}
}
