package onhost

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

func TestWhatIsDoneToAGuest(t *testing.T) {
	out := func(op resource.ID) *compute.Outgoing { return &compute.Outgoing{OperationID: op} }
	for name, c := range map[string]struct {
		run    compute.Run
		out    *compute.Outgoing
		status compute.InstanceStatus
		g      Guest
		act    act
		phase  string
	}{
		"nothing there yet":                     {run: compute.RunRunning, act: launch, phase: compute.InstanceWaiting},
		"never started and not wanted":          {run: compute.RunStopped, act: lost, phase: compute.InstanceStopped},
		"started once, and gone":                {run: compute.RunRunning, status: compute.InstanceStatus{StartedAt: noon}, act: lost, phase: compute.InstanceStopped},
		"a start that was cut short":            {run: compute.RunRunning, status: compute.InstanceStatus{Phase: compute.InstanceStarting}, act: launch, phase: compute.InstanceWaiting},
		"just started":                          {run: compute.RunRunning, g: Guest{State: Paused}, act: resume, phase: compute.InstanceRunning},
		"just started, to stand":                {run: compute.RunPaused, g: Guest{State: Paused}, act: rest, phase: compute.InstancePaused},
		"a target without memory does not run":  {run: compute.RunRunning, g: Guest{State: Incoming}, act: rest, phase: compute.InstanceIncoming},
		"a target whose memory has come":        {run: compute.RunIncoming, g: Guest{State: Received}, act: rest, phase: compute.InstanceReceived},
		"a target that takes over":              {run: compute.RunRunning, g: Guest{State: Received}, act: resume, phase: compute.InstanceRunning},
		"a paused guest that has moved":         {run: compute.RunPaused, g: Guest{State: Received}, act: rest, phase: compute.InstancePaused},
		"a source that is to send":              {run: compute.RunRunning, out: out("a"), g: Guest{State: Running}, act: send, phase: compute.InstanceSending},
		"a source that has sent":                {run: compute.RunRunning, out: out("a"), g: Guest{State: Sent, Transfer: Transfer{OperationID: "a", State: TransferDone}}, act: rest, phase: compute.InstanceSent},
		"a source that was called off":          {run: compute.RunRunning, g: Guest{State: Sent, Transfer: Transfer{OperationID: "a", State: TransferDone}}, act: resume, phase: compute.InstanceRunning},
		"a second attempt after one called off": {run: compute.RunRunning, out: out("b"), g: Guest{State: Running, Transfer: Transfer{OperationID: "a", State: TransferDone}}, act: send, phase: compute.InstanceSending},
		"a second attempt during the first":     {run: compute.RunRunning, out: out("b"), g: Guest{State: Running, Transfer: Transfer{OperationID: "a", State: TransferActive}}, act: cancel, phase: compute.InstanceSending},
		"a paused guest that moves again":       {run: compute.RunPaused, out: out("b"), g: Guest{State: Received}, act: resume, phase: compute.InstanceRunning},
		"and stands again before it is sent":    {run: compute.RunPaused, out: out("b"), g: Guest{State: Running}, act: pause, phase: compute.InstancePaused},
		"one sent on before it ran here":        {run: compute.RunRunning, out: out("b"), g: Guest{State: Received}, act: resume, phase: compute.InstanceRunning},
		"a transfer that failed":                {run: compute.RunRunning, out: out("a"), g: Guest{State: Running, Transfer: Transfer{OperationID: "a", State: TransferFailed}}, act: rest, phase: compute.InstanceRunning},
		"the guest ended while it was sent":     {run: compute.RunRunning, out: out("a"), g: Guest{State: Off, Transfer: Transfer{OperationID: "a", State: TransferActive}}, act: kill, phase: compute.InstanceStopping},
		"a source that is not the VM now":       {run: compute.RunStopped, out: out("a"), g: Guest{State: Sent}, act: kill, phase: compute.InstanceStopping},
		"asked, and time is left":               {run: compute.RunStopped, g: Guest{State: Running, AskedAt: noon.Add(-5 * time.Second), Asks: 1}, act: rest, phase: compute.InstanceStopping},
		"asked, and time is up":                 {run: compute.RunStopped, g: Guest{State: Running, AskedAt: noon.Add(-30 * time.Second), Asks: 1}, act: kill, phase: compute.InstanceStopping},
		"paused and to stop":                    {run: compute.RunStopped, status: compute.InstanceStatus{Phase: compute.InstancePaused}, g: Guest{State: Paused}, act: ask, phase: compute.InstanceStopping},
		"stopped by a full disk, time is up":    {run: compute.RunStopped, g: Guest{State: Paused, Problem: "full", AskedAt: noon.Add(-time.Minute), Asks: 9}, act: kill, phase: compute.InstanceStopping},
		"asked by a clock that was set back":    {run: compute.RunStopped, g: Guest{State: Running, AskedAt: noon.Add(time.Hour), Asks: 1}, act: kill, phase: compute.InstanceStopping},
		"never let run and to stop":             {run: compute.RunStopped, status: compute.InstanceStatus{Phase: compute.InstanceStarting}, g: Guest{State: Paused}, act: kill, phase: compute.InstanceStopping},
		"silent, and left alone":                {run: compute.RunRunning, status: compute.InstanceStatus{Phase: compute.InstanceRunning}, g: Guest{State: Silent}, act: rest, phase: compute.InstanceRunning},
		"silent and to be killed":               {run: compute.RunKilled, g: Guest{State: Silent}, act: kill, phase: compute.InstanceStopping},
		"silent, time is up":                    {run: compute.RunStopped, g: Guest{State: Silent, AskedAt: noon.Add(-time.Minute), Asks: 1}, act: kill, phase: compute.InstanceStopping},
		"a newer owner":                         {run: compute.RunKilled, g: Guest{State: Running, Epoch: 9}, act: refuse, phase: compute.InstanceRunning},
		"a raised epoch":                        {run: compute.RunRunning, g: Guest{State: Received, Epoch: -1}, act: raise, phase: compute.InstanceReceived},
	} {
		i := &compute.Instance{Spec: compute.InstanceSpec{Run: c.run, Outgoing: c.out, StopTimeoutSeconds: 30}, Status: c.status}
		if got := decide(i, c.g, noon); got.act != c.act || got.phase != c.phase {
			t.Errorf("%s: %q in phase %q, and should be %q in phase %q", name, got.act, got.phase, c.act, c.phase)
		}
	}
}

func TestNoDecisionEverLetsAGuestRunThatMustNot(t *testing.T) {
	states := []State{Absent, Running, Paused, Incoming, Received, Sent, Off, Crashed, Silent, Ended}
	runs := []compute.Run{compute.RunRunning, compute.RunPaused, compute.RunIncoming, compute.RunStopped, compute.RunKilled}
	transfers := []TransferState{NoTransfer, TransferActive, TransferDone, TransferFailed, TransferCanceled}
	operations := []resource.ID{"", "a", "b"}
	rapid.Check(t, func(t *rapid.T) {
		g := Guest{
			State: rapid.SampledFrom(states).Draw(t, "state"), Epoch: rapid.Int64Range(1, 3).Draw(t, "kept"),
			Transfer: Transfer{State: rapid.SampledFrom(transfers).Draw(t, "transfer"), OperationID: rapid.SampledFrom(operations).Draw(t, "sent for")},
		}
		if g.State == Absent {
			g = Guest{}
		}
		i := &compute.Instance{Spec: compute.InstanceSpec{Run: rapid.SampledFrom(runs).Draw(t, "desired state"), Epoch: rapid.Int64Range(1, 3).Draw(t, "epoch"), StopTimeoutSeconds: 30}}
		if op := rapid.SampledFrom(operations).Draw(t, "operation"); op != "" {
			i.Spec.Outgoing = &compute.Outgoing{OperationID: op}
		}
		if rapid.Bool().Draw(t, "started") {
			i.Status.StartedAt = noon
		}
		d := decide(i, g, noon)
		run := d.act == resume || d.act == launch
		switch {
		case run && i.Spec.Epoch < g.Epoch:
			t.Fatalf("%s with epoch %d under %d", d.act, i.Spec.Epoch, g.Epoch)
		case run && (g.State == Ended || g.State == Absent && !i.Status.StartedAt.IsZero()):
			t.Fatalf("%s of an instance that has had its one run", d.act)
		case d.act == resume && (i.Spec.Run == compute.RunIncoming || i.Spec.Run == compute.RunKilled || g.State == Incoming):
			t.Fatalf("resume against the desired state %s in state %s", i.Spec.Run, g.State)
		case d.act == resume && i.Spec.Run == compute.RunStopped && (g.State == Sent || g.State == Received):
			t.Fatalf("resume in order to stop, in state %s", g.State)
		case d.act == resume && g.State == Sent && i.Spec.Outgoing != nil && i.Spec.Outgoing.OperationID == g.Transfer.OperationID && g.Transfer.State == TransferDone:
			t.Fatal("resume of a source before it was called off")
		case !g.State.Alive() && d.act != rest && d.act != launch && d.act != lost:
			t.Fatalf("%s of nothing", d.act)
		}
	})
}
