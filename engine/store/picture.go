package store

import (
	"cmp"
	"iter"

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

// put replaces a record by another form of it; either may be nil.
func (p *picture) put(kind resource.Descriptor, old, now resource.Object) {
	if old != nil {
		p.remove(kind, old)
	}
	if now == nil {
		return
	}
	for _, tree := range []*btree.BTreeG[resource.Object]{p.ids, p.kinds, p.places, p.names} {
		tree.Set(now)
	}
	for _, ref := range kind.Refs(now) {
		p.refs.Set(tie{ref.ID, now})
	}
	for _, id := range kind.Hosts(now) {
		p.hosts.Set(tie{id, now})
	}
	for _, word := range kind.Takes(now) {
		p.taken.Set(taking{word, now})
	}
}

func (p *picture) remove(kind resource.Descriptor, old resource.Object) {
	for _, tree := range []*btree.BTreeG[resource.Object]{p.ids, p.kinds, p.places} {
		tree.Delete(old)
	}
	if named, there := p.names.Get(old); there && named.Head().ID == old.Head().ID { // else the name is another's already
		p.names.Delete(old)
	}
	for _, ref := range kind.Refs(old) {
		p.refs.Delete(tie{ref.ID, old})
	}
	for _, id := range kind.Hosts(old) {
		p.hosts.Delete(tie{id, old})
	}
	for _, word := range kind.Takes(old) {
		if t, there := p.taken.Get(taking{word: word}); there && t.by.Head().ID == old.Head().ID { // as with names
			p.taken.Delete(t)
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
