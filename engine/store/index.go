package store

import (
	"cmp"
	"slices"

	"github.com/tidwall/btree"

	"github.com/virga-cloud/virga/engine/resource"
)

// index is one tree of a picture, and how it follows from the records.
type index[T any] struct {
	tree   *btree.BTreeG[T]
	by     func(a, b T) int                                             // its order
	of     func(out []T, _ *resource.Descriptor, x resource.Object) []T // adds what stands in it for a record
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

// fill fills the empty tree in its own order: to sort costs less than to search a place for each.
func (x index[T]) fill(kinds []*resource.Descriptor, deltas []Delta) {
	all := make([]T, 0, len(deltas))
	for i, d := range deltas {
		if d.New != nil {
			all = x.of(all, kinds[i], d.New)
		}
	}
	if !slices.IsSortedFunc(all, x.by) { // by place they come sorted from the store
		slices.SortFunc(all, func(a, b T) int {
			if c := x.by(a, b); c != 0 {
				return c
			}
			return byID(x.record(a), x.record(b)) // one place, as two records of one name have: the later has it
		})
	}
	for _, item := range all {
		x.tree.Load(item)
	}
}

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
