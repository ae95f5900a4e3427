package store

import (
	"runtime"
	"sync"

	"github.com/virga-cloud/virga/engine/resource"
)

// decoded is what became of one entry.
type decoded struct {
	object resource.Object
	err    error
}

// decodeNew decodes what a list has that the view does not show yet, on all processors: at the start that is
// all there is, and it takes most of the time.
func (v *View) decodeNew(entries []Entry) decoder {
	var wanted []Entry
	for _, e := range entries {
		if e.Key.Kind == NameKind || e.Key.Kind == JournalKind {
			continue
		}
		if old, _ := v.next.ids.Get(&resource.Meta{ID: e.Key.ID}); old == nil || old.Head().Revision != e.Revision {
			wanted = append(wanted, e)
		}
	}
	results := make([]decoded, len(wanted))
	var wg sync.WaitGroup
	workers := runtime.GOMAXPROCS(0)
	for first := range workers {
		wg.Go(func() {
			for i := first; i < len(wanted); i += workers {
				e := wanted[i]
				x, err := v.decode(Event{Key: e.Key, Value: e.Value}, e.Revision)
				results[i] = decoded{x, err}
			}
		})
	}
	wg.Wait()
	byKey := make(map[resource.Ref]decoded, len(wanted))
	for i, e := range wanted {
		byKey[e.Key] = results[i]
	}
	return func(e Event, revision int64) (resource.Object, error) {
		if d, there := byKey[e.Key]; there {
			return d.object, d.err
		}
		return v.decode(e, revision)
	}
}
