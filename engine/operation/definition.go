package operation

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Definition is a kind of operation: its steps in order.
type Definition struct {
	// Type names it: "vm.migrate".
	Type string
	// Doc is one sentence for the reference.
	Doc string
	// Steps in order; at most one of them is the commit.
	Steps []Step
	// Wakes lists kinds whose records, when they are the target or speak of it, wake a step that
	// waits. Without it a step is called again only when the time has come that it asked for.
	Wakes []resource.Kind
}

// Step is one step of a definition.
type Step struct {
	// Name is one word for the journal; unique in the definition.
	Name string
	// Doc is a sentence for people.
	Doc string
	// Do does it. It may be called again after it was done, and must then come to the same.
	// A failure of kind unavailable or conflict, or of its context, is tried again; any other is
	// final before the commit and tried again after it. NotYet asks to be called later.
	Do func(ctx context.Context, r *Run) error
	// Undo undoes what Do has done, in part or in whole, or nothing. It may be called again. It is
	// tried until it succeeds. nil: there is nothing to undo.
	Undo func(ctx context.Context, r *Run) error
	// Commit marks the point of no return: Do puts all its writes into r.Batch.
	Commit bool
}

func (d Definition) check() error {
	seen, commits := map[string]bool{}, 0
	for _, s := range d.Steps {
		if s.Name == "" || s.Do == nil || seen[s.Name] {
			return fmt.Errorf("operation %s: step %q needs a Do and a name of its own", d.Type, s.Name)
		}
		seen[s.Name] = true
		if s.Commit {
			commits++
		}
	}
	if d.Type == "" || len(d.Steps) == 0 || commits > 1 {
		return fmt.Errorf("operation %q needs a type, steps, and at most one commit", d.Type)
	}
	return nil
}

// Run is what a step is given.
type Run struct {
	// Operation is the record. Do not change it.
	Operation *Operation
	// DB reads and writes records. Writes of the commit step go to Batch instead.
	DB *store.DB
	// Batch is the commit that notes the step as done. What Do puts into it is written with that, or, if
	// Do returns an error, not at all.
	Batch *store.Batch

	outputs  map[string]json.RawMessage
	given    json.RawMessage
	progress func(Progress)
	note     func(*store.Batch)
	noted    bool
}

// Done notes the step as done in a commit that somebody else makes: its effect and the note are one.
func (r *Run) Done(b *store.Batch) {
	r.note(b)
	r.noted = true
}

// Give keeps what later steps, the undo, and another call of this step need to know. It is
// stored when the Do returns nil or NotYet: what must survive a crash in between is given first
// and acted on at the next call.
func (r *Run) Give(v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fault.New(fault.Internal, "encode the output of a step: %w", err)
	}
	r.given = data
	return nil
}

// Tell keeps how far the step is, for people; it is in memory only.
func (r *Run) Tell(done, total int64, words string) {
	r.progress(Progress{Done: done, Total: total, Words: words})
}

// Input decodes what the operation was started with.
func Input[T any](r *Run) (T, error) {
	var v T
	if err := json.Unmarshal(r.Operation.Spec.Input, &v); err != nil {
		return v, fault.New(fault.Invalid, "read the input of operation %s: %w", r.Operation.ID, err)
	}
	return v, nil
}

// Output decodes what a step gave; false if it has not given anything.
func Output[T any](r *Run, step string) (T, bool, error) {
	var v T
	data, ok := r.outputs[step]
	if !ok {
		return v, false, nil
	}
	if err := json.Unmarshal(data, &v); err != nil {
		return v, false, fault.New(fault.Internal, "read the output of step %s: %w", step, err)
	}
	return v, true, nil
}

type notYet struct {
	after time.Duration
	why   string
}

func (n *notYet) Error() string { return "not yet: " + n.why }

// NotYet is returned by a Do or an Undo that waits for something: it is called again after a
// time, or earlier when a record of a kind that the definition wakes on changes.
func NotYet(after time.Duration, why string, args ...any) error {
	return &notYet{after: max(after, time.Millisecond), why: fmt.Sprintf(why, args...)}
}

// Waits reports whether err is of NotYet, and the time it asks for.
func Waits(err error) (time.Duration, bool) {
	if n, ok := errors.AsType[*notYet](err); ok {
		return n.after, true
	}
	return 0, false
}

func isTransient(err error) bool {
	return fault.Is(err, fault.Unavailable) || fault.Is(err, fault.Conflict)
}
