package identity

import (
	"context"
	"fmt"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// projectHolder keeps a project that is being deleted until nothing is in it. Of a record that is made
// in it at the same moment and the deletion one fails: every record's commit holds its project.
const projectHolder = "identity/project"

// NewProjectLoop lets a project that is being deleted go when nothing is in it.
func NewProjectLoop(db *store.DB) *reconcile.Loop {
	l := &reconcile.Loop{Name: "identity/project", Kind: Projects.Kind, Also: map[resource.Kind]func(resource.Object) []resource.ID{}}
	for _, d := range db.Catalog().All() {
		if d.Scope == resource.InProject && !d.Past {
			l.Also[d.Kind] = func(x resource.Object) []resource.ID {
				if p := store.Find(db.Snapshot(), Projects, x.Head().Project); p != nil && p.Deleting != nil {
					return []resource.ID{p.ID}
				}
				return nil
			}
		}
	}
	l.Step = func(ctx context.Context, id resource.ID) (reconcile.Result, error) {
		s := db.Snapshot()
		p := store.Find(s, Projects, id)
		if p == nil || p.Deleting == nil || empty(db, s, p, nobodys) != nil {
			return reconcile.Result{}, nil
		}
		b := db.Begin()
		store.Release(b, p, projectHolder)
		return reconcile.Result{}, db.Commit(ctx, b)
	}
	return l
}

// Contents are what the cloud itself puts into every project. They do not keep it, and go with it.
type Contents interface {
	// Has reports whether a record is a part of them.
	Has(*store.Snapshot, resource.Object) bool
	// Remove removes them from a project in which nothing else is.
	Remove(b *store.Batch, s *store.Snapshot, project resource.ID)
}

func nobodys(*store.Snapshot, resource.Object) bool { return false }

// empty refuses with what is still in a project, besides what goes along with it.
func empty(db *store.DB, s *store.Snapshot, p *Project, along func(*store.Snapshot, resource.Object) bool) error {
	var there []string
	for _, d := range db.Catalog().All() {
		if d.Scope != resource.InProject || d.Past {
			continue
		}
		n := 0
		for x := range s.OfKind(d.Kind) {
			if x.Head().Project == p.ID && !along(s, x) {
				n++
			}
		}
		switch {
		case n == 1:
			there = append(there, "1 "+string(d.Kind))
		case n > 1:
			there = append(there, fmt.Sprintf("%d %s", n, d.Plural))
		}
	}
	if len(there) == 0 {
		return nil
	}
	return fault.New(fault.Precondition, "project %s still has %s; delete them first", p.Name, strings.Join(there, ", "))
}

// deletingProject takes along what was made with the project, in the same commit, and the tokens, users
// and sessions that are limited to it. Whoever puts something into the project, or makes a token for it, at
// this moment makes it fail, or fails.
func deletingProject(w Writers, own Contents) func(context.Context, *httpapi.Call, *Project) error {
	return func(_ context.Context, c *httpapi.Call, p *Project) error {
		if p.Name == DefaultProject {
			return fault.New(fault.Precondition, "project %s stays; the cloud needs it", DefaultProject)
		}
		if err := empty(c.DB, c.Snapshot, p, own.Has); err != nil {
			return err
		}
		own.Remove(c.Batch, c.Snapshot, p.ID)
		for _, t := range store.Referring(c.Snapshot, Tokens, p.ID) {
			w.Tokens.Delete(c.Batch, t)
		}
		for _, u := range store.Referring(c.Snapshot, Users, p.ID) {
			w.Users.Delete(c.Batch, u)
		}
		for _, s := range store.Referring(c.Snapshot, Sessions, p.ID) {
			w.Sessions.Delete(c.Batch, s)
		}
		return nil
	}
}
