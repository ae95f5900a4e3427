package operation

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/store"
)

// advance does the next step that is not done.
func (r *Runner) advance(ctx context.Context, o *Operation, def Definition) (reconcile.Result, error) {
	i := next(o.Status.Journal, def)
	if i == len(def.Steps) {
		return reconcile.Result{}, r.finish(ctx, o, Succeeded)
	}
	step := def.Steps[i]
	if entry(o.Status.Journal, step.Name) == nil {
		if err := r.write(ctx, o, r.db.Begin(), func(s *Status) { r.begin(s, step.Name) }); err != nil {
			return reconcile.Result{}, err
		}
		if o = store.Find(r.db.Snapshot(), Operations, o.ID); o == nil || o.Spec.Cancel == "yes" && o.Status.Committed == "" {
			return reconcile.Result{}, nil // the change calls again
		}
	}
	run := r.run(o)
	run.Batch, run.note = r.db.Begin(), func(b *store.Batch) { r.done(b, o, def, i, run) }
	err := r.do(ctx, o, step, run)
	switch {
	case err == nil && run.noted:
		return reconcile.Result{}, nil
	case err == nil:
		// The writes of the commit and the word that it happened are one: there is no moment in
		// which one is true without the other. A cancel that came meanwhile makes this conflict.
		r.done(run.Batch, o, def, i, run)
		if err = r.db.Commit(ctx, run.Batch); !step.Commit {
			return reconcile.Result{}, err
		}
	case run.noted:
		if o = store.Find(r.db.Snapshot(), Operations, o.ID); o == nil {
			return reconcile.Result{}, err
		}
	}
	return r.failed(ctx, o, step.Name, run, err)
}

// done notes that a step is done and that the next begins, or the end of the operation after the last.
func (r *Runner) done(b *store.Batch, o *Operation, def Definition, i int, run *Run) {
	last := i == len(def.Steps)-1
	r.statuses.Set(b, o, func(s *Status) {
		s.SeenGeneration, s.Problems = o.Generation, r.onTime(o, s.Problems)
		r.note(s, def.Steps[i].Name, StepDone, run.given)
		if def.Steps[i].Commit {
			s.Committed = "yes"
		}
		if last {
			r.end(s, Succeeded)
		} else if next := def.Steps[i+1].Name; entry(s.Journal, next) == nil {
			r.note(s, next, StepStarted, nil)
		}
	})
}

// failed decides what follows from a Do that returned an error.
func (r *Runner) failed(ctx context.Context, o *Operation, step string, run *Run, err error) (reconcile.Result, error) {
	if err == nil {
		return reconcile.Result{}, nil
	}
	if after, waits := Waits(err); waits {
		return reconcile.Result{After: after}, r.keep(ctx, o, step, run.given)
	}
	if o.Status.Committed == "yes" || isTransient(err) || ctx.Err() != nil {
		if ctx.Err() == nil && !fault.Is(err, fault.Conflict) {
			_ = r.complain(ctx, o, string(fault.KindOf(err)), step+": "+err.Error(), outside(step, err)) // the error itself is returned below
		}
		return reconcile.Result{}, fault.Wrap(err, "operation %s, step %s", o.Name, step)
	}
	return reconcile.Result{}, r.turnBack(ctx, o, string(fault.KindOf(err)), step+": "+err.Error(), outside(step, err))
}

// outside is what is said of the failure of a step to who does not run the cloud; empty: what is said to everybody.
func outside(step string, err error) string {
	if words := fault.OutsideOf(err); words != "" {
		return step + ": " + words
	}
	return ""
}

// keep stores the output of a step that waits.
func (r *Runner) keep(ctx context.Context, o *Operation, step string, given json.RawMessage) error {
	b := r.db.Begin()
	r.statuses.Set(b, o, func(s *Status) {
		s.Problems = r.onTime(o, s.Problems)
		if e := entry(s.Journal, step); e != nil && given != nil && !bytes.Equal(e.Output, given) {
			e.Output = given
		}
	})
	return r.db.Commit(ctx, b)
}

// turnBack begins the undoing. An empty kind means that somebody asked for it.
func (r *Runner) turnBack(ctx context.Context, o *Operation, kind, why string, outside ...string) error {
	return r.write(ctx, o, r.db.Begin(), func(s *Status) {
		s.Phase, s.Why, s.WhyKind, s.WhyOutside = Undoing, why, kind, strings.Join(outside, " ")
		if s.StartedAt.IsZero() {
			s.StartedAt = r.db.Now()
		}
	})
}

// undo undoes the last step that was started and is not undone; after the first it ends.
func (r *Runner) undo(ctx context.Context, o *Operation, def Definition) (reconcile.Result, error) {
	for _, e := range slices.Backward(o.Status.Journal) {
		if e.State == StepUndone {
			continue
		}
		i := slices.IndexFunc(def.Steps, func(s Step) bool { return s.Name == e.Step })
		if i < 0 {
			return reconcile.Result{}, r.complain(ctx, o, string(fault.Precondition), "undo: this version of virga knows no step "+e.Step)
		}
		run := r.run(o)
		if undo := def.Steps[i].Undo; undo != nil {
			if err := undo(ctx, run); err != nil {
				return r.notUndone(ctx, o, e.Step, run, err)
			}
		}
		return reconcile.Result{}, r.write(ctx, o, r.db.Begin(), func(s *Status) { r.note(s, e.Step, StepUndone, nil) })
	}
	phase := Failed
	if o.Status.WhyKind == "" {
		phase = Cancelled
	}
	return reconcile.Result{}, r.finish(ctx, o, phase)
}

// finish ends the operation and gives its target free.
func (r *Runner) finish(ctx context.Context, o *Operation, phase string) error {
	b := r.db.Begin()
	if phase != Succeeded && r.Undone != nil {
		r.Undone(b, o, phase)
	}
	return r.write(ctx, o, b, func(s *Status) { r.end(s, phase) })
}

func (r *Runner) notUndone(ctx context.Context, o *Operation, step string, run *Run, err error) (reconcile.Result, error) {
	if after, waits := Waits(err); waits {
		return reconcile.Result{After: after}, r.keep(ctx, o, step, run.given)
	}
	if ctx.Err() == nil && !fault.Is(err, fault.Conflict) {
		_ = r.complain(ctx, o, string(fault.KindOf(err)), "undo of "+step+": "+err.Error(), outside("undo of "+step, err))
	}
	return reconcile.Result{}, fault.Wrap(err, "operation %s, undo of step %s", o.Name, step)
}

func (r *Runner) run(o *Operation) *Run {
	run := &Run{Operation: o, DB: r.db, outputs: map[string]json.RawMessage{}}
	for _, e := range o.Status.Journal {
		if e.Output != nil {
			run.outputs[e.Step] = e.Output
		}
	}
	run.progress = func(p Progress) { r.progress.tell(o.ID, p) }
	return run
}

func (r *Runner) write(ctx context.Context, o *Operation, b *store.Batch, change func(*Status)) error {
	r.statuses.Set(b, o, func(s *Status) {
		s.SeenGeneration, s.Problems = o.Generation, r.onTime(o, s.Problems)
		change(s)
	})
	return r.db.Commit(ctx, b)
}

func (r *Runner) begin(s *Status, step string) {
	s.Phase = Working
	if s.StartedAt.IsZero() {
		s.StartedAt = r.db.Now()
	}
	r.note(s, step, StepStarted, nil)
}

func (r *Runner) end(s *Status, phase string) {
	s.Phase, s.EndedAt = phase, r.db.Now()
	if s.StartedAt.IsZero() {
		s.StartedAt = s.EndedAt
	}
}

// note writes the state of a step; it keeps an output that is there already.
func (r *Runner) note(s *Status, step, state string, output json.RawMessage) {
	e := entry(s.Journal, step)
	if e == nil {
		s.Journal = append(s.Journal, Entry{Step: step})
		e = &s.Journal[len(s.Journal)-1]
	}
	e.State, e.At = state, r.db.Now().UTC().Truncate(time.Millisecond)
	if output != nil {
		e.Output = output
	}
}

func entry(journal []Entry, step string) *Entry {
	if i := slices.IndexFunc(journal, func(e Entry) bool { return e.Step == step }); i >= 0 {
		return &journal[i]
	}
	return nil
}

// next is the number of the first step that is not done.
func next(journal []Entry, def Definition) int {
	for i, s := range def.Steps {
		if e := entry(journal, s.Name); e == nil || e.State != StepDone {
			return i
		}
	}
	return len(def.Steps)
}
