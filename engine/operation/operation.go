// Package operation runs finite work that has a way back: a migration, an import, a clone.
//
// An operation is a record with a journal. A Definition lists its steps; each has a Do that may
// be repeated, an Undo that may be repeated, and at most one step is the commit, the point of no
// return. The journal says "started" before a Do is called and "done" after it; so after a crash
// the runner knows what may have happened and calls the same Do again, or undoes it.
//
// Before the commit, a failure that is final, or a request to cancel, undoes the started steps in
// reverse order. From the commit on, steps are tried again until they succeed: there is no way
// back. To follow what has already happened in the world (a guest died), use a loop, never an
// operation.
//
// A step that waits (for a record to change, for a job on a host) blocks nobody: its Do returns
// NotYet and is called again. The commit step puts its writes into Run.Batch; they, and the word
// in the journal that there is no way back any more, are one transaction.
//
// An operation may have a deadline. One that meets it before its commit is undone, and so is one whose Do
// still works then; one that has passed its commit goes on, and says that it is late.
//
// Who reads operations is people: each step has a name and a sentence.
package operation

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Spec is what was asked for.
type Spec struct {
	// Type names the definition: "vm.migrate".
	Type string `json:"type"`
	// Target is the record that it works on, and is named after. One operation at a time works on a record.
	Target resource.Ref `json:"target"`
	// Also are the other records that it works on. It has all of them from its first commit, or does not begin.
	Also []resource.Ref `json:"also,omitempty"`
	// Input is the definition's own.
	Input json.RawMessage `json:"input,omitempty"`
	// Cancel is "yes" when somebody wants it undone.
	Cancel string `json:"cancel,omitempty" enum:"yes"`
	// By is who asked for it.
	By string `json:"by,omitempty"`
	// Deadline is when it must have ended; none: whenever. Before its point of no return it is undone then;
	// after it, it goes on, and a problem says that it is late.
	Deadline time.Time `json:"deadline,omitzero"`
}

// Targets lists all records that it works on, each once.
func (s *Spec) Targets() []resource.Ref {
	out := []resource.Ref{s.Target}
	for _, t := range s.Also {
		if !slices.ContainsFunc(out, func(o resource.Ref) bool { return o.ID == t.ID }) {
			out = append(out, t)
		}
	}
	return out
}

// WorksOn reports whether it works on a record.
func (s *Spec) WorksOn(id resource.ID) bool {
	return slices.ContainsFunc(s.Targets(), func(t resource.Ref) bool { return t.ID == id })
}

// The phases of an operation.
const (
	Pending   = "pending"
	Working   = "running"
	Undoing   = "undoing"
	Succeeded = "succeeded"
	Failed    = "failed"    // undone after a failure
	Cancelled = "cancelled" // undone on request
)

// The states of a step in the journal.
const (
	StepStarted = "started"
	StepDone    = "done"
	StepUndone  = "undone"
)

// Entry is one step in the journal.
type Entry struct {
	// Step is its name.
	Step string `json:"step"`
	// State is started, done or undone.
	State string `json:"state" enum:"started,done,undone"`
	// At is when the state was written.
	At time.Time `json:"at"`
	// Output is what later steps need to know of it.
	Output json.RawMessage `json:"output,omitempty"`
}

// Status is how far it is.
type Status struct {
	resource.Observed
	// Phase is pending, running, undoing, succeeded, failed or cancelled.
	Phase string `json:"phase,omitempty" enum:"pending,running,undoing,succeeded,failed,cancelled"`
	// Committed is "yes" after the point of no return.
	Committed string `json:"committed,omitempty" enum:"yes"`
	// Journal is what was done, in order.
	Journal []Entry `json:"journal,omitempty"`
	// Why says why it failed or was undone.
	Why string `json:"why,omitempty"`
	// WhyOutside is what is said instead to who does not run the cloud, where Why names hosts; none: Why.
	WhyOutside string `json:"whyOutside,omitempty"`
	// WhyKind is the fault kind of Why.
	WhyKind string `json:"whyKind,omitempty"`
	// StartedAt and EndedAt frame it.
	StartedAt time.Time `json:"startedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
}

// HasOutside reports whether there are other words for who does not run the cloud.
func (s *Status) HasOutside() bool { return s.WhyOutside != "" }

// SayOutside says those.
func (s *Status) SayOutside() { s.Why, s.WhyOutside = s.WhyOutside, "" }

// Operation is finite work with a way back.
type Operation = resource.Record[Spec, Status]

// Operations is the kind.
var Operations = resource.Define("operation", "operations", resource.Options[Spec, Status]{
	Doc: "Finite work with a beginning, an end, and a way back until its commit.", Scope: resource.InProject, Past: true,
	Guards: map[string]resource.Sight{"spec.input": resource.Operator, "status.journal.output": resource.Operator},
	Needs: func(o *Operation) []resource.Need {
		var out []resource.Need
		for _, t := range o.Spec.Targets() {
			out = append(out, resource.Need{Ref: t, Tie: resource.Following})
		}
		return out
	},
	Takes: func(o *Operation) []string {
		if Ended(o) {
			return nil
		}
		var out []string
		for _, t := range o.Spec.Targets() {
			out = append(out, targetWord(t.ID)) // one at a time works on a record
		}
		return out
	},
})

// Ended reports whether nothing more will happen.
func Ended(o *Operation) bool {
	return o.Status.Phase == Succeeded || o.Status.Phase == Failed || o.Status.Phase == Cancelled
}

// Outcome is nil and true when the operation has succeeded; an error when it ended otherwise.
func Outcome(o *Operation) (bool, error) {
	if o.Status.Phase == Failed || o.Status.Phase == Cancelled {
		kind := fault.Kind(o.Status.WhyKind)
		if kind == "" {
			kind = fault.Precondition
		}
		return false, fault.New(kind, "the operation was undone: %s", o.Status.Why)
	}
	return o.Status.Phase == Succeeded, nil
}
