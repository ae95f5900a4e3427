package task

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Runner does the tasks of one host: it is in every agent, and the only writer of their statuses.
type Runner struct {
	known       reconcile.Knowledge
	host        resource.ID
	statuses    *store.StatusWriter[Spec, Status]
	definitions map[string]Definition

	mu       sync.Mutex
	progress map[resource.ID]Progress
}

// NewRunner makes a runner of definitions; a definition without sense is an error of the program.
func NewRunner(known reconcile.Knowledge, host resource.ID, statuses *store.StatusWriter[Spec, Status], defs ...Definition) *Runner {
	r := &Runner{known: known, host: host, statuses: statuses, definitions: map[string]Definition{}, progress: map[resource.ID]Progress{}}
	for _, d := range defs {
		if err := d.check(); err != nil {
			panic(err.Error())
		}
		if _, twice := r.definitions[d.Type]; twice {
			panic("task " + d.Type + " is defined twice")
		}
		r.definitions[d.Type] = d
	}
	return r
}

// Progress tells how far a task is; false if nothing is known of it here.
func (r *Runner) Progress(id resource.ID) (Progress, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p, ok := r.progress[id]
	return p, ok
}

func (r *Runner) tell(id resource.ID, p *Progress) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if p == nil {
		delete(r.progress, id)
		return
	}
	r.progress[id] = *p
}

// Loop is the loop that does the tasks.
func (r *Runner) Loop() *reconcile.Loop {
	next := func(x resource.Object) []resource.ID {
		if t := x.(*Task); Ended(t) {
			return r.waiting(t.Spec.Type)
		}
		return nil
	}
	return &reconcile.Loop{Name: "task", Kind: Tasks.Kind, Workers: 4, Resync: time.Minute, Step: r.Step,
		Also: map[resource.Kind]func(resource.Object) []resource.ID{Tasks.Kind: next}}
}

// waiting lists the tasks of a type that have not begun.
func (r *Runner) waiting(kind string) (out []resource.ID) {
	for _, t := range r.mine(r.known.DB.Snapshot()) {
		if t.Spec.Type == kind && !Ended(t) && t.Status.Phase != Running {
			out = append(out, t.ID)
		}
	}
	return out
}

func (r *Runner) mine(s *store.Snapshot) []*Task {
	return slices.DeleteFunc(store.Referring(s, Tasks, r.host), func(t *Task) bool { return t.Spec.HostID != r.host })
}

// Turn reports whether a task may begin now: fewer of its type run than may, and none that is older
// waits for a place that is left. Ids are minted in the order of time.
func Turn(all []*Task, t *Task, limit int) bool {
	free := limit
	for _, o := range all {
		switch {
		case o.ID == t.ID || o.Spec.Type != t.Spec.Type || Ended(o):
		case o.Status.Phase == Running, strings.Compare(string(o.ID), string(t.ID)) < 0 && o.Spec.Cancel == "" && o.Deleting == nil:
			free--
		}
	}
	return free > 0
}

// Step brings one task one step further.
func (r *Runner) Step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	db := r.known.DB
	t := store.Find(db.Snapshot(), Tasks, id)
	if t == nil || t.Spec.HostID != r.host {
		r.tell(id, nil)
		return reconcile.Result{}, nil
	}
	if Ended(t) {
		r.tell(id, nil)
		if t.Deleting == nil {
			return reconcile.Result{}, nil
		}
		b := db.Begin()
		store.Release(b, t, Holder)
		return reconcile.Result{}, db.Commit(ctx, b)
	}
	def, known := r.definitions[t.Spec.Type]
	switch {
	case !known:
		return reconcile.Result{}, r.complain(ctx, t, fault.New(fault.Precondition, "this version of virga cannot do %s; it is left as it is for a version that can", t.Spec.Type))
	case t.Spec.Cancel == "yes" || t.Deleting != nil:
		return r.stop(ctx, t, def, Cancelled, nil)
	case t.Status.Phase != Running && !Turn(r.mine(db.Snapshot()), t, def.Limit):
		return reconcile.Result{}, r.set(ctx, t, func(s *Status) { s.Phase = Pending })
	case t.Status.Phase != Running:
		if err := r.set(ctx, t, func(s *Status) { s.Phase, s.StartedAt = Running, db.Now().UTC() }); err != nil {
			return reconcile.Result{}, err
		}
		if t = store.Find(db.Snapshot(), Tasks, id); t == nil || t.Spec.Cancel == "yes" || t.Deleting != nil {
			return reconcile.Result{}, nil // the change calls again
		}
	}
	return r.work(ctx, t, def)
}

func (r *Runner) run(t *Task) *Run {
	return &Run{Task: t, progress: func(p Progress) { r.tell(t.ID, &p) }}
}

// work calls Do once.
func (r *Runner) work(ctx context.Context, t *Task, def Definition) (reconcile.Result, error) {
	run := r.run(t)
	err := def.Do(ctx, run)
	after, waits := operation.Waits(err)
	switch {
	case err == nil:
		return reconcile.Result{}, r.end(ctx, t, func(s *Status) { s.Phase, s.Output = Succeeded, run.given })
	case waits:
		return reconcile.Result{After: after}, r.set(ctx, t, func(*Status) {})
	case ctx.Err() != nil:
		return reconcile.Result{}, err // the agent ends; what works goes on
	case fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Conflict):
		_ = r.complain(ctx, t, err) // the error itself is returned below
		return reconcile.Result{}, fault.Wrap(err, "task %s", t.Name)
	}
	return r.stop(ctx, t, def, Failed, err)
}

// stop ends the work, and then the task.
func (r *Runner) stop(ctx context.Context, t *Task, def Definition, phase string, why error) (reconcile.Result, error) {
	err := r.known.Doubt()
	if err == nil {
		err = def.Stop(ctx, r.run(t))
	}
	if after, waits := operation.Waits(err); waits {
		return reconcile.Result{After: after}, nil
	}
	if err != nil {
		if ctx.Err() == nil {
			_ = r.complain(ctx, t, fault.Wrap(err, "stop it")) // the error itself is returned below
		}
		return reconcile.Result{}, fault.Wrap(err, "stop task %s", t.Name)
	}
	return reconcile.Result{}, r.end(ctx, t, func(s *Status) {
		s.Phase = phase
		if why != nil {
			s.Why, s.WhyKind = why.Error(), string(fault.KindOf(why))
		}
	})
}

// end notes the end. One that is being deleted is let go in the same commit.
func (r *Runner) end(ctx context.Context, t *Task, change func(*Status)) error {
	db := r.known.DB
	b := db.Begin()
	r.statuses.Set(b, t, func(s *Status) {
		s.SeenGeneration, s.Problems, s.EndedAt = t.Generation, nil, db.Now().UTC()
		if s.StartedAt.IsZero() {
			s.StartedAt = s.EndedAt
		}
		change(s)
	})
	if t.Deleting != nil {
		store.Release(b, t, Holder)
	}
	return db.Commit(ctx, b)
}

// set writes the status of a task that meets nothing.
func (r *Runner) set(ctx context.Context, t *Task, change func(*Status)) error {
	b := r.known.DB.Begin()
	r.statuses.Set(b, t, func(s *Status) {
		s.SeenGeneration, s.Problems = t.Generation, nil
		change(s)
	})
	return r.known.DB.Commit(ctx, b)
}

// complain says what is in the way. A write at each try would also be a reason for a further try.
func (r *Runner) complain(ctx context.Context, t *Task, met error) error {
	now, kind := r.known.DB.Now(), string(fault.KindOf(met))
	if p := t.Status.Problems; len(p) == 1 && p[0].Kind == kind && now.Sub(p[0].Since) < time.Minute {
		return nil
	}
	b := r.known.DB.Begin()
	r.statuses.Set(b, t, func(s *Status) {
		s.SeenGeneration = t.Generation
		s.Problems = resource.SetProblem(s.Problems, kind, met.Error(), now)
	})
	return r.known.DB.Commit(ctx, b)
}
