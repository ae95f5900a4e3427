package identity

import (
	"context"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

// Seed makes what a new cloud begins with: the default project, and an administrator's token if
// there is no token at all. Keep is given the secret before the commit: should we die in between,
// the secret that was kept is worth nothing and the next start makes another. Call it when the
// view is filled.
func Seed(ctx context.Context, db *store.DB, w Writers, keep func(secret string) error) error {
	s := db.Snapshot()
	b := db.Begin()
	if store.Named(s, Projects, "", DefaultProject) == nil {
		p := &Project{Spec: ProjectSpec{Description: "There from the beginning."}}
		p.Name = DefaultProject
		w.Projects.Create(b, p, projectHolder)
	}
	if len(store.Every(s, Tokens)) == 0 {
		t, secret := newToken("admin", TokenSpec{User: "admin", Role: Admin})
		w.Tokens.Create(b, t)
		if err := keep(secret); err != nil {
			return fault.Wrap(err, "keep the administrator's token")
		}
	}
	err := db.Commit(ctx, b)
	if fault.Is(err, fault.Exists) {
		return nil // another server was faster
	}
	return fault.Wrap(err, "make the first project and token")
}
