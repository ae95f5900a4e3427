package operation

import (
	"encoding/json"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Holder holds an operation until it has ended, so that one that is deleted is undone first.
const Holder = "operation"

// TargetKey is the claim key that an operation has until it has ended.
func TargetKey(target resource.ID) resource.Ref { return store.ClaimKey("", targetWord(target)) }

func targetWord(target resource.ID) string { return "operation:" + string(target) }

// Start puts a new operation into a batch; it exists, and has its target, when the batch is
// committed. If another operation has the target, the commit fails with fault.Exists; call Free
// first to tell people which.
func Start(b *store.Batch, w *store.SpecWriter[Spec, Status], def Definition, target resource.Ref, input any, by string) (*Operation, error) {
	data, err := json.Marshal(input)
	if err != nil {
		return nil, fault.New(fault.Internal, "encode the input of %s: %w", def.Type, err)
	}
	o := &Operation{
		Meta: resource.Meta{Project: target.Project},
		Spec: Spec{Type: def.Type, Target: target, Input: data, By: by},
	}
	w.Create(b, o, Holder)
	return o, nil
}

// InTheWay gives the operation that works on a record; nil if there is none.
func InTheWay(s *store.Snapshot, target resource.ID) *Operation {
	for _, o := range store.Referring(s, Operations, target) {
		if o.Spec.Target.ID == target && !Ended(o) {
			return o
		}
	}
	return nil
}

// Free is nil if no operation works on the target, else fault.Precondition that says which does.
func Free(s *store.Snapshot, target resource.Ref) error {
	o := InTheWay(s, target.ID)
	if o == nil {
		return nil
	}
	phase := o.Status.Phase
	if phase == "" {
		phase = Pending
	}
	return fault.New(fault.Precondition, "operation %s (%s, %s) works on this %s; wait for it or cancel it", o.Name, o.Spec.Type, phase, target.Kind)
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
