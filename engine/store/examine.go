package store

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Finding is something that is not as it must be in the entries of a store.
type Finding struct {
	Key resource.Ref
	// Name is that of the record, also where it cannot be read; empty where none is known.
	Name string
	// Class is what kind of finding it is.
	Class Class
	// Wrong says what, in words.
	Wrong string
	// Repair puts it right without losing anything; nil: only a person can decide.
	Repair *Change
	// Harmless is what may be so for a while, or by the way of another version.
	Harmless bool
}

// Class is a kind of finding, in words for many.
type Class string

// The classes.
const (
	Unknown    Class = "records of kinds that this version does not know"
	Unreadable Class = "records that cannot be read"
	Misplaced  Class = "records under the keys of others"
	Twins      Class = "records with ids that others have too"
	Nameless   Class = "records whose names are not held"
	Namesakes  Class = "records whose names others hold"
	BadName    Class = "keys that do not say who holds them"
	Orphan     Class = "keys held by what is not there"
	Dangling   Class = "records that speak of what is not there"
)

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
	for i, f := range x.found {
		x.found[i].Name = x.nameOf(f.Key)
	}
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

func (x *examination) say(class Class, key resource.Ref, repair *Change, wrong string, args ...any) {
	x.found = append(x.found, Finding{Key: key, Class: class, Wrong: fmt.Sprintf(wrong, args...), Repair: repair})
}

func (x *examination) note(class Class, key resource.Ref, wrong string, args ...any) {
	x.found = append(x.found, Finding{Key: key, Class: class, Wrong: fmt.Sprintf(wrong, args...), Harmless: true})
}

func (x *examination) record(e Entry) {
	kind, known := x.catalog.Lookup(e.Key.Kind)
	if !known {
		x.unread[e.Key.ID] = true
		x.note(Unknown, e.Key, "this version does not know the kind %q; it is left alone", e.Key.Kind)
		return
	}
	object, err := kind.Decode(e.Value, e.Revision)
	if Damaged(e.Value) {
		err = errDamaged
	}
	if err != nil {
		x.unread[e.Key.ID] = true
		x.say(Unreadable, e.Key, nil, "it cannot be read: %v", err)
		return
	}
	if head := object.Head(); head.Ref() != e.Key {
		x.unread[e.Key.ID], x.unread[head.ID] = true, true
		x.say(Misplaced, e.Key, nil, "it says of itself that it is %s", head.Ref())
		return
	}
	if twin := x.objects[e.Key.ID]; twin != nil {
		x.say(Twins, e.Key, nil, "its id is that of %s too", twin.Head().Ref())
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
			x.say(Nameless, head.Ref(), &Change{Key: key, Op: Put, Value: value, Expect: Absent}, "its name %q is not held; another could take it", head.Name)
			continue
		}
		holder, ok := holderOf(e)
		switch {
		case !ok:
			x.say(BadName, key, &Change{Key: key, Op: Put, Value: value, Expect: e.Revision}, "it does not say who holds it; %s has this name", head.Ref())
		case holder != id && x.objects[holder] == nil && !x.unread[holder]:
			x.say(Orphan, key, &Change{Key: key, Op: Put, Value: value, Expect: e.Revision}, "it is held by %s, which is not there; %s has this name", holder, head.Ref())
		case holder != id:
			x.say(Namesakes, head.Ref(), nil, "its name %q is held by %s", head.Name, holder)
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
		x.say(Orphan, key, &Change{Key: key, Op: Delete, Expect: e.Revision}, "it is held by %s, which is not there; nobody can take it", holder)
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

// nameOf is the name of a record, by itself or by the key that it holds.
func (x *examination) nameOf(key resource.Ref) string {
	if object := x.objects[key.ID]; object != nil {
		return object.Head().Name
	}
	for claim, e := range x.claims {
		name, is := strings.CutPrefix(string(claim.ID), string(key.Kind)+":")
		if holder, ok := holderOf(e); is && ok && holder == key.ID && claim.Project == key.Project {
			return name
		}
	}
	return ""
}

// RemoveUnreadable gives the changes that delete a record which cannot be read, with all keys that it holds. One
// that a newer version may read, or that can be read, is refused.
func RemoveUnreadable(catalog *resource.Catalog, entries []Entry, kind resource.Kind, id resource.ID) ([]Change, error) {
	i := slices.IndexFunc(entries, func(e Entry) bool { return e.Key.Kind == kind && e.Key.ID == id })
	if i < 0 {
		return nil, fault.New(fault.NotFound, "delete the record %s/%s: there is none", kind, id)
	}
	unreadable := slices.ContainsFunc(Examine(catalog, entries[i:i+1]), func(f Finding) bool { return f.Class == Unreadable })
	if !unreadable {
		return nil, fault.New(fault.Precondition, "delete the record %s/%s: it can be read, or another version can; delete it by the API", kind, id)
	}
	out := []Change{{Key: entries[i].Key, Op: Delete, Expect: entries[i].Revision}}
	for _, e := range entries {
		if holder, ok := holderOf(e); e.Key.Kind == NameKind && ok && holder == id {
			out = append(out, Change{Key: e.Key, Op: Delete, Expect: e.Revision})
		}
	}
	return out, nil
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
				x.note(Dangling, head.Ref(), "it speaks of %s %s, which is not there", ref.Kind, ref.ID)
			}
		}
	}
}
