package reconcile

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Runner drives loops with goroutines and the real clock.
type Runner struct {
	db    *store.DB
	works []*work
}

type work struct {
	loop  *Loop
	mu    sync.Mutex
	queue *Queue // nil while nothing runs: what changes then is seen at the first look
	wake  chan struct{}
}

// NewRunner prepares loops; call it before the DB's view runs, so that no change is missed.
func NewRunner(db *store.DB, loops ...*Loop) *Runner {
	r := &Runner{db: db}
	for _, l := range loops {
		r.works = append(r.works, &work{loop: l, wake: make(chan struct{}, 1)})
	}
	db.Subscribe(r.changed)
	return r
}

// Loops names the loops.
func (r *Runner) Loops() []string {
	var out []string
	for _, w := range r.works {
		out = append(out, w.loop.Name)
	}
	return out
}

func (r *Runner) changed(deltas []store.Delta) {
	now := time.Now()
	for _, w := range r.works {
		for _, d := range deltas {
			w.add(now.Add(w.loop.Wait(d)), w.loop.Affected(r.db.Catalog(), d)...)
		}
	}
}

// Wake makes one record due at once, for a reason that no record tells of: a driver saw something.
func (r *Runner) Wake(kind resource.Kind, id resource.ID) {
	for _, w := range r.works {
		if w.loop.Kind == kind {
			w.add(time.Now(), id)
		}
	}
}

// Run works until ctx ends and every step in work has returned. It begins with a look at all records,
// and may be called again after that: a leader runs once in each of its terms.
func (r *Runner) Run(ctx context.Context) {
	var wg sync.WaitGroup
	for _, w := range r.works {
		w.begin()
		defer w.end()
		wg.Go(func() { r.resync(ctx, w) })
		for range max(1, w.loop.Workers) {
			wg.Go(func() { w.run(ctx) })
		}
	}
	wg.Wait()
}

func (r *Runner) resync(ctx context.Context, w *work) {
	every := w.loop.Resync
	if every == 0 {
		every = 5 * time.Minute
	}
	w.addAll(r.db, 0)
	if every < 0 {
		return
	}
	tick := time.NewTimer(jittered(every))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			w.addAll(r.db, every/4)
			tick.Reset(jittered(every))
		}
	}
}

// addAll makes all records due, the oldest first, one after the other within a time.
func (w *work) addAll(db *store.DB, within time.Duration) {
	var ids []resource.ID
	for x := range db.Snapshot().OfKind(w.loop.Kind) {
		ids = append(ids, x.Head().ID)
	}
	slices.Sort(ids)
	now := time.Now()
	for i, id := range ids {
		w.add(now.Add(turn(i, len(ids), within)), id)
	}
}

// atOnce is the pause between two records of a resync where there is time enough: a hundred a second.
const atOnce = 10 * time.Millisecond

// turn is when the i-th of n records is looked at: few soon, many evenly over the whole time, so that a resync
// of a large cloud leaves room for what people do.
func turn(i, n int, within time.Duration) time.Duration {
	if n == 0 {
		return 0
	}
	return time.Duration(i) * min(atOnce, within/time.Duration(n))
}

// jittered keeps loops and hosts that began together from looking together.
func jittered(every time.Duration) time.Duration {
	return every - every/10 + rand.N(every/5+1)
}

func (w *work) add(at time.Time, ids ...resource.ID) {
	if len(ids) == 0 {
		return
	}
	w.mu.Lock()
	for _, id := range ids {
		if w.queue != nil {
			w.queue.Add(id, at)
		}
	}
	w.mu.Unlock()
	w.nudge()
}

func (w *work) begin() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = NewQueue()
}

func (w *work) end() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.queue = nil
}

func (w *work) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *work) run(ctx context.Context) {
	for ctx.Err() == nil {
		w.mu.Lock()
		id, again, ok := w.queue.Next(time.Now())
		w.mu.Unlock()
		if !ok {
			w.sleep(ctx, again)
			continue
		}
		w.nudge() // there may be more for another worker
		result, err := SafeStep(ctx, w.loop, id)
		w.mu.Lock()
		pause := w.queue.Done(id, result, err, time.Now())
		w.mu.Unlock()
		w.nudge()
		w.log(ctx, id, err, pause)
	}
}

func (w *work) sleep(ctx context.Context, until time.Time) {
	wait := time.Hour
	if !until.IsZero() {
		wait = time.Until(until)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-w.wake:
	case <-timer.C:
		w.nudge()
	}
}

func (w *work) log(ctx context.Context, id resource.ID, err error, pause time.Duration) {
	if err == nil || ctx.Err() != nil {
		return
	}
	level := slog.LevelWarn
	if kind := fault.KindOf(err); kind == fault.Conflict || kind == fault.Unavailable {
		level = slog.LevelDebug // somebody was faster, or something is not ready yet
	}
	slog.Log(ctx, level, "a step failed and is tried again", "loop", w.loop.Name, "id", id, "error", err, "pause", pause)
}

// SafeStep calls the step and turns a panic into an error of kind internal: a bug in one loop
// must not end the daemon that keeps the others.
func SafeStep(ctx context.Context, l *Loop, id resource.ID) (result Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("a step panicked", "loop", l.Name, "id", id, "panic", p, "stack", string(debug.Stack()))
			err = fault.New(fault.Internal, "loop %s, id %s: %v", l.Name, id, fmt.Sprint(p))
		}
	}()
	return l.Step(ctx, id)
}
