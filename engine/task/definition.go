package task

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Type is a kind of work with parameters P. Servers start it by its type; hosts define it.
type Type[P any] struct {
	// Name names it: "image.convert".
	Name string
	// Limit is how many may run at once on one host; the others wait, the oldest is next. 0: one.
	Limit int
}

// Request is what a task is started with.
type Request struct {
	// Name of the record; empty: its id. A name that says what it is for makes a second start fail.
	Name string
	// HostID is the host that does it.
	HostID resource.ID
	// Target is the record that it works on, and goes with.
	Target resource.Ref
	// By is who asks for it.
	By string
	// Owner is what it was made for and goes with, beside its target: an operation. Nil: nothing.
	Owner *resource.Ref
}

// Start puts a new task into a batch.
func (t Type[P]) Start(b *store.Batch, w *store.SpecWriter[Spec, Status], q Request, input P) (*Task, error) {
	data, err := json.Marshal(input)
	if err != nil {
		return nil, fault.New(fault.Internal, "encode the input of %s: %w", t.Name, err)
	}
	n := &Task{
		Meta: resource.Meta{Name: q.Name, Project: q.Target.Project, Owner: q.Owner},
		Spec: Spec{Type: t.Name, HostID: q.HostID, Target: q.Target, Input: data, By: q.By},
	}
	w.Create(b, n, Holder)
	return n, nil
}

// Define makes the type's work known to a host. See the package for what do and stop must be.
func (t Type[P]) Define(do, stop func(ctx context.Context, r *Run, input P) error) Definition {
	with := func(f func(context.Context, *Run, P) error) func(context.Context, *Run) error {
		return func(ctx context.Context, r *Run) error {
			var input P
			if err := json.Unmarshal(r.Task.Spec.Input, &input); err != nil {
				return fault.New(fault.Invalid, "read the input of task %s: %w", r.Task.ID, err)
			}
			return f(ctx, r, input)
		}
	}
	return Definition{Type: t.Name, Limit: max(t.Limit, 1), Do: with(do), Stop: with(stop)}
}

// Definition is work that a host can do.
type Definition struct {
	// Type names it.
	Type string
	// Limit is how many may run at once.
	Limit int
	// Do begins the work or adopts it, and says how far it is. A failure of kind unavailable or conflict
	// is tried again, any other ends the task. NotYet asks to be called later.
	Do func(ctx context.Context, r *Run) error
	// Stop ends the work and removes what is half made. It is tried until it succeeds.
	Stop func(ctx context.Context, r *Run) error
}

func (d Definition) check() error {
	if d.Type == "" || d.Do == nil || d.Stop == nil || d.Limit < 1 {
		return fmt.Errorf("task %q needs a type, a Do, a Stop, and a limit above 0", d.Type)
	}
	return nil
}

// Run is what a Do or a Stop is given.
type Run struct {
	// Task is the record. Do not change it.
	Task *Task

	given    json.RawMessage
	progress func(Progress)
}

// Progress is how far the work is. It is told to people, lies in the memory of the agent that does it,
// and is no record.
type Progress = operation.Progress

// Tell keeps how far the work is.
func (r *Run) Tell(done, total int64, words string) {
	r.progress(Progress{Done: done, Total: total, Words: words})
}

// Give is what the work gave; it is stored with its success.
func (r *Run) Give(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fault.New(fault.Internal, "encode the output of a task: %w", err)
	}
	r.given = data
	return nil
}

// NotYet is returned by a Do or a Stop that waits for something: it is called again after a time.
func NotYet(after time.Duration, why string, args ...any) error {
	return operation.NotYet(after, why, args...)
}

// Output decodes what a task gave.
func Output[T any](t *Task) (T, error) {
	var v T
	if err := json.Unmarshal(t.Status.Output, &v); err != nil {
		return v, fault.New(fault.Internal, "read the output of task %s: %w", t.Name, err)
	}
	return v, nil
}
