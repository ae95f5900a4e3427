package onhost

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
)

// obedient does an act as a hypervisor does. A guest that is deaf is asked and does nothing.
func obedient(i *compute.Instance, g *Guest, a act, deaf bool, now time.Time) {
	switch a {
	case launch:
		*g = Guest{State: Paused, Epoch: i.Spec.Epoch}
		if i.Spec.Run == compute.RunIncoming {
			g.State = Incoming
		}
		i.Status.StartedAt = now
	case raise:
		g.Epoch = i.Spec.Epoch
	case resume:
		g.State, g.Problem = Running, ""
	case pause:
		g.State = Paused
	case ask:
		if g.AskedAt.IsZero() {
			g.AskedAt = now
		}
		if g.Asks++; !deaf && g.State == Running {
			g.State = Off
		}
	case kill:
		g.State = Ended
	case send:
		g.Transfer = Transfer{OperationID: i.Spec.Outgoing.OperationID, State: TransferActive}
	case cancel:
		g.Transfer.State = TransferCanceled
	}
}

// From every state a guest comes to what is wanted of it, in few acts and in the time that it has to stop.
func TestAGuestAlwaysComesToWhatIsWantedOfIt(t *testing.T) {
	ends := map[compute.Run][]State{
		compute.RunRunning: {Running, Sent, Incoming}, compute.RunPaused: {Paused, Received, Sent, Incoming}, compute.RunIncoming: {Running, Paused, Incoming, Received, Sent},
		compute.RunStopped: {Ended, Absent}, compute.RunKilled: {Ended, Absent},
	}
	rapid.Check(t, func(t *rapid.T) {
		now := noon
		i := &compute.Instance{Spec: compute.InstanceSpec{Run: rapid.SampledFrom([]compute.Run{compute.RunRunning, compute.RunPaused, compute.RunIncoming, compute.RunStopped, compute.RunKilled}).Draw(t, "desired state"),
			Epoch: rapid.Int64Range(1, 2).Draw(t, "epoch"), StopTimeoutSeconds: 30}}
		g := Guest{State: rapid.SampledFrom([]State{Absent, Running, Paused, Incoming, Received, Sent, Off, Crashed, Ended}).Draw(t, "state"), Epoch: 1}
		switch {
		case g.State == Sent:
			g.Transfer = Transfer{OperationID: "a", State: TransferDone}
		case (g.State == Running || g.State == Paused) && rapid.Bool().Draw(t, "sent before"):
			g.Transfer = Transfer{OperationID: "a", State: rapid.SampledFrom([]TransferState{TransferActive, TransferDone, TransferFailed}).Draw(t, "transfer")}
		}
		i.Status.Phase = rapid.SampledFrom([]string{compute.InstanceWaiting, compute.InstanceRunning, compute.InstancePaused}).Draw(t, "reported")
		if rapid.IntRange(0, 2).Draw(t, "sends") == 0 {
			i.Spec.Outgoing = &compute.Outgoing{OperationID: rapid.SampledFrom([]resource.ID{"a", "b"}).Draw(t, "operation")}
		}
		deaf, arrives, started := rapid.Bool().Draw(t, "deaf"), rapid.Bool().Draw(t, "arrives"), g.State
		var did []act
		for range 60 {
			d := decide(i, g, now)
			if d.act != rest {
				did = append(did, d.act)
			}
			obedient(i, &g, d.act, deaf, now)
			if d.act == rest && g.Transfer.State == TransferActive && (g.State == Running || g.State == Paused) {
				if g.Transfer.State = TransferFailed; arrives {
					g.Transfer.State, g.State = TransferDone, Sent
				}
			}
			if i.Status.Phase = d.phase; d.phase == compute.InstanceStopped {
				break // nobody looks any more
			}
			if d.after <= 0 {
				t.Fatalf("nobody looks again after %s in %s", d.act, g.State)
			}
			now = now.Add(d.after)
		}
		good := false
		for _, s := range ends[i.Spec.Run] {
			good = good || g.State == s
		}
		// What has ended, or panicked or powered itself off, does not come back.
		if over := started == Ended || started == Off || started == Crashed; over {
			good = g.State == Ended
		}
		if !good {
			t.Fatalf("from %s to %s it came to %s by %v", started, i.Spec.Run, g.State, did)
		}
		if len(did) > 12 {
			t.Fatalf("it took %d acts: %v", len(did), did)
		}
		if (i.Spec.Run == compute.RunStopped || i.Spec.Run == compute.RunKilled) && now.After(noon.Add(35*time.Second)) {
			t.Fatalf("to stop took %v", now.Sub(noon))
		}
	})
}
