package operation

import (
	"context"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Kept is how long an operation that has ended can still be looked at.
const Kept = 7 * 24 * time.Hour

// Runner runs operations: one step of one operation at each call of its loop.
type Runner struct {
	// Undone, if set, may add writes to the commit that ends an operation without success: Failed or
	// Cancelled. The reason is in its status.
	Undone func(b *store.Batch, o *Operation, phase string)

	db          *store.DB
	statuses    *store.StatusWriter[Spec, Status]
	definitions map[string]Definition
	progress    *registry
}

// NewRunner makes a runner of definitions; a definition without sense is an error of the program.
func NewRunner(db *store.DB, statuses *store.StatusWriter[Spec, Status], defs ...Definition) *Runner {
	r := &Runner{db: db, statuses: statuses, definitions: map[string]Definition{}, progress: &registry{of: map[resource.ID]Progress{}}}
	for _, d := range defs {
		if err := d.check(); err != nil {
			panic(err.Error())
		}
		if _, twice := r.definitions[d.Type]; twice {
			panic("operation " + d.Type + " is defined twice")
		}
		r.definitions[d.Type] = d
	}
	return r
}

// NewLoop is the loop of a new runner, for who does not care about progress.
func NewLoop(db *store.DB, statuses *store.StatusWriter[Spec, Status], defs ...Definition) *reconcile.Loop {
	return NewRunner(db, statuses, defs...).Loop()
}

// Progress tells how far the present step of an operation is; false if nothing is known.
func (r *Runner) Progress(id resource.ID) (Progress, bool) { return r.progress.get(id) }

// Loop is the loop that runs the operations.
func (r *Runner) Loop() *reconcile.Loop {
	also := map[resource.Kind]func(resource.Object) []resource.ID{}
	for _, d := range r.definitions {
		for _, kind := range d.Wakes {
			also[kind] = r.woken
		}
	}
	return &reconcile.Loop{Name: "operation", Kind: Operations.Kind, Also: also, Workers: 8, Step: r.Step}
}

// woken lists the operations that work on a record or on what it speaks of.
func (r *Runner) woken(x resource.Object) []resource.ID {
	s := r.db.Snapshot()
	kind, _ := r.db.Catalog().Lookup(x.Head().Kind)
	var out []resource.ID
	for _, ref := range append(kind.Refs(x), x.Head().Ref()) {
		if o := InTheWay(s, ref.ID); o != nil {
			out = append(out, o.ID)
		}
	}
	return out
}

// Step brings one operation one step further.
func (r *Runner) Step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	o := store.Find(r.db.Snapshot(), Operations, id)
	if o == nil {
		r.progress.forget(id)
		return reconcile.Result{}, nil
	}
	if Ended(o) {
		r.progress.forget(id)
		return r.retain(ctx, o)
	}
	def, known := r.definitions[o.Spec.Type]
	if !known {
		return reconcile.Result{}, r.complain(ctx, o, "precondition",
			"this version of virga has no operation "+o.Spec.Type+"; it is left as it is for a version that does")
	}
	cancelled := o.Spec.Cancel == "yes" || o.Deleting != nil
	switch {
	case o.Status.Phase == Undoing:
		return r.undo(ctx, o, def)
	case cancelled && o.Status.Committed == "":
		return reconcile.Result{}, r.turnBack(ctx, o, "", "it was cancelled")
	case late(o, r.db.Now()) && o.Status.Committed == "":
		return reconcile.Result{}, r.turnBack(ctx, o, string(fault.Unavailable), missed(o))
	}
	result, err := r.advance(ctx, o, def)
	if left := o.Spec.Deadline.Sub(r.db.Now()); left > 0 && (result.After == 0 || result.After > left) {
		result.After = left
	}
	return result, err
}

// do calls a Do. One that works still when the deadline comes is ended, unless there is no way back.
func (r *Runner) do(ctx context.Context, o *Operation, step Step, run *Run) error {
	if o.Spec.Deadline.IsZero() || o.Status.Committed == "yes" {
		return step.Do(ctx, run)
	}
	until, stop := context.WithTimeout(ctx, o.Spec.Deadline.Sub(r.db.Now()))
	defer stop()
	err := step.Do(until, run)
	if err != nil && until.Err() != nil && ctx.Err() == nil {
		return NotYet(0, "the deadline has come")
	}
	return err
}

// retain deletes an operation some time after its end, or at once if somebody asked for it deleted.
func (r *Runner) retain(ctx context.Context, o *Operation) (reconcile.Result, error) {
	left := o.Status.EndedAt.Add(Kept).Sub(r.db.Now())
	if o.Deleting == nil && left > 0 {
		return reconcile.Result{After: left}, nil
	}
	b := r.db.Begin()
	store.MarkDeleting(b, o)
	store.Release(b, o, Holder)
	return reconcile.Result{}, r.db.Commit(ctx, b)
}

func (r *Runner) complain(ctx context.Context, o *Operation, kind, message string, outside ...string) error {
	now := r.db.Now()
	if late(o, now) && o.Status.Committed == "yes" {
		message += "; it is past its deadline, and goes on"
	}
	if p := o.Status.Problems; len(p) == 1 && p[0].Kind == kind && now.Sub(p[0].Since) < time.Minute {
		return nil // a new write at each try would also be a new reason to try
	}
	b := r.db.Begin()
	r.statuses.Set(b, o, func(s *Status) {
		s.SeenGeneration = o.Generation
		s.Problems = resource.SetProblem(s.Problems, kind, message, now, outside...)
	})
	return r.db.Commit(ctx, b)
}

// late reports whether an operation has missed its deadline.
func late(o *Operation, now time.Time) bool {
	return !o.Spec.Deadline.IsZero() && !now.Before(o.Spec.Deadline)
}

// missed says so, and at which step it was.
func missed(o *Operation) string {
	out := "it had not ended by its deadline, " + o.Spec.Deadline.UTC().Format(time.RFC3339)
	if n := len(o.Status.Journal); n > 0 && o.Status.Journal[n-1].State == StepStarted {
		out += ", and was at step " + o.Status.Journal[n-1].Step
	}
	if len(o.Status.Problems) > 0 {
		out += ": " + o.Status.Problems[0].Message
	}
	return out
}

// onTime are the problems of an operation that meets none, but for its deadline.
func (r *Runner) onTime(o *Operation, old []resource.Problem) []resource.Problem {
	if now := r.db.Now(); late(o, now) && o.Status.Committed == "yes" {
		return resource.SetProblem(old, string(fault.TooLate),
			"it is past its deadline, "+o.Spec.Deadline.UTC().Format(time.RFC3339)+", and past its point of no return: it goes on", now)
	}
	return nil
}
