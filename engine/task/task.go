// Package task runs finite work of one host: a conversion, a copy, an export.
//
// A task is a record: the servers write its spec, the agent of its host its status. A Type names the
// work and its parameters; a Definition, on the host, is a Type with a Do and a Stop. Do starts the work,
// or adopts what an earlier agent has started, looks how far it is, and returns NotYet while it works: it
// blocks nobody and may be called again at any time, also after the agent or the host has died in it. Work
// that takes long is a process that outlives the agent (package process). Stop ends the work and removes
// what is half made; it may be called when nothing was begun.
//
//	phase      what is true                                  if the agent dies here
//	pending    nothing was begun; others of its type work    it is looked at again
//	running    Do was called, or is about to be              Do is called again, and adopts
//	ended      succeeded, failed or cancelled; nothing works -
//
// Stop is called before a task is noted as cancelled or failed, so that an ended task has left nothing
// half made. A host that does not hear its servers stops nothing (reconcile.Knowledge): what looks
// cancelled may be of long ago.
//
// A task goes with its target: when that is being deleted, or gone, the servers mark the task, the agent
// stops it and lets go. Whoever holds a target and lets go of it waits until Working lists nothing. A task
// that has ended is kept for a day.
//
// For work of the cloud with several steps and a way back, use an operation; a step of it may start a
// task and wait for it.
package task

import (
	"encoding/json"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Spec is the desired work.
type Spec struct {
	// Type names the work: "image.convert".
	Type string `json:"type"`
	// HostID is the host that does it.
	HostID resource.ID `json:"hostID"`
	// Target is the record that it works on, and goes with.
	Target resource.Ref `json:"target"`
	// Input are the parameters of the type.
	Input json.RawMessage `json:"input,omitempty"`
	// Cancel is "yes" when it is to be stopped.
	Cancel string `json:"cancel,omitempty" enum:"yes"`
	// By is who asked for it.
	By string `json:"by,omitempty"`
}

// The phases of a task.
const (
	Pending   = "pending"
	Running   = "running"
	Succeeded = "succeeded"
	Failed    = "failed"
	Cancelled = "cancelled"
)

// Status is how far it is.
type Status struct {
	resource.Observed
	// Phase is pending, running, succeeded, failed or cancelled.
	Phase string `json:"phase,omitempty" enum:"pending,running,succeeded,failed,cancelled"`
	// Output is what the work gave.
	Output json.RawMessage `json:"output,omitempty"`
	// Why says why it failed, WhyKind is the fault kind of that.
	Why     string `json:"why,omitempty"`
	WhyKind string `json:"whyKind,omitempty"`
	// StartedAt and EndedAt frame it.
	StartedAt time.Time `json:"startedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
}

// Task is finite work of one host.
type Task = resource.Record[Spec, Status]

// Tasks is the kind.
var Tasks = resource.Define("task", "tasks", resource.Options[Spec, Status]{
	Doc: "Finite work of one host, with progress and a way to stop it.", Scope: resource.InProject, Reach: resource.NamedHost, Past: true,
	Guards: map[string]resource.Sight{"spec.hostID": resource.Operator, "spec.input": resource.Operator, "status.output": resource.Operator},
	Refs:   func(t *Task) []resource.Ref { return []resource.Ref{{Kind: "host", ID: t.Spec.HostID}} },
	Needs: func(t *Task) []resource.Need {
		return []resource.Need{{Ref: t.Spec.Target, Tie: resource.Following}}
	},
})

// Kept is how long a task that has ended can still be looked at.
const Kept = 24 * time.Hour

// Holder holds a task until its host has stopped it and removed what was half made. An agent lets go for holders of
// this name alone.
const Holder = "agent"

// Ended reports whether nothing works for it any more.
func Ended(t *Task) bool {
	return t.Status.Phase == Succeeded || t.Status.Phase == Failed || t.Status.Phase == Cancelled
}

// Outcome is nil and true when the task has succeeded; an error when it ended otherwise.
func Outcome(t *Task) (bool, error) {
	switch t.Status.Phase {
	case Failed:
		return false, fault.New(fault.Kind(t.Status.WhyKind), "%s", t.Status.Why)
	case Cancelled:
		return false, fault.New(fault.Precondition, "task %s was cancelled", t.Name)
	}
	return t.Status.Phase == Succeeded, nil
}

// Working lists the tasks of a target that have not ended.
func Working(s *store.Snapshot, target resource.ID) []*Task {
	var out []*Task
	for _, t := range store.Referring(s, Tasks, target) {
		if t.Spec.Target.ID == target && !Ended(t) {
			out = append(out, t)
		}
	}
	return out
}

// Cancel asks for a task to be stopped; fault.Precondition if it has ended.
func Cancel(b *store.Batch, w *store.SpecWriter[Spec, Status], t *Task) error {
	if Ended(t) {
		return fault.New(fault.Precondition, "cancel task %s: it has ended already (%s)", t.Name, t.Status.Phase)
	}
	w.Set(b, t, func(s *Spec) { s.Cancel = "yes" })
	return nil
}

// CancelRequest is the body of the request to cancel; it says nothing more.
type CancelRequest struct{}
