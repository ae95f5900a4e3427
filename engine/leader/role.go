// Package leader runs what only one of several servers may do.
//
// A server has two roles. The API role answers requests for as long as the process lives. The leader
// role (loops, operations, what is written to OVN, who is alive) runs during a Term: it begins when the
// leadership is won and ends when it is lost. A server that stood still (a stopped process, a disk that
// hangs, a clock that jumped) loses its term, goes on answering, and stands again.
//
// Commits of the role carry the term (Role.Fence, for store.DB): a deposed leader cannot write, even
// while it does not know yet.
package leader

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

// Term is a leadership that was won.
type Term interface {
	// Fence is the check that holds a commit to this term.
	Fence() store.Change
	// Done closes when the term is over.
	Done() <-chan struct{}
	// Resign gives it up and waits until it is free for others.
	Resign()
}

// Role is one server's part in the leadership.
type Role struct {
	mu    sync.Mutex
	term  Term // nil: another server leads, or none
	terms int
}

// Fence gives the check for a commit of the role; it fits store.DB.Fence.
func (r *Role) Fence() (store.Change, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.term == nil {
		return store.Change{}, fault.New(fault.Unavailable, "this server does not lead at the moment")
	}
	return r.term.Fence(), nil
}

// Leads reports whether this server leads, and how often it has begun to.
func (r *Role) Leads() (now bool, terms int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.term != nil, r.terms
}

// between is the pause after an election that failed.
const between = time.Second

// Run stands for the leadership until ctx ends, and plays the role in each term that is won. Play
// returns when its context has ended and nothing of it goes on; before that, no new term begins.
func (r *Role) Run(ctx context.Context, stand func(context.Context) (Term, error), play func(context.Context)) {
	for ctx.Err() == nil {
		t, err := stand(ctx)
		if err != nil {
			if ctx.Err() == nil {
				slog.Warn("the leadership could not be stood for; trying again", "error", err)
			}
			select {
			case <-ctx.Done():
			case <-time.After(between):
			}
			continue
		}
		r.serve(ctx, t, play)
	}
}

// serve plays the role for one term.
func (r *Role) serve(ctx context.Context, t Term, play func(context.Context)) {
	term, end := context.WithCancel(ctx)
	defer end()
	r.set(t)
	slog.Info("this server leads")
	over := make(chan struct{})
	go func() {
		defer close(over)
		select {
		case <-t.Done():
			slog.Warn("this server lost its leadership; it goes on answering, and stands again")
		case <-term.Done():
		}
		end()
	}()
	play(term)
	end()
	<-over
	r.set(nil)
	t.Resign()
}

func (r *Role) set(t Term) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term = t
	if t != nil {
		r.terms++
	}
}
