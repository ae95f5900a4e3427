package store

import (
	"context"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// hostBacklog is how many revisions that concern it one host's agent may lag behind.
const hostBacklog = 4096

// ears are the agents that listen, by host: a change costs those whom it concerns, however many there are.
// What waits for a host waits with its listener, so that nobody searches for it.
type ears struct {
	byHost map[resource.ID]map[*HostFollower]struct{}
	now    int64                 // the revision that the view has reached
	asked  map[resource.ID]int64 // whose agents wait for a revision to pass
}

func newEars() ears {
	return ears{byHost: map[resource.ID]map[*HostFollower]struct{}{}, asked: map[resource.ID]int64{}}
}

// hear passes on what a revision means for each host.
func (e *ears) hear(revision int64, concerned map[resource.ID]Changes) {
	e.now = revision
	for host, c := range concerned {
		if host == resource.AnyHost {
			continue
		}
		for f := range e.byHost[host] {
			mine := c
			if all, too := concerned[resource.AnyHost]; too {
				mine.Events = append(slices.Clone(c.Events), all.Events...)
			}
			f.take(mine)
		}
	}
	if all, some := concerned[resource.AnyHost]; some {
		for host, listeners := range e.byHost {
			if _, told := concerned[host]; told {
				continue
			}
			for f := range listeners {
				f.take(all)
			}
		}
	}
	for host, wanted := range e.asked {
		if wanted <= revision {
			delete(e.asked, host)
			e.nudge(host)
		}
	}
}

func (e *ears) nudge(host resource.ID) {
	for f := range e.byHost[host] {
		f.nudge()
	}
}

// restart cuts all off: what lies between is not known.
func (e *ears) restart(revision int64) {
	e.now = revision
	for _, listeners := range e.byHost {
		for f := range listeners {
			f.lost = true
			f.nudge()
		}
	}
}

func (e *ears) wakeAll() {
	for host := range e.byHost {
		e.nudge(host)
	}
}

// HostFollower is a host's agent's place in what happens. The lock of the fan-out guards it.
type HostFollower struct {
	view  *View
	host  resource.ID
	wake  chan struct{}
	wait  []Changes // has not been read
	told  int64     // everything up to it has been given
	lost  bool      // something is not known
	taken int       // revisions that it was woken for
}

// take is called with the lock held.
func (f *HostFollower) take(c Changes) {
	if c.Revision <= f.told || f.lost {
		return
	}
	if f.taken++; len(f.wait) >= hostBacklog {
		f.wait, f.lost = nil, true
	} else {
		f.wait = append(f.wait, c)
	}
	f.nudge()
}

func (f *HostFollower) nudge() {
	select {
	case f.wake <- struct{}{}:
	default:
	}
}

// ByHost is a Store that has an index of what each host's agent sees.
type ByHost interface {
	// ListHost is List, of what a host sees.
	ListHost(ctx context.Context, host resource.ID, kinds ...resource.Kind) ([]Entry, int64, error)
	// FollowHost tells what concerns a host after a revision.
	FollowHost(ctx context.Context, host resource.ID, after int64) (*HostFollower, error)
	// Ask lets the followers of a host tell soon that a revision has passed: its agent waits for it.
	Ask(host resource.ID, revision int64)
}

// FollowHost implements ByHost. What lies between after and now is found in the recent past; one that begins
// further back lists again.
func (s shared) FollowHost(ctx context.Context, host resource.ID, after int64) (*HostFollower, error) {
	v := s.db.View
	if err := v.reach(ctx, after); err != nil {
		return nil, fault.Wrap(err, "watch after revision %d", after)
	}
	h := v.fanOut
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.floor < 0 || after < h.floor {
		return nil, fault.New(fault.TooLate, "watch after revision %d: only changes after %d are kept; list again", after, h.floor)
	}
	f := &HostFollower{view: v, host: host, wake: make(chan struct{}, 1), told: after}
	for i, c := range h.past {
		if c.Revision > after {
			f.catchUp(c.Revision, h.meant[i])
		}
	}
	if h.ears.byHost[host] == nil {
		h.ears.byHost[host] = map[*HostFollower]struct{}{}
	}
	h.ears.byHost[host][f] = struct{}{}
	f.nudge()
	return f, nil
}

func (f *HostFollower) catchUp(revision int64, concerned map[resource.ID]Changes) {
	mine := append(slices.Clone(concerned[f.host].Events), concerned[resource.AnyHost].Events...)
	if len(mine) > 0 {
		f.take(Changes{Revision: revision, Events: mine})
	}
}

// Taken is how many revisions it was woken for.
func (f *HostFollower) Taken() int {
	f.view.fanOut.mu.Lock()
	defer f.view.fanOut.mu.Unlock()
	return f.taken
}

// Stop ends it.
func (f *HostFollower) Stop() {
	h := f.view.fanOut
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.ears.byHost[f.host], f)
	if len(h.ears.byHost[f.host]) == 0 {
		delete(h.ears.byHost, f.host)
	}
}

// Next waits for what concerns the host. At a tick, and when somebody asked, it gives the revision that has
// passed, without events; nothing if that has been given.
func (f *HostFollower) Next(ctx context.Context, tick <-chan time.Time) ([]Changes, error) {
	for {
		ticked := false
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-tick:
			ticked = true
		case <-f.wake:
		}
		some, err := f.read()
		if len(some) > 0 || err != nil || ticked {
			return some, err
		}
	}
}

func (f *HostFollower) read() ([]Changes, error) {
	h := f.view.fanOut
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.lost {
		return nil, fault.New(fault.TooLate, "watch: what happened meanwhile is not known; list again")
	}
	some := f.wait
	f.wait = nil
	if len(some) == 0 && h.err != nil {
		return nil, h.err
	}
	if h.ears.now > f.told {
		f.told = h.ears.now
		if n := len(some); n == 0 || some[n-1].Revision < f.told {
			some = append(some, Changes{Revision: f.told})
		}
	}
	return some, nil
}

// Ask implements ByHost.
func (s shared) Ask(host resource.ID, revision int64) {
	h := s.db.View.fanOut
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ears.now < revision {
		h.ears.asked[host] = max(h.ears.asked[host], revision)
		return
	}
	h.ears.nudge(host)
}

// ListHost implements ByHost.
func (s shared) ListHost(ctx context.Context, host resource.ID, kinds ...resource.Kind) ([]Entry, int64, error) {
	v := s.db.View
	now, err := v.store.Commit(ctx)
	if err == nil {
		err = v.WaitFor(ctx, now)
	}
	if err != nil {
		return nil, 0, fault.Wrap(err, "list the records of host %s", host)
	}
	revision := v.Revision() // first: what is read then may be newer, never older
	strange := v.strangeOf(host)
	var out []Entry
	wanted := func(k resource.Kind) bool { return len(kinds) == 0 || slices.Contains(kinds, k) }
	for _, id := range []resource.ID{host, resource.AnyHost} {
		for x := range tied(v.Snapshot().hosts, id, "") {
			ref := x.Head().Ref()
			if _, newer := strange[ref]; newer || !wanted(ref.Kind) {
				continue
			}
			value, err := resource.Encode(x)
			if err != nil {
				return nil, 0, fault.New(fault.Internal, "encode %s: %w", ref, err)
			}
			out = append(out, Entry{Key: ref, Value: value, Revision: x.Head().Revision})
		}
	}
	for ref, x := range strange {
		if x.Value != nil && wanted(ref.Kind) {
			out = append(out, x.Entry)
		}
	}
	return out, revision, nil
}
