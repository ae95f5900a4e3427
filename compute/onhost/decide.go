package onhost

import (
	"time"

	"github.com/virga-cloud/virga/compute"
)

// act is one thing to do to a guest.
type act string

// The acts. Of all but rest the guest is looked at again.
const (
	rest   act = ""       // nothing to do but to report
	refuse act = "refuse" // somebody newer owns the guest
	launch act = "launch" // start, when everything is ready
	raise  act = "raise"  // keep the higher epoch
	resume act = "resume"
	pause  act = "pause"
	ask    act = "ask"
	kill   act = "kill"
	send   act = "send"
	cancel act = "cancel"
	lost   act = "lost" // it had started, and nothing is left of it
)

// decision is what to do, what to report, and when to look again.
type decision struct {
	act   act
	phase string
	after time.Duration
}

// How often is looked. Drivers that tell of changes are looked at just the same.
const (
	steady  = time.Second
	calm    = 5 * time.Second // at a guest that runs as it should: QEMU tells what happens to it
	quick   = 100 * time.Millisecond
	askWait = 10 * time.Second // before a guest is asked once more to power off
)

// decide is the whole policy: from the desired state, the record and the guest to one act.
func decide(i *compute.Instance, g Guest, now time.Time) decision {
	desired := i.Spec
	switch {
	case g.State == Ended:
		return decision{rest, compute.InstanceStopped, 0}
	case g.State == Absent && i.Status.Phase == compute.InstanceStopped:
		return decision{rest, compute.InstanceStopped, 0}
	case g.State == Absent && !i.Status.StartedAt.IsZero():
		return decision{lost, compute.InstanceStopped, 0}
	case g.State == Absent && (desired.Run == compute.RunStopped || desired.Run == compute.RunKilled):
		return decision{lost, compute.InstanceStopped, 0}
	case g.State == Absent:
		return decision{launch, compute.InstanceWaiting, steady}
	case desired.Epoch < g.Epoch:
		return decision{refuse, phaseOf(g), steady}
	case g.State == Off || g.State == Crashed || desired.Run == compute.RunKilled:
		return decision{kill, compute.InstanceStopping, quick}
	case g.State == Silent && desired.Run != compute.RunStopped:
		return decision{rest, i.Status.Phase, steady} // what cannot be seen has not changed
	case desired.Epoch > g.Epoch:
		return decision{raise, phaseOf(g), quick}
	case desired.Run == compute.RunStopped:
		return decideStop(i, g, now)
	case desired.Outgoing != nil || g.Transfer.State == TransferActive:
		return decideSend(i, g)
	}
	return decideRun(desired.Run, g)
}

// decideRun makes the guest run, stand or wait.
func decideRun(desired compute.Run, g Guest) decision {
	switch {
	case desired == compute.RunPaused && g.State == Running:
		return decision{pause, compute.InstancePaused, quick}
	case desired == compute.RunPaused && (g.State == Received || g.State == Sent):
		return decision{rest, compute.InstancePaused, steady}
	case desired == compute.RunRunning && g.State == Paused && g.Problem != "":
		return decision{resume, compute.InstancePaused, 5 * time.Second}
	case desired == compute.RunRunning && (g.State == Paused || g.State == Received || g.State == Sent):
		return decision{resume, compute.InstanceRunning, quick}
	case g.State == Incoming:
		return decision{rest, compute.InstanceIncoming, quick}
	case g.State == Running:
		return decision{rest, compute.InstanceRunning, calm}
	}
	return decision{rest, phaseOf(g), steady}
}

// decideStop asks, and asks again, and in the end forces. What is not the VM must not run
// even to be stopped.
func decideStop(i *compute.Instance, g Guest, now time.Time) decision {
	timeout := time.Duration(i.Spec.StopTimeoutSeconds) * time.Second
	limit := g.AskedAt.Add(timeout)
	// A clock that was set back must not give a guest hours that does not listen.
	setBack := g.AskedAt.Sub(now) > timeout
	switch {
	case g.State == Incoming || g.State == Received || g.State == Sent:
		return decision{kill, compute.InstanceStopping, quick}
	case g.Transfer.State == TransferActive && g.State != Silent:
		return decision{cancel, compute.InstanceStopping, quick}
	case !g.AskedAt.IsZero() && (!now.Before(limit) || setBack):
		return decision{kill, compute.InstanceStopping, quick}
	case g.State == Silent && !g.AskedAt.IsZero():
		return decision{rest, compute.InstanceStopping, steady}
	case g.State == Paused && g.AskedAt.IsZero() && i.Status.Phase != compute.InstancePaused && i.Status.Phase != compute.InstanceRunning:
		return decision{kill, compute.InstanceStopping, quick} // it never ran: there is nobody to ask
	case g.AskedAt.IsZero() || !now.Before(g.AskedAt.Add(time.Duration(g.Asks)*askWait)):
		return decision{ask, compute.InstanceStopping, quick} // also while it stands: it hears when it goes on
	case g.State == Paused:
		return decision{resume, compute.InstanceStopping, steady}
	}
	return decision{rest, compute.InstanceStopping, min(limit.Sub(now), steady)}
}

// decideSend follows a migration out of here.
func decideSend(i *compute.Instance, g Guest) decision {
	out := i.Spec.Outgoing
	switch {
	case g.Transfer.State == TransferActive && (out == nil || out.OperationID != g.Transfer.OperationID):
		return decision{cancel, compute.InstanceSending, quick}
	case g.Transfer.OperationID == out.OperationID && g.Transfer.State == TransferActive:
		return decision{rest, compute.InstanceSending, quick}
	case g.Transfer.OperationID == out.OperationID && g.State == Sent:
		return decision{rest, compute.InstanceSent, steady}
	case g.Transfer.OperationID == out.OperationID:
		return decideRun(i.Spec.Run, g) // it failed, was cancelled, or was called off afterwards
	case (g.State == Sent || g.State == Received) && i.Spec.Run != compute.RunIncoming:
		// Of an earlier attempt, that was called off or brought it here: its disks are not open, and first they must be.
		return decision{resume, compute.InstanceRunning, quick}
	case g.State == Running && i.Spec.Run == compute.RunPaused:
		return decision{pause, compute.InstancePaused, quick}
	case g.State != Running && g.State != Paused:
		return decision{rest, phaseOf(g), quick}
	}
	return decision{send, compute.InstanceSending, quick}
}

func phaseOf(g Guest) string {
	switch g.State {
	case Running:
		return compute.InstanceRunning
	case Paused:
		return compute.InstancePaused
	case Incoming:
		return compute.InstanceIncoming
	case Received:
		return compute.InstanceReceived
	case Sent:
		return compute.InstanceSent
	case Ended:
		return compute.InstanceStopped
	case Off, Crashed:
		return compute.InstanceStopping
	}
	return compute.InstanceWaiting
}
