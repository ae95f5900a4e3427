package store

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/virga-cloud/virga/engine/resource"
)

// reading is what an event or an entry says, and what became of it.
type reading struct {
	Event
	revision int64
	isNews   bool // else the view shows it already, and it is not decoded
	object   resource.Object
	err      error
}

// handful is how many entries are decoded in one go: enough to be worth a goroutine.
const handful = 1000

// readAll reads all records and decodes those that the view does not show yet, on all processors: at the start
// that are all, and it takes most of the time. Meanwhile the store reads on.
func (v *View) readAll(ctx context.Context) ([]reading, int64, error) {
	var pieces [][]reading
	var wg sync.WaitGroup
	processors := make(chan struct{}, runtime.GOMAXPROCS(0))
	revision, err := v.stream(ctx, func(entries []Entry) {
		for some := range slices.Chunk(entries, handful) {
			out := make([]reading, len(some))
			pieces = append(pieces, out)
			processors <- struct{}{} // what is not decoded yet fills the memory: the store has to wait
			wg.Go(func() {
				for i, e := range some {
					out[i] = v.readEntry(e)
				}
				<-processors
			})
		}
	})
	wg.Wait()
	return slices.Concat(pieces...), revision, err
}

// stream gives all records, in one piece where the store knows no better.
func (v *View) stream(ctx context.Context, each func([]Entry)) (int64, error) {
	if s, is := v.store.(Streaming); is {
		return s.Stream(ctx, each)
	}
	entries, revision, err := v.store.List(ctx)
	if err == nil {
		each(entries)
	}
	return revision, err
}

// readEntry decodes an entry of a list. Whatever revision it has is news if the view shows another: the store may
// have been restored to an older state.
func (v *View) readEntry(e Entry) reading {
	r := reading{Event: Event{Key: e.Key}, revision: e.Revision}
	if r.isNews = v.shows(e.Key.ID) != e.Revision; r.isNews {
		r.object, r.err = v.decode(e.Key, e.Value, e.Revision)
	}
	r.Value = there
	if r.err != nil {
		r.Value = e.Value // it is kept as it is
	}
	return r
}

// there stands for the value of what was decoded: the bytes can go.
var there = []byte{}

// readEvent decodes what a watch tells, unless the view shows something newer.
func (v *View) readEvent(e Event, revision int64) reading {
	r := reading{Event: e, revision: revision, isNews: v.shows(e.Key.ID) < revision}
	if e.Value != nil && r.isNews && IsRecord(e.Key.Kind) {
		r.object, r.err = v.decode(e.Key, e.Value, revision)
	}
	return r
}

// shows gives the revision of the record that the view shows; 0: there is none.
func (v *View) shows(id resource.ID) int64 {
	if old, _ := v.next.ids.Get(&resource.Meta{ID: id}); old != nil {
		return old.Head().Revision
	}
	return 0
}
