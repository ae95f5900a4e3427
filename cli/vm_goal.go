package cli

import (
	"bytes"
	"context"
	"net/url"

	"github.com/virga-cloud/virga/client"
)

const vmGoalHelp = "guest: the guest's agent answers, so that its system is up. address: the agent tells an address that the\n" +
	"guest has, or, without an agent, the guest answers at the VM's address. serial: the guest wrote to its serial console, which needs no agent.\n"

// vmGoals are what a guest can be waited for to do, after its VM runs.
func vmGoals() []goal {
	return []goal{
		{word: "guest", says: "for an answer of the guest's agent", done: "its guest agent answers", reached: alive(func(ctx context.Context, s *session, r *record) (bool, error) {
			i, err := s.instanceOf(ctx, r)
			return err == nil && i.text(at(&instanceOf.Status.GuestAgent)) == "yes", err
		})},
		{word: "address", says: "for the guest to have its address", done: "its guest has an address", reached: alive(func(ctx context.Context, s *session, r *record) (bool, error) {
			i, err := s.instanceOf(ctx, r)
			if err != nil || len(i.list(at(&instanceOf.Status.GuestAddresses))) > 0 {
				return err == nil, err
			}
			return s.answers(ctx, r)
		})},
		{word: "serial", says: "for a line on the serial console", done: "its guest has written to the serial console", reached: alive(func(ctx context.Context, s *session, r *record) (bool, error) {
			var said bytes.Buffer
			err := s.do(ctx, client.Call{Method: "GET", Path: s.path(vms(), r.Project, r.ID, "log"), Query: url.Values{"tail": {"1"}}, Out: &said})
			if client.IsKind(err, "not-found") || client.IsKind(err, "precondition") {
				err = nil // the host keeps nothing yet
			}
			return err == nil && len(bytes.TrimSpace(said.Bytes())) > 0, err
		})},
	}
}

// alive holds a goal to a VM that runs, or will: nobody answers in one that was stopped.
func alive(reached func(context.Context, *session, *record) (bool, error)) func(context.Context, *session, *record) (bool, error) {
	return func(ctx context.Context, s *session, r *record) (bool, error) {
		switch state := r.state(); {
		case state == "running":
			return reached(ctx, s, r)
		case r.Deleting != nil, state == "stopped" && r.text(at(&vmOf.Spec.Power)) == "stopped", state == "crashed" && r.text(at(&vmOf.Spec.RestartPolicy)) == "never":
			return false, fail("precondition", "vm %s is %s, and its guest will not answer; `virga vm start %s` starts it", r.Name, state, r.Name)
		}
		return false, nil
	}
}

// instanceOf gives the QEMU process that is a VM; a record without anything while there is none.
func (s *session) instanceOf(ctx context.Context, vm *record) (*record, error) {
	id := vm.text(at(&vmOf.Status.InstanceID))
	if id == "" {
		return &record{}, nil
	}
	i, err := s.get(ctx, instances(), vm.Project, id)
	if client.IsKind(err, "not-found") {
		return &record{}, nil // it has just been replaced
	}
	return i, err
}

// discard is a port on which hardly anybody listens; that it refuses proves that the guest is there.
const discard = "9"

// answers reports whether a guest answers at the VM's address, also with a refusal. Who may not ask waits for
// the agent.
func (s *session) answers(ctx context.Context, vm *record) (bool, error) {
	c, err := s.connection()
	if err != nil {
		return false, err
	}
	ws, err := c.Dial(ctx, s.path(vms(), vm.Project, vm.ID, "tcp")+"?port="+discard, "binary")
	switch {
	case err == nil:
		return true, ws.CloseNow()
	case client.IsKind(err, "precondition"):
		return true, nil
	case client.IsKind(err, "unavailable"), client.IsKind(err, "denied"):
		return false, nil // not yet
	}
	return false, err
}
