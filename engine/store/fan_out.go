package store

import (
	"context"
	"errors"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// What a fan-out keeps of the past. A watcher that is further behind is cut off.
const (
	fanOutRevisions = 16 << 10
	fanOutBytes     = 8 << 20
	fanOutHelping   = 16 // revisions that a watcher takes at once
	// For each watcher, the time between two wakings: where a thousand listen, changes that follow
	// each other closer than 10 ms are told together, for else nothing of the processor would be
	// left for others.
	fanOutPause = 10 * time.Microsecond
)

// fanOut tells any number of watchers of what the one watch of a view brings. It keeps the recent
// past once for all; a watcher is a place in it. So a watcher costs next to nothing, and one that
// does not read is in nobody's way: the past moves on, and it is told so when it reads again.
type fanOut struct {
	mu    sync.Mutex
	life  int                       // rises when the past was lost
	floor int64                     // all that happened after it is in past; -1: nothing is known yet
	past  []Changes                 // in order of revisions
	meant []map[resource.ID]Changes // what each of past means for each host
	bytes int                       // of the values in past
	moved chan struct{}             // closed and replaced when anything changes
	heads int                       // how many wait for it, about
	woken time.Time                 // when it was last closed
	later bool                      // it will be in a moment
	err   error                     // why nothing more comes
	ears  ears                      // of hosts' agents, which hear only what concerns them
}

func newFanOut() *fanOut { return &fanOut{floor: -1, moved: make(chan struct{}), ears: newEars()} }

// add appends what a revision changed, and for which hosts.
func (h *fanOut) add(c Changes, concerned map[resource.ID]Changes) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.floor < 0 || c.Revision <= h.top() {
		return
	}
	h.ears.hear(c.Revision, concerned)
	if len(c.Events) == 0 {
		return
	}
	h.past, h.meant = append(h.past, c), append(h.meant, concerned)
	h.bytes += weight(c)
	old := 0
	for ; len(h.past)-old > fanOutRevisions || h.bytes > fanOutBytes && len(h.past)-old > 1; old++ {
		h.floor = h.past[old].Revision
		h.bytes -= weight(h.past[old])
	}
	clear(h.past[:old])
	clear(h.meant[:old])
	h.past, h.meant = h.past[old:], h.meant[old:]
	h.wakeSoon()
}

// top is the last revision in past.
func (h *fanOut) top() int64 {
	if n := len(h.past); n > 0 {
		return h.past[n-1].Revision
	}
	return h.floor
}

// restart begins anew at revision: what lies between it and what was told before is not known.
func (h *fanOut) restart(revision int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.life++
	h.floor, h.past, h.meant, h.bytes = revision, nil, nil, 0
	h.ears.restart(revision)
	h.wake()
}

// end lets go of all watchers.
func (h *fanOut) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	h.ears.wakeAll()
	h.wake()
}

// wakeSoon wakes at once where it has been calm, or few listen.
func (h *fanOut) wakeSoon() {
	if h.later {
		return
	}
	rest := time.Duration(h.heads)*fanOutPause - time.Since(h.woken)
	if rest < time.Millisecond {
		h.wake()
		return
	}
	h.later = true
	time.AfterFunc(rest, func() {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.later = false
		h.wake()
	})
}

func (h *fanOut) wake() {
	h.woken, h.heads = time.Now(), 0
	close(h.moved)
	h.moved = make(chan struct{})
}

// join gives the life of the past if it holds all that happened after revision.
func (h *fanOut) join(after int64) (life int, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.life, h.floor >= 0 && after >= h.floor
}

// errGap says that the view has lost its watch, and the fan-out does not know what it missed.
var errGap = errors.New("the view missed something")

// next gives some of what comes after a revision, and waits for it, or for tick.
func (h *fanOut) next(ctx context.Context, tick <-chan time.Time, life int, after int64) ([]Changes, error) {
	for {
		h.mu.Lock()
		some, floor, gap, moved, err := h.read(after), h.floor, life != h.life, h.moved, h.err
		if len(some) == 0 {
			h.heads++
		}
		h.mu.Unlock()
		switch {
		case gap:
			return nil, errGap
		case after < floor:
			return nil, fault.New(fault.TooLate, "watch: the reader is more than %d revisions or %d MiB behind; list again", fanOutRevisions, fanOutBytes>>20)
		case len(some) > 0:
			return some, nil
		case err != nil:
			return nil, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick:
			return nil, nil
		case <-moved:
		}
	}
}

func (h *fanOut) read(after int64) []Changes {
	i := sort.Search(len(h.past), func(i int) bool { return h.past[i].Revision > after })
	return slices.Clone(h.past[i:min(i+fanOutHelping, len(h.past))])
}

func weight(c Changes) int {
	n := 0
	for _, e := range c.Events {
		n += len(e.Value) + len(e.Old)
	}
	return n
}
