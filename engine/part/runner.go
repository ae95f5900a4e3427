package part

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Runner drives the loops and the chores of parts with goroutines and the real clock.
type Runner struct {
	db     *store.DB
	loops  *reconcile.Runner
	chores []*turn
}

// turn is a chore with what makes it due.
type turn struct {
	Chore
	dirty chan struct{}
}

// NewRunner prepares what the parts bring; call it before the DB's view runs, so that no change is missed.
func NewRunner(db *store.DB, parts ...Part) *Runner {
	r := &Runner{db: db}
	var loops []*reconcile.Loop
	for _, p := range parts {
		loops = append(loops, p.Loops...)
		for _, c := range p.Chores {
			r.chores = append(r.chores, &turn{Chore: c, dirty: make(chan struct{}, 1)})
		}
	}
	r.loops = reconcile.NewRunner(db, loops...)
	db.Subscribe(r.changed)
	return r
}

// Names lists the loops and the chores.
func (r *Runner) Names() []string {
	out := r.loops.Loops()
	for _, t := range r.chores {
		out = append(out, t.Name)
	}
	return out
}

func (r *Runner) changed(deltas []store.Delta) {
	for _, t := range r.chores {
		for _, d := range deltas {
			if x := d.New; x != nil && t.Woken(x.Head().Kind) || x == nil && t.Woken(d.Old.Head().Kind) {
				t.nudge()
				break
			}
		}
	}
}

// Wake makes one record due at once, for a reason that no record tells of: a driver saw something.
func (r *Runner) Wake(kind resource.Kind, id resource.ID) { r.loops.Wake(kind, id) }

// Run works until ctx ends and everything in work has returned.
func (r *Runner) Run(ctx context.Context) {
	if err := r.db.WaitFor(ctx, 1); err != nil {
		return // nothing has been seen: an empty picture would undo everything
	}
	var wg sync.WaitGroup
	wg.Go(func() { r.loops.Run(ctx) })
	for _, t := range r.chores {
		wg.Go(func() { t.run(ctx) })
	}
	wg.Wait()
}

func (t *turn) nudge() {
	select {
	case t.dirty <- struct{}{}:
	default:
	}
}

func (t *turn) run(ctx context.Context) {
	for failures := 0; ; {
		begun := time.Now()
		switch err := t.Do(ctx); {
		case ctx.Err() != nil:
			return
		case err != nil:
			if failures++; failures == 1 {
				slog.Warn("a chore failed and is tried again", "chore", t.Name, "error", err)
			}
		default:
			if failures > 0 {
				slog.Info("a chore that had failed is done", "chore", t.Name)
			}
			failures = 0
		}
		if !t.wait(ctx, t.Pause(failures), time.Now().Add(Rest(time.Since(begun)))) {
			return
		}
	}
}

// wait returns when the chore is due again, which a change does not make it before its rest is over; false
// when ctx has ended.
func (t *turn) wait(ctx context.Context, pause time.Duration, rested time.Time) bool {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	case <-t.dirty:
	}
	select {
	case <-ctx.Done():
		return false
	case <-time.After(max(t.Together, time.Until(rested))):
		return true
	}
}
