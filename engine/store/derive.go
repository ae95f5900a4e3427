package store

import (
	"errors"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// derivation makes the changes that the records of a batch bring along: the claims of what they alone
// may have, and the holding of what they need. It judges by one snapshot, for the words; the changes
// hold the commit to what was judged.
type derivation struct {
	catalog *resource.Catalog
	snap    *Snapshot
	works   map[resource.ID]*work
	at      map[resource.Ref]int // where in out a key is
	out     []Change
}

func (d *DB) derive(b *Batch) ([]Change, error) {
	v := &derivation{catalog: d.catalog, snap: d.Snapshot(), works: make(map[resource.ID]*work, len(b.work)), at: map[resource.Ref]int{}}
	for ref, w := range b.work {
		v.works[ref.ID] = w
	}
	if err := v.grow(d, b); err != nil {
		return nil, err
	}
	for _, ref := range b.order {
		kind, known := d.catalog.Lookup(ref.Kind)
		if !known {
			continue
		}
		if err := v.record(kind, ref, b.work[ref]); err != nil {
			return nil, err
		}
	}
	return v.out, nil
}

// record derives for one record of the batch.
func (v *derivation) record(kind resource.Descriptor, ref resource.Ref, w *work) error {
	after := w.after()
	if after == nil && w.before == nil {
		return nil // it comes and goes within the batch
	}
	v.claim(ref.ID, claims(kind, w.before), claims(kind, after))
	if after != nil && after.Head().Deleting == nil {
		return v.holdAll(kind, w)
	}
	if w.before != nil && w.before.Head().Deleting == nil {
		if err := v.unneeded(ref, w); err != nil {
			return err
		}
	}
	untouched := Change{Key: TouchKey(ref), Op: Check, Expect: Any, Since: v.snap.revision}
	switch {
	case after != nil && w.before == nil:
		v.out = append(v.out, Change{Key: MarkKey(ref), Op: Put, Expect: Any})
	case after != nil && w.before.Head().Deleting == nil:
		v.out = append(v.out, untouched, Change{Key: MarkKey(ref), Op: Put, Expect: Any})
	case after == nil && w.before.Head().Deleting == nil:
		untouched.Op = Delete
		v.out = append(v.out, untouched)
	case after == nil && kind.Tenant:
		v.once(Change{Key: turnKey(ref.ID), Op: Delete, Expect: Any})
		fallthrough
	case after == nil:
		v.out = append(v.out, Change{Key: TouchKey(ref), Op: Delete, Expect: Any}, Change{Key: MarkKey(ref), Op: Delete, Expect: Any})
	}
	return nil
}

// claims are the keys that a record alone may have.
func claims(kind resource.Descriptor, x resource.Object) (out []resource.Ref) {
	if x == nil {
		return nil
	}
	for _, word := range kind.Takes(x) {
		out = append(out, ClaimKey("", word))
	}
	for _, n := range kind.Needs(x) {
		if n.Tie == resource.Alone {
			out = append(out, useKey(n.ID))
		}
	}
	return out
}

const usePrefix = "use:"

// useKey is held by the one record that needs another alone.
func useKey(id resource.ID) resource.Ref { return ClaimKey("", usePrefix+string(id)) }

func (v *derivation) claim(id resource.ID, had, has []resource.Ref) {
	for _, key := range had {
		if !slices.Contains(has, key) {
			v.out = append(v.out, Change{Key: key, Op: Delete, Expect: Any})
		}
	}
	for _, key := range has {
		if !slices.Contains(had, key) {
			v.out = append(v.out, Change{Key: key, Op: Put, Value: owner(id), Expect: Absent})
		}
	}
}

// holdAll holds what a record begins to need with this commit.
func (v *derivation) holdAll(kind resource.Descriptor, w *work) error {
	var had []resource.Need
	if w.before != nil {
		had = kind.Needs(w.before)
	}
	if head := w.object.Head(); w.before == nil && kind.Scope == resource.InProject && !kind.Past {
		if err := v.holdProject(head.Project); err != nil {
			return err
		}
	}
	for _, n := range kind.Needs(w.object) {
		if slices.Contains(had, n) || w.returned && n.Tie == resource.Following && v.now(n.ID) == nil {
			continue
		}
		if err := v.hold(w.object.Head(), n); err != nil {
			return err
		}
	}
	return nil
}

func (v *derivation) holdProject(project resource.ID) error {
	kind, known := v.catalog.Tenant()
	if !known || project == "" {
		return nil
	}
	p := v.tenant(project)
	if p == nil {
		return fault.New(fault.NotFound, "no %s %q", kind.Kind, project)
	}
	return v.living(p.Head(), "use another", true)
}

// tenant finds a project, also one that this batch makes; nil: there is none, or nobody keeps projects.
func (v *derivation) tenant(id resource.ID) resource.Object {
	kind, known := v.catalog.Tenant()
	if x := v.now(id); known && x != nil && x.Head().Kind == kind.Kind {
		return x
	}
	return nil
}

// hold makes the commit fail unless what is needed is there, is not being deleted and, where it has one
// user only, has no other.
func (v *derivation) hold(who *resource.Meta, n resource.Need) error {
	if _, known := v.catalog.Lookup(n.Kind); !known {
		return nil // this program cannot judge it
	}
	x := v.now(n.ID)
	if x == nil || x.Head().Kind != n.Kind {
		return fault.New(fault.NotFound, "%s %s needs %s %s, which is not there; choose another", who.Kind, who.Name, n.Kind, n.ID)
	}
	if n.Tie == resource.Alone {
		if other := v.userOf(n.ID, who.ID, func(m resource.Need) bool { return m.Tie == resource.Alone }); other != nil {
			return fault.New(fault.Precondition, "%s %s is in use by %s %s; choose another", n.Kind, x.Head().Name, other.Kind, other.Name)
		}
	}
	return v.living(x.Head(), "choose another", n.Tie != resource.Following)
}

// living holds a record alive, and if kept, also from being deleted on the ground of an older picture.
func (v *derivation) living(x *resource.Meta, instead string, kept bool) error {
	if x.Deleting != nil {
		return fault.New(fault.Precondition, "%s %s is being deleted; %s", x.Kind, x.Name, instead)
	}
	ref := x.Ref()
	w, mine := v.works[ref.ID]
	if mine && w.before == nil {
		return nil // it is made by this commit
	}
	v.once(Change{Key: ref, Op: Check, Expect: Present})
	v.once(Change{Key: MarkKey(ref), Op: Check, Expect: Absent})
	if kept {
		v.once(Change{Key: TouchKey(ref), Op: Put, Expect: Any})
	}
	return nil
}

// once adds a change that several records of the batch may bring along.
func (v *derivation) once(c Change) {
	i, there := v.at[c.Key]
	if !there {
		v.at[c.Key] = len(v.out)
		v.out = append(v.out, c)
	} else if c.Since != 0 {
		v.out[i].Since = c.Since
	}
}

// now gives a record as it is after the commit; nil if it is not there then.
func (v *derivation) now(id resource.ID) resource.Object {
	if w, mine := v.works[id]; mine {
		return w.after()
	}
	return v.snap.Lookup(id)
}

// userOf finds another record that needs one so.
func (v *derivation) userOf(id, but resource.ID, so func(resource.Need) bool) *resource.Meta {
	needs := func(x resource.Object) bool {
		kind, known := v.catalog.Lookup(x.Head().Kind)
		return known && slices.ContainsFunc(kind.Needs(x), func(n resource.Need) bool { return n.ID == id && so(n) })
	}
	for x := range v.snap.Mentioning(id) {
		if _, mine := v.works[x.Head().ID]; !mine && x.Head().ID != but && needs(x) {
			return x.Head()
		}
	}
	for other, w := range v.works {
		if x := w.after(); other != but && x != nil && needs(x) {
			return x.Head()
		}
	}
	return nil
}

// unneeded refuses the deletion of what others need. Those that are being deleted do not count: they
// go, and what they need may be marked before.
func (v *derivation) unneeded(ref resource.Ref, w *work) error {
	keeps := func(n resource.Need) bool { return n.Tie != resource.Following }
	head := w.object.Head()
	for x := range v.snap.Mentioning(ref.ID) {
		if err := v.refuse(head, v.now(x.Head().ID), keeps); err != nil {
			return err
		}
	}
	for _, other := range v.works {
		if err := v.refuse(head, other.after(), keeps); err != nil {
			return err
		}
	}
	if kind, _ := v.catalog.Lookup(ref.Kind); kind.Tenant {
		return v.empty(head)
	}
	return nil
}

func (v *derivation) refuse(head *resource.Meta, x resource.Object, keeps func(resource.Need) bool) error {
	if x == nil || x.Head().Deleting != nil {
		return nil
	}
	kind, _ := v.catalog.Lookup(x.Head().Kind)
	if kind.Needs == nil || !slices.ContainsFunc(kind.Needs(x), func(n resource.Need) bool { return n.ID == head.ID && keeps(n) }) {
		return nil
	}
	return fault.New(fault.Precondition, "delete %s %s: it is in use by %s %s; delete that first", head.Kind, head.Name, x.Head().Kind, x.Head().Name)
}

// follows reports whether a record goes with one that is going: the DNS zone of a network.
func (v *derivation) follows(kind resource.Descriptor, x resource.Object) bool {
	return kind.Needs != nil && slices.ContainsFunc(kind.Needs(x), func(n resource.Need) bool {
		if n.Tie != resource.Following {
			return false
		}
		target := v.now(n.ID)
		return target == nil || target.Head().Deleting != nil
	})
}

// empty refuses the deletion of a project in which something lives.
func (v *derivation) empty(project *resource.Meta) error {
	for _, kind := range v.catalog.All() {
		if kind.Scope != resource.InProject || kind.Past {
			continue
		}
		for x := range v.snap.place(kind.Kind, project.ID) {
			if x = v.now(x.Head().ID); x != nil && x.Head().Deleting == nil && !v.follows(kind, x) {
				return fault.New(fault.Precondition, "delete %s %s: %s %s is in it; delete that first", project.Kind, project.Name, kind.Kind, x.Head().Name)
			}
		}
	}
	return nil
}

// overtaken reports whether a commit failed for what was derived: judged anew it succeeds, or is refused
// in words.
func overtaken(b *Batch, err error) bool {
	unmet, ok := errors.AsType[*Unmet](err)
	if !ok || slices.ContainsFunc(b.extra, func(c Change) bool { return c.Key == unmet.Change.Key }) {
		return false
	}
	c := unmet.Change
	return Hidden(c.Key.Kind) || c.Expect == Present || c.Key.Kind == NameKind && strings.HasPrefix(string(c.Key.ID), usePrefix)
}
