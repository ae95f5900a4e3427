package httpapi

import (
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Lending says which records of other projects a project may read and use. They are found by their
// name while it is unambiguous, by PROJECT/NAME, and by id; a record of the project itself comes first.
// Only reading follows it: what is lent cannot be changed by who borrows it, who sees of it what a
// Borrower sees.
type Lending[S, T any] struct {
	// To reports whether a record of another project may be used in a project.
	To func(s *store.Snapshot, project resource.ID, r *resource.Record[S, T]) bool
}

// Find gives the record that a name means within a project: its own, or else the one that is lent to
// it. Several of a name are an error that lists them: none is taken silently.
func (l Lending[S, T]) Find(s *store.Snapshot, t *resource.Type[S, T], project resource.ID, name string) (*resource.Record[S, T], error) {
	if own := store.Named(s, t, project, name); own != nil {
		return own, nil
	}
	var found []string
	var last *resource.Record[S, T]
	for _, r := range store.Every(s, t) {
		whole := s.NameOf(r.Project) + "/" + r.Name
		if name != r.Name && name != whole && name != string(r.Project)+"/"+r.Name && name != string(r.ID) || r.Project != project && !l.lent(s, project, r) {
			continue
		}
		last, found = r, append(found, whole)
	}
	switch len(found) {
	case 0:
		return nil, fault.New(fault.NotFound, "no %s %q in project %s, and none of another project is published or shared under this name; see virga %s list", t.Kind, name, s.NameOf(project), t.Kind)
	case 1:
		return last, nil
	}
	slices.Sort(found)
	return nil, fault.New(fault.Conflict, "%q is ambiguous: several projects offer %s %s of this name; say which: %s", name, article(string(t.Kind)), t.Kind, strings.Join(found, " or "))
}

func article(noun string) string {
	if strings.ContainsRune("aeio", rune(noun[0])) {
		return "an"
	}
	return "a"
}

func (l Lending[S, T]) lent(s *store.Snapshot, project resource.ID, r *resource.Record[S, T]) bool {
	return l.To != nil && project != "" && r.Project != project && r.Deleting == nil && l.To(s, project, r)
}

// read gives the record that a path names to who only reads it.
func (k *kind[S, T]) read(c *Call, name string) (*resource.Record[S, T], error) {
	if k.Lending.To == nil || c.Project == "" {
		return k.find(c, name)
	}
	if _, err := k.api.project(c); err != nil {
		return nil, err
	}
	return k.Lending.Find(c.Snapshot, k.Type, c.Project, name)
}
