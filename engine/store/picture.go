package store

import (
	"cmp"
	"iter"
	"slices"
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

// order compares records.
type order func(a, b *resource.Meta) int

func byID(a, b *resource.Meta) int { return cmp.Compare(a.ID, b.ID) }

func byKind(a, b *resource.Meta) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), byID(a, b)) }

func byPlace(a, b *resource.Meta) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Project, b.Project), byID(a, b))
}

func byName(a, b *resource.Meta) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Project, b.Project), cmp.Compare(a.Name, b.Name))
}

func (o order) tree() *btree.BTreeG[resource.Object] {
	return newTree(func(a, b resource.Object) bool { return o(a.Head(), b.Head()) < 0 })
}

func newTree[T any](less func(a, b T) bool) *btree.BTreeG[T] {
	return btree.NewBTreeGOptions(less, btree.Options{NoLocks: true}) // one writes, in its own copy
}

func newPicture() *picture {
	ties := func(a, b tie) bool { return cmp.Or(cmp.Compare(a.to, b.to), byKind(a.from.Head(), b.from.Head())) < 0 }
	return &picture{
		ids: order(byID).tree(), kinds: order(byKind).tree(), places: order(byPlace).tree(), names: order(byName).tree(),
		refs: newTree(ties), hosts: newTree(ties),
		taken:  newTree(func(a, b taking) bool { return a.word < b.word }),
		totals: newTree(func(a, b total) bool { return a.key < b.key }),
	}
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
	kinds := make([]resource.Descriptor, len(deltas))
	for i, d := range deltas {
		kinds[i], _ = catalog.Lookup(cmp.Or(d.New, d.Old).Head().Kind)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, keep := range []func(resource.Descriptor, Delta){
		keepOne(p.ids, byID), keepOne(p.kinds, byKind), keepOne(p.places, byPlace), keepOne(p.names, byName),
		keepTies(p.refs, func(kind resource.Descriptor, x resource.Object) (out []resource.ID) {
			for _, ref := range kind.Refs(x) {
				out = append(out, ref.ID)
			}
			return out
		}),
		keepTies(p.hosts, resource.Descriptor.Hosts), p.keepTaken, p.count,
	} {
		all := func() {
			for i, d := range deltas {
				keep(kinds[i], d)
			}
		}
		if len(deltas) < parallel {
			all()
		} else {
			wg.Go(all)
		}
	}
}

// keepOne keeps a tree in which each record stands once, at a place of its own.
func keepOne(tree *btree.BTreeG[resource.Object], by order) func(resource.Descriptor, Delta) {
	return func(_ resource.Descriptor, d Delta) {
		if d.Old != nil && (d.New == nil || by(d.Old.Head(), d.New.Head()) != 0) {
			there, _ := tree.Get(d.Old)
			if there != nil && there.Head().ID == d.Old.Head().ID { // else the place is another's already: a name
				tree.Delete(d.Old)
			}
		}
		if d.New != nil {
			tree.Set(d.New)
		}
	}
}

// keepTies keeps an index of others' ids.
func keepTies(tree *btree.BTreeG[tie], of func(resource.Descriptor, resource.Object) []resource.ID) func(resource.Descriptor, Delta) {
	return func(kind resource.Descriptor, d Delta) {
		var now []resource.ID
		if d.New != nil {
			now = of(kind, d.New)
		}
		if d.Old != nil {
			for _, id := range of(kind, d.Old) {
				if !slices.Contains(now, id) {
					tree.Delete(tie{id, d.Old})
				}
			}
		}
		for _, id := range now {
			tree.Set(tie{id, d.New})
		}
	}
}

func (p *picture) keepTaken(kind resource.Descriptor, d Delta) {
	if d.Old != nil {
		for _, word := range kind.Takes(d.Old) {
			if t, there := p.taken.Get(taking{word: word}); there && t.by.Head().ID == d.Old.Head().ID { // as with names
				p.taken.Delete(t)
			}
		}
	}
	if d.New != nil {
		for _, word := range kind.Takes(d.New) {
			p.taken.Set(taking{word, d.New})
		}
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
