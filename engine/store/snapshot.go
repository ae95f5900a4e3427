package store

import (
	"iter"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Snapshot is the view at one moment; it does not change. Records read from it are shared: do
// not write to them.
type Snapshot struct {
	*picture
	revision int64 // that it shows at least
}

// Snapshot takes the present picture.
func (v *View) Snapshot() *Snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	return &Snapshot{v.shown, v.revision}
}

func (s *Snapshot) all() iter.Seq[resource.Object] {
	return func(yield func(resource.Object) bool) { s.ids.Scan(yield) }
}

// Lookup finds a record of any kind by its id; nil if there is none.
func (s *Snapshot) Lookup(id resource.ID) resource.Object {
	x, _ := s.ids.Get(&resource.Meta{ID: id})
	return x
}

// NameOf gives the name of a record of any kind, for words; of one that is not there, the id.
func (s *Snapshot) NameOf(id resource.ID) string {
	if x := s.Lookup(id); x != nil {
		return x.Head().Name
	}
	return string(id)
}

// OfKind lists the records of a kind by id, that is in the order of their creation.
func (s *Snapshot) OfKind(kind resource.Kind) iter.Seq[resource.Object] {
	return from(s.kinds, &resource.Meta{Kind: kind}, func(x *resource.Meta) bool { return x.Kind == kind })
}

// place goes through the records of a kind in a project by id.
func (s *Snapshot) place(kind resource.Kind, project resource.ID) iter.Seq[resource.Object] {
	return from(s.places, &resource.Meta{Kind: kind, Project: project}, func(x *resource.Meta) bool {
		return x.Kind == kind && x.Project == project
	})
}

// Mentioning lists the records of any kind that refer to id.
func (s *Snapshot) Mentioning(id resource.ID) iter.Seq[resource.Object] {
	return tied(s.refs, id, "")
}

// TakenBy gives the record that has what one record alone may have, by the word of its kind's Takes; nil if
// it is free.
func (s *Snapshot) TakenBy(word string) resource.Object {
	t, _ := s.taken.Get(taking{word: word})
	return t.by
}

// Find gives the record of type t with this id; nil if there is none.
func Find[S, T any](s *Snapshot, _ *resource.Type[S, T], id resource.ID) *resource.Record[S, T] {
	r, _ := s.Lookup(id).(*resource.Record[S, T])
	return r
}

// Need is Find with an error in words: fault.NotFound.
func Need[S, T any](s *Snapshot, t *resource.Type[S, T], id resource.ID) (*resource.Record[S, T], error) {
	if r := Find(s, t, id); r != nil {
		return r, nil
	}
	return nil, fault.New(fault.NotFound, "no %s %q", t.Kind, id)
}

// Named finds a record of a project by its id, or else by its name; nil if neither is there.
func Named[S, T any](s *Snapshot, t *resource.Type[S, T], project resource.ID, nameOrID string) *resource.Record[S, T] {
	r, _ := s.NamedOf(t.Kind, project, nameOrID).(*resource.Record[S, T])
	return r
}

// NamedOf is Named for a kind that is known by its word only.
func (s *Snapshot) NamedOf(kind resource.Kind, project resource.ID, nameOrID string) resource.Object {
	if resource.IsID(nameOrID) {
		if x := s.Lookup(resource.ID(nameOrID)); x != nil && x.Head().Kind == kind && x.Head().Project == project {
			return x
		}
	}
	if x, _ := s.names.Get(&resource.Meta{Kind: kind, Project: project, Name: nameOrID}); x != nil {
		return x
	}
	if x := s.Lookup(resource.ID(nameOrID)); x != nil && x.Head().Kind == kind && x.Head().Project == project {
		return x
	}
	return nil
}

// Every lists all records of a type by id, that is in the order of their creation.
func Every[S, T any](s *Snapshot, t *resource.Type[S, T]) []*resource.Record[S, T] {
	return collect[S, T](s.OfKind(t.Kind))
}

// InProject goes through the records of a type in a project by id, from the one after an id. It looks at no
// more of them than are taken.
func InProject[S, T any](s *Snapshot, t *resource.Type[S, T], project, after resource.ID) iter.Seq[*resource.Record[S, T]] {
	return func(yield func(*resource.Record[S, T]) bool) {
		of := func(x *resource.Meta) bool { return x.Kind == t.Kind && x.Project == project }
		for x := range from(s.places, &resource.Meta{Kind: t.Kind, Project: project, ID: after}, of) {
			if x.Head().ID != after && !yield(x.(*resource.Record[S, T])) {
				return
			}
		}
	}
}

// CountInProject is how many records of a kind a project has.
func (s *Snapshot) CountInProject(kind resource.Kind, project resource.ID) int {
	return int(s.Total(project, ofKind(kind)))
}

// Referring lists the records of type t that refer to id.
func Referring[S, T any](s *Snapshot, t *resource.Type[S, T], id resource.ID) []*resource.Record[S, T] {
	return collect[S, T](tied(s.refs, id, t.Kind))
}

func collect[S, T any](objects iter.Seq[resource.Object]) []*resource.Record[S, T] {
	var out []*resource.Record[S, T]
	for x := range objects {
		out = append(out, x.(*resource.Record[S, T]))
	}
	return out
}
