package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/resource"
)

// Finding is something that is not as it must be in the entries of a store.
type Finding struct {
	Key resource.Ref
	// Wrong says what, in words.
	Wrong string
	// Repair puts it right without losing anything; nil: only a person can decide.
	Repair *Change
	// Harmless is what may be so for a while, or by the way of another version.
	Harmless bool
}

// ofItsOwn begins claim keys that belong to no record: who leads, what life this is, what was asked lately.
var ofItsOwn = []string{"leader:", "store:", "once:"}

// Examine looks at all entries of a store: whether each record can be read and says the same as its key,
// whether ids and names are held once and by whom they should be, whether what is claimed has somebody
// who claims it, and whether what is referred to is there.
func Examine(catalog *resource.Catalog, entries []Entry) []Finding {
	x := examination{catalog: catalog, objects: map[resource.ID]resource.Object{}, unread: map[resource.ID]bool{}, claims: map[resource.Ref]Entry{}}
	for _, e := range entries {
		if e.Key.Kind == NameKind {
			x.claims[e.Key] = e
		}
	}
	for _, e := range entries {
		if e.Key.Kind != NameKind && e.Key.Kind != JournalKind {
			x.record(e)
		}
	}
	x.names()
	x.orphans()
	x.references()
	slices.SortFunc(x.found, func(a, b Finding) int {
		return strings.Compare(a.Key.String()+a.Wrong, b.Key.String()+b.Wrong)
	})
	return x.found
}

type examination struct {
	catalog *resource.Catalog
	objects map[resource.ID]resource.Object
	unread  map[resource.ID]bool // there, and not understood
	claims  map[resource.Ref]Entry
	found   []Finding
}

func (x *examination) say(key resource.Ref, repair *Change, wrong string, args ...any) {
	x.found = append(x.found, Finding{Key: key, Wrong: fmt.Sprintf(wrong, args...), Repair: repair})
}

func (x *examination) note(key resource.Ref, wrong string, args ...any) {
	x.found = append(x.found, Finding{Key: key, Wrong: fmt.Sprintf(wrong, args...), Harmless: true})
}

func (x *examination) record(e Entry) {
	kind, known := x.catalog.Lookup(e.Key.Kind)
	if !known {
		x.unread[e.Key.ID] = true
		x.note(e.Key, "this version does not know the kind %q; it is left alone", e.Key.Kind)
		return
	}
	object, err := kind.Decode(e.Value, e.Revision)
	if Damaged(e.Value) {
		err = errDamaged
	}
	if err != nil {
		x.unread[e.Key.ID] = true
		x.say(e.Key, nil, "it cannot be read: %v", err)
		return
	}
	if head := object.Head(); head.Ref() != e.Key {
		x.unread[e.Key.ID], x.unread[head.ID] = true, true
		x.say(e.Key, nil, "it says of itself that it is %s", head.Ref())
		return
	}
	if twin := x.objects[e.Key.ID]; twin != nil {
		x.say(e.Key, nil, "its id is that of %s too", twin.Head().Ref())
		return
	}
	x.objects[e.Key.ID] = object
}

// names looks for the name key of each record.
func (x *examination) names() {
	for id, object := range x.objects {
		head := object.Head()
		if head.Name == "" {
			continue
		}
		key := NameKey(head.Kind, head.Project, head.Name)
		e, there := x.claims[key]
		value, _ := json.Marshal(id)
		if !there {
			x.say(head.Ref(), &Change{Key: key, Op: Put, Value: value, Expect: Absent}, "its name %q is not held; another could take it", head.Name)
			continue
		}
		holder, ok := holderOf(e)
		switch {
		case !ok:
			x.say(key, &Change{Key: key, Op: Put, Value: value, Expect: e.Revision}, "it does not say who holds it; %s has this name", head.Ref())
		case holder != id && x.objects[holder] == nil && !x.unread[holder]:
			x.say(key, &Change{Key: key, Op: Put, Value: value, Expect: e.Revision}, "it is held by %s, which is not there; %s has this name", holder, head.Ref())
		case holder != id:
			x.say(head.Ref(), nil, "its name %q is held by %s", head.Name, holder)
		}
	}
}

// orphans looks for claims whose holder is gone. A claim that this version cannot read is left alone.
func (x *examination) orphans() {
	for key, e := range x.claims {
		what := string(key.ID)
		if slices.ContainsFunc(ofItsOwn, func(begin string) bool { return strings.HasPrefix(what, begin) }) {
			continue
		}
		holder, ok := holderOf(e)
		if !ok || x.objects[holder] != nil || x.unread[holder] || x.named(key) {
			continue
		}
		x.say(key, &Change{Key: key, Op: Delete, Expect: e.Revision}, "it is held by %s, which is not there; nobody can take it", holder)
	}
}

// named reports whether a record has the name that a key is of.
func (x *examination) named(key resource.Ref) bool {
	kind, name, _ := strings.Cut(string(key.ID), ":")
	for _, object := range x.objects {
		if head := object.Head(); string(head.Kind) == kind && head.Name == name && head.Project == key.Project {
			return true
		}
	}
	return false
}

func holderOf(e Entry) (resource.ID, bool) {
	var text string
	if json.Unmarshal(e.Value, &text) != nil || text == "" {
		return "", false
	}
	return resource.ID(text), true
}

// references looks for records that are spoken of and not there. An event outlives whom it is about, and
// a loop may be about to mend it: a person decides.
func (x *examination) references() {
	for _, object := range x.objects {
		head := object.Head()
		kind, _ := x.catalog.Lookup(head.Kind)
		for _, ref := range kind.Refs(object) {
			if x.objects[ref.ID] == nil && !x.unread[ref.ID] {
				x.note(head.Ref(), "it speaks of %s %s, which is not there", ref.Kind, ref.ID)
			}
		}
	}
}
