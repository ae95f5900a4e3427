package image

import (
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/storage"
)

// allowed refuses content that the project's quota of disk has no room for: images count there as
// volumes do, by what is stored of them.
func (s *Service) allowed(project resource.ID, bytes int64) error {
	snap := s.db.Snapshot()
	p := store.Find(snap, identity.Projects, project)
	if p == nil {
		return nil
	}
	return identity.Check(snap, p, map[string]int64{storage.CountDiskMiB: inMiB(bytes)})
}
