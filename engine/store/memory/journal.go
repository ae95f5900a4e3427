package memory

import (
	"cmp"
	"context"
	"slices"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Range implements store.Journals.
func (s *Store) Range(_ context.Context, journal string, from, to resource.ID, newest bool, most int) ([]store.Entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []store.Entry
	for key, e := range s.entries {
		if key.Kind == store.JournalKind && key.Project == resource.ID(journal) && key.ID >= from && (to == "" || key.ID < to) {
			e.Value = store.Open(e.Value)
			out = append(out, e)
		}
	}
	slices.SortFunc(out, func(a, b store.Entry) int {
		if newest {
			a, b = b, a
		}
		return cmp.Compare(a.Key.ID, b.Key.ID)
	})
	return out[:min(len(out), most)], nil
}
