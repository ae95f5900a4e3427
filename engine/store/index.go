package store

import (
	"cmp"
	"slices"
	"strings"

	"github.com/tidwall/btree"

	"github.com/virga-cloud/virga/engine/resource"
)

// index is one tree of a picture, and how it follows from the records.
type index[T any] struct {
	tree   *btree.BTreeG[T]
	by     func(a, b T) int                                             // its order
	of     func(out []T, _ *resource.Descriptor, x resource.Object) []T // adds what stands in it for a record
	words  []func(T) string                                             // by which to sort what comes by id, one after the other, to have that order
	record func(T) resource.Object                                      // which record an item stands for
}

func (x index[T]) put(kinds []*resource.Descriptor, deltas []Delta) {
	if x.tree.Len() == 0 && len(deltas) >= parallel {
		x.fill(kinds, deltas)
		return
	}
	var had, has []T
	for i, d := range deltas {
		had, has = had[:0], has[:0]
		if d.Old != nil {
			had = x.of(had, kinds[i], d.Old)
		}
		if d.New != nil {
			has = x.of(has, kinds[i], d.New)
		}
		x.replace(had, has)
	}
}

// replace brings in what one record has now for what it had.
func (x index[T]) replace(had, has []T) {
	for _, old := range had {
		if slices.ContainsFunc(has, func(item T) bool { return x.by(item, old) == 0 }) {
			continue
		}
		// Else the place is another's already: a name that has passed on.
		if there, ok := x.tree.Get(old); ok && x.record(there).Head().ID == x.record(old).Head().ID {
			x.tree.Delete(old)
		}
	}
	for _, item := range has {
		x.tree.Set(item)
	}
}

// fill fills the empty tree in its own order: to sort costs less than to search a place for each. The records come by
// id, so that of two of one name the later has it.
func (x index[T]) fill(kinds []*resource.Descriptor, deltas []Delta) {
	all := make([]T, 0, len(deltas))
	for i, d := range deltas {
		if d.New != nil {
			all = x.of(all, kinds[i], d.New)
		}
	}
	for _, word := range x.words {
		all = inOrder(all, word)
	}
	for _, item := range all {
		x.tree.Load(item)
	}
}

// inOrder sorts by a word, and leaves those of one word as they stand. Many have the same: so the words are sorted,
// and not what has them, which lies all over the memory.
func inOrder[T any](all []T, word func(T) string) []T {
	type place struct {
		word  string
		n, at int
	}
	var places []place
	known, of := map[string]int{}, make([]int, len(all))
	for i, x := range all {
		w := word(x)
		n, is := known[w]
		if !is {
			n = len(places)
			known[w], places = n, append(places, place{word: w, n: n})
		}
		of[i] = n
		places[n].at++
	}
	slices.SortFunc(places, func(a, b place) int { return strings.Compare(a.word, b.word) })
	begin, at := make([]int, len(places)), 0
	for _, p := range places {
		begin[p.n], at = at, at+p.at
	}
	out := make([]T, len(all))
	for i, x := range all {
		out[begin[of[i]]] = x
		begin[of[i]]++
	}
	return out
}

func idOf(x resource.Object) string      { return string(x.Head().ID) }
func kindOf(x resource.Object) string    { return string(x.Head().Kind) }
func projectOf(x resource.Object) string { return string(x.Head().Project) }
func nameOf(x resource.Object) string    { return x.Head().Name }

func byID(a, b resource.Object) int { return cmp.Compare(a.Head().ID, b.Head().ID) }

func byKind(a, b resource.Object) int {
	p, q := a.Head(), b.Head()
	if c := cmp.Compare(p.Kind, q.Kind); c != 0 {
		return c
	}
	return cmp.Compare(p.ID, q.ID)
}

func byPlace(a, b resource.Object) int {
	p, q := a.Head(), b.Head()
	if c := cmp.Compare(p.Kind, q.Kind); c != 0 {
		return c
	}
	if c := cmp.Compare(p.Project, q.Project); c != 0 {
		return c
	}
	return cmp.Compare(p.ID, q.ID)
}

func byName(a, b resource.Object) int {
	p, q := a.Head(), b.Head()
	if c := cmp.Compare(p.Kind, q.Kind); c != 0 {
		return c
	}
	if c := cmp.Compare(p.Project, q.Project); c != 0 {
		return c
	}
	return cmp.Compare(p.Name, q.Name)
}

func byTie(a, b tie) int {
	if c := cmp.Compare(a.to, b.to); c != 0 {
		return c
	}
	return byKind(a.from, b.from)
}

func byWord(a, b taking) int { return cmp.Compare(a.word, b.word) }

func byTotal(a, b total) int { return cmp.Compare(a.key, b.key) }

func itself(out []resource.Object, _ *resource.Descriptor, x resource.Object) []resource.Object {
	return append(out, x)
}

func same(x resource.Object) resource.Object { return x }

func refsOf(out []tie, kind *resource.Descriptor, x resource.Object) []tie {
	for _, ref := range kind.Refs(x) {
		out = append(out, tie{ref.ID, x})
	}
	return out
}

func hostsOf(out []tie, kind *resource.Descriptor, x resource.Object) []tie {
	for _, id := range kind.Hosts(x) {
		out = append(out, tie{id, x})
	}
	return out
}

func (t tie) record() resource.Object { return t.from }

func takenBy(out []taking, kind *resource.Descriptor, x resource.Object) []taking {
	for _, word := range kind.Takes(x) {
		out = append(out, taking{word, x})
	}
	return out
}

func (t taking) record() resource.Object { return t.by }

func (t tie) fromKind() string   { return kindOf(t.from) }
func (t tie) toID() string       { return string(t.to) }
func (t taking) theWord() string { return t.word }
