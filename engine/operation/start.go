package operation

import (
	"cmp"
	"encoding/json"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Holder holds an operation until it has ended, so that one that is deleted is undone first.
const Holder = "operation"

// TargetKey is the claim key that an operation has until it has ended.
func TargetKey(target resource.ID) resource.Ref { return store.ClaimKey("", targetWord(target)) }

func targetWord(target resource.ID) string { return "operation:" + string(target) }

// Request is what an operation is started with.
type Request struct {
	// Type is the definition's.
	Type string
	// Targets are the records that it works on, first the one that it is named after.
	Targets []resource.Ref
	// Input is the definition's own; nil: none.
	Input any
	// By is who asks for it.
	By string
	// Deadline is when it must have ended; zero: whenever.
	Deadline time.Time
}

// Start puts a new operation into a batch; it exists, and has its targets, when the batch is
// committed. If another operation has one of them, the commit fails with fault.Exists; call Free
// first to tell people which.
func Start(b *store.Batch, w *store.SpecWriter[Spec, Status], q Request) (*Operation, error) {
	if len(q.Targets) == 0 {
		return nil, fault.New(fault.Internal, "start %s: it has no target", q.Type)
	}
	data, err := json.Marshal(q.Input)
	if err != nil {
		return nil, fault.New(fault.Internal, "encode the input of %s: %w", q.Type, err)
	}
	o := &Operation{
		Meta: resource.Meta{Project: q.Targets[0].Project},
		Spec: Spec{Type: q.Type, Target: q.Targets[0], Also: q.Targets[1:], Input: data, By: q.By, Deadline: q.Deadline},
	}
	w.Create(b, o, Holder)
	return o, nil
}

// InTheWay gives the operation that works on a record; nil if there is none.
func InTheWay(s *store.Snapshot, target resource.ID) *Operation {
	for _, o := range store.Referring(s, Operations, target) {
		if o.Spec.WorksOn(target) && !Ended(o) {
			return o
		}
	}
	return nil
}

// Free is nil if no operation works on any of the targets, else fault.Precondition that says which does.
func Free(s *store.Snapshot, targets ...resource.Ref) error {
	for _, t := range targets {
		o := InTheWay(s, t.ID)
		if o == nil {
			continue
		}
		what := "this " + string(t.Kind)
		if x := s.Lookup(t.ID); x != nil && len(targets) > 1 {
			what = string(t.Kind) + " " + x.Head().Name
		}
		return fault.New(fault.Precondition, "operation %s (%s, %s) works on %s; wait for it or cancel it", o.Name, o.Spec.Type, cmp.Or(o.Status.Phase, Pending), what)
	}
	return nil
}

// Cancel asks for an operation to be undone. It is fault.TooLate after the point of no return, and
// fault.Precondition if it has ended.
func Cancel(b *store.Batch, w *store.SpecWriter[Spec, Status], o *Operation) error {
	switch {
	case Ended(o):
		return fault.New(fault.Precondition, "cancel operation %s: it has ended already (%s)", o.Name, o.Status.Phase)
	case o.Status.Committed == "yes":
		return fault.New(fault.TooLate, "cancel operation %s: it is past its point of no return and will be finished", o.Name)
	}
	w.Set(b, o, func(s *Spec) { s.Cancel = "yes" })
	return nil
}

// CancelRequest is the body of the request to cancel; it says nothing more.
type CancelRequest struct{}
