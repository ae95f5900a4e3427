package store

import (
	"iter"

	"github.com/hashicorp/go-memdb"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Snapshot is the view at one moment; it does not change. Records read from it are shared: do
// not write to them.
type Snapshot struct{ txn *memdb.Txn }

// Snapshot takes the present picture.
func (v *View) Snapshot() *Snapshot { return &Snapshot{txn: v.db.Txn(false)} }

func (s *Snapshot) all() iter.Seq[resource.Object] { return s.iterate("id_prefix", "") }

func (s *Snapshot) iterate(index string, args ...any) iter.Seq[resource.Object] {
	return func(yield func(resource.Object) bool) {
		it, err := s.txn.Get(table, index, args...)
		if err != nil {
			panic("store: " + err.Error())
		}
		for raw := it.Next(); raw != nil; raw = it.Next() {
			if !yield(raw.(*row).Object) {
				return
			}
		}
	}
}

// Lookup finds a record of any kind by its id; nil if there is none.
func (s *Snapshot) Lookup(id resource.ID) resource.Object {
	raw, err := s.txn.First(table, "id", string(id))
	if err != nil || raw == nil {
		return nil
	}
	return raw.(*row).Object
}

// OfKind lists the records of a kind in no order.
func (s *Snapshot) OfKind(kind resource.Kind) iter.Seq[resource.Object] {
	return s.iterate("kind", string(kind))
}

// Mentioning lists the records of any kind that refer to id.
func (s *Snapshot) Mentioning(id resource.ID) iter.Seq[resource.Object] {
	return s.iterate("ref_prefix", mention(id, ""))
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
	return nil, fault.New(fault.NotFound, "no %s with id %q", t.Kind, id)
}

// Named finds a record by project and name, or else by its id within the project; nil if neither is there.
func Named[S, T any](s *Snapshot, t *resource.Type[S, T], project, nameOrID string) *resource.Record[S, T] {
	raw, _ := s.txn.First(table, "name", named(t.Kind, project, nameOrID))
	if raw == nil {
		if r := Find(s, t, resource.ID(nameOrID)); r != nil && r.Project == project {
			return r
		}
		return nil
	}
	return raw.(*row).Object.(*resource.Record[S, T])
}

// Every lists all records of a type by id, that is in the order of their creation.
func Every[S, T any](s *Snapshot, t *resource.Type[S, T]) []*resource.Record[S, T] {
	return collect[S, T](s.OfKind(t.Kind))
}

// InProject goes through the records of a type in a project by id, from the one after an id. It looks at no
// more of them than are taken.
func InProject[S, T any](s *Snapshot, t *resource.Type[S, T], project string, after resource.ID) iter.Seq[*resource.Record[S, T]] {
	return func(yield func(*resource.Record[S, T]) bool) {
		it, err := s.txn.LowerBound(table, "place", place(resource.Ref{Kind: t.Kind, Project: project, ID: after}))
		if err != nil {
			panic("store: " + err.Error())
		}
		for raw := it.Next(); raw != nil; raw = it.Next() {
			head := raw.(*row).Object.Head()
			if head.Kind != t.Kind || head.Project != project {
				return
			}
			if head.ID != after && !yield(raw.(*row).Object.(*resource.Record[S, T])) {
				return
			}
		}
	}
}

// CountInProject is how many records of a kind a project has.
func (s *Snapshot) CountInProject(kind resource.Kind, project string) int {
	return int(s.Total(project, ofKind(kind)))
}

// Referring lists the records of type t that refer to id.
func Referring[S, T any](s *Snapshot, t *resource.Type[S, T], id resource.ID) []*resource.Record[S, T] {
	return collect[S, T](s.iterate("ref", mention(id, t.Kind)))
}

func collect[S, T any](objects iter.Seq[resource.Object]) []*resource.Record[S, T] {
	var out []*resource.Record[S, T]
	for x := range objects {
		out = append(out, x.(*resource.Record[S, T]))
	}
	return out
}
