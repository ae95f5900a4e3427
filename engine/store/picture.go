package store

import (
	"cmp"
	"iter"
	"sync"

	"github.com/tidwall/btree"

	"github.com/virga-cloud/virga/engine/resource"
)

// picture is the records and their indexes: trees in which the records themselves stand in several orders.
// There are no keys beside them, for a cloud has millions of records. A copy costs nothing: it shares what
// neither changes.
type picture struct {
	ids    *btree.BTreeG[resource.Object] // by id
	kinds  *btree.BTreeG[resource.Object] // by kind and id
	places *btree.BTreeG[resource.Object] // by kind, project and id
	names  *btree.BTreeG[resource.Object] // by kind, project and name
	refs   *btree.BTreeG[tie]             // by what a record refers to
	hosts  *btree.BTreeG[tie]             // by the hosts whose agents see it
	taken  *btree.BTreeG[taking]          // by what a record alone may have
	totals *btree.BTreeG[total]
}

// taking is a word that one record alone may have, and the record.
type taking struct {
	word string
	by   resource.Object
}

// tie is a record in an index of others' ids.
type tie struct {
	to   resource.ID
	from resource.Object
}

func newPicture() *picture {
	return &picture{
		ids: newTree(byID), kinds: newTree(byKind), places: newTree(byPlace), names: newTree(byName),
		refs: newTree(byTie), hosts: newTree(byTie), taken: newTree(byWord), totals: newTree(byTotal),
	}
}

func newTree[T any](by func(a, b T) int) *btree.BTreeG[T] {
	less := func(a, b T) bool { return by(a, b) < 0 }
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true}) // one writes, in its own copy
}

func (p *picture) copy() *picture {
	return &picture{
		ids: p.ids.Copy(), kinds: p.kinds.Copy(), places: p.places.Copy(), names: p.names.Copy(),
		refs: p.refs.Copy(), hosts: p.hosts.Copy(), taken: p.taken.Copy(), totals: p.totals.Copy(),
	}
}

// parallel is how many changes make it worth while to keep each index by a goroutine of its own.
const parallel = 1000

// put brings all indexes up to date with changes, each of another record, in their order.
func (p *picture) put(catalog *resource.Catalog, deltas []Delta) {
	kinds := make([]*resource.Descriptor, len(deltas))
	known := map[resource.Kind]*resource.Descriptor{}
	if p.ids.Len() == 0 && len(deltas) >= parallel {
		deltas = inOrder(deltas, func(d Delta) string { return idOf(d.New) })
	}
	for i, d := range deltas {
		kind := cmp.Or(d.New, d.Old).Head().Kind
		if known[kind] == nil {
			found, _ := catalog.Lookup(kind)
			known[kind] = &found
		}
		kinds[i] = known[kind]
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, put := range p.puts() {
		if len(deltas) < parallel {
			put(kinds, deltas)
		} else {
			wg.Go(func() { put(kinds, deltas) })
		}
	}
}

// puts brings changes into each index.
func (p *picture) puts() []func([]*resource.Descriptor, []Delta) {
	type (
		byWords = []func(resource.Object) string
		one     = index[resource.Object]
		many    = index[tie]
	)
	ties := []func(tie) string{tie.fromKind, tie.toID}
	return []func([]*resource.Descriptor, []Delta){
		one{p.ids, byID, itself, nil, same}.put,
		one{p.kinds, byKind, itself, byWords{kindOf}, same}.put,
		one{p.places, byPlace, itself, byWords{projectOf, kindOf}, same}.put,
		one{p.names, byName, itself, byWords{nameOf, projectOf, kindOf}, same}.put,
		many{p.refs, byTie, refsOf, ties, tie.record}.put,
		many{p.hosts, byTie, hostsOf, ties, tie.record}.put,
		index[taking]{p.taken, byWord, takenBy, []func(taking) string{taking.theWord}, taking.record}.put,
		p.count,
	}
}

// from goes through a tree from a place on as long as it is wanted.
func from(tree *btree.BTreeG[resource.Object], pivot *resource.Meta, wanted func(*resource.Meta) bool) iter.Seq[resource.Object] {
	return func(yield func(resource.Object) bool) {
		tree.Ascend(pivot, func(x resource.Object) bool { return wanted(x.Head()) && yield(x) })
	}
}

// tied goes through the records that are tied to an id: those of a kind, or of all kinds.
func tied(tree *btree.BTreeG[tie], to resource.ID, kind resource.Kind) iter.Seq[resource.Object] {
	return func(yield func(resource.Object) bool) {
		tree.Ascend(tie{to, &resource.Meta{Kind: kind}}, func(t tie) bool {
			return t.to == to && (kind == "" || t.from.Head().Kind == kind) && yield(t.from)
		})
	}
}
