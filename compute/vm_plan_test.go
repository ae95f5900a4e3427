package compute

import (
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

func TestDecide(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	vm := func(change func(*VM)) *VM {
		v := &VM{Spec: VMSpec{Power: Running, RestartPolicy: OnFailure}, Status: VMStatus{Boot: 1}}
		if change != nil {
			change(v)
		}
		return v
	}
	instance := func(phase string) *Instance {
		return &Instance{Meta: resource.Meta{ID: "i"}, Spec: InstanceSpec{Boot: 1, Run: RunRunning}, Status: InstanceStatus{Phase: phase}}
	}
	deleting := func(i *Instance) *Instance {
		i.Deleting = &now
		return i
	}
	started := func(i *Instance) *Instance {
		i.Status.StartedAt = now
		return i
	}
	for name, c := range map[string]struct {
		facts facts
		act   act
		run   Run
		phase string
	}{
		"a new VM is placed":                           {facts{vm: vm(nil), free: true}, actPlace, "", PhasePending},
		"a stopped VM rests":                           {facts{vm: vm(func(v *VM) { v.Spec.Power = Stopped }), free: true}, actRest, "", PhaseStopped},
		"a used-up boot rests":                         {facts{vm: vm(func(v *VM) { v.Status.EndedBoot = 1 }), free: true}, actRest, "", PhaseStopped},
		"a next boot is placed":                        {facts{vm: vm(func(v *VM) { v.Status.EndedBoot, v.Spec.BootToken = 1, "next" }), free: true}, actPlace, "", PhasePending},
		"nothing is placed over leftovers":             {facts{vm: vm(nil), free: false}, actAwait, "", PhaseStopping},
		"nothing is placed beside an old instance":     {facts{vm: vm(nil), free: true, others: 1}, actAwait, "", PhaseStopping},
		"a crashed VM pauses before its retry":         {facts{vm: vm(func(v *VM) { v.Status.Crashes, v.Status.CrashBoot, v.Status.RetryAt = 1, 1, now.Add(time.Second) }), free: true}, actRest, "", PhaseCrashed},
		"a clock that was set back ends a pause":       {facts{vm: vm(func(v *VM) { v.Status.Crashes, v.Status.CrashBoot, v.Status.RetryAt = 1, 1, now.Add(time.Hour) }), free: true}, actPlace, "", PhasePending},
		"a running instance is left running":           {facts{vm: vm(nil), instance: instance(InstanceRunning), hostLife: host.Alive}, actSteer, RunRunning, PhaseRunning},
		"a pause is passed on":                         {facts{vm: vm(func(v *VM) { v.Spec.Power = Paused }), instance: instance(InstanceRunning), hostLife: host.Alive}, actSteer, RunPaused, PhaseRunning},
		"a stop is passed on":                          {facts{vm: vm(func(v *VM) { v.Spec.Power = Stopped }), instance: instance(InstanceRunning), hostLife: host.Alive}, actSteer, RunStopped, PhaseStopping},
		"a forced stop does not ask":                   {facts{vm: vm(func(v *VM) { v.Spec.Power, v.Spec.KillInstanceID = Stopped, "i" }), instance: instance(InstanceRunning), hostLife: host.Alive}, actSteer, RunKilled, PhaseStopping},
		"a restart ends the old boot first":            {facts{vm: vm(func(v *VM) { v.Spec.BootToken = "next" }), instance: instance(InstanceRunning), hostLife: host.Alive}, actSteer, RunStopped, PhaseStopping},
		"an ended instance is reaped":                  {facts{vm: vm(nil), instance: instance(InstanceStopped), hostLife: host.Alive}, actReap, "", PhaseStopping},
		"an ended instance is reaped though lost":      {facts{vm: vm(nil), instance: instance(InstanceStopped), hostLife: host.Lost}, actReap, "", PhaseStopping},
		"a VM on a lost host is not restarted":         {facts{vm: vm(nil), instance: instance(InstanceRunning), hostLife: host.Lost}, actRest, "", PhaseUnknown},
		"a VM on a removed host is given up":           {facts{vm: vm(nil), instance: instance(InstanceRunning), hostLife: host.Lost, removed: true}, actReap, "", PhaseStopping},
		"what an agent is removing is not given up":    {facts{vm: vm(nil), instance: deleting(instance(InstanceRunning)), hostLife: host.Lost, removed: true}, actAwait, "", PhaseStopping},
		"an operation first gives up a removed host":   {facts{vm: vm(nil), instance: instance(InstanceRunning), inHands: true, removed: true}, actRest, "", PhaseMoving},
		"an operation has the VM for itself":           {facts{vm: vm(func(v *VM) { v.Spec.Power = Stopped }), instance: instance(InstanceRunning), inHands: true}, actRest, "", PhaseMoving},
		"a deleted VM goes whatever its desired power": {facts{vm: vm(func(v *VM) { v.Deleting = &now }), instance: instance(InstanceRunning)}, actDelete, "", PhaseDeleting},
		"no heartbeat yet is not being lost":           {facts{vm: vm(nil), instance: instance(InstanceRunning), hostLife: host.Unknown}, actSteer, RunRunning, PhaseRunning},
		"an agent that has not looked is not obeyed":   {facts{vm: vm(nil), instance: instance(InstanceUnknown), hostLife: host.Alive}, actSteer, RunRunning, PhaseUnknown},
		"an instance that its disks refuse is renewed": {facts{vm: vm(nil), instance: instance(InstanceWaiting), hostLife: host.Alive, highest: 7}, actRenew, "", PhasePending},
		"but not while its host is unreachable":        {facts{vm: vm(nil), instance: instance(InstanceWaiting), hostLife: host.Lost, highest: 7}, actRest, "", PhaseUnknown},
		"and not when it runs":                         {facts{vm: vm(nil), instance: started(instance(InstanceRunning)), hostLife: host.Alive, highest: 7}, actSteer, RunRunning, PhaseRunning},
		"an equal epoch refuses nobody":                {facts{vm: vm(nil), instance: instance(InstanceWaiting), hostLife: host.Alive}, actSteer, RunRunning, PhaseStarting},
	} {
		t.Run(name, func(t *testing.T) {
			c.facts.now = now
			got := decide(c.facts)
			if got.act != c.act || got.run != c.run || got.phase != c.phase {
				t.Errorf("decided %s run=%q phase=%s; want %s run=%q phase=%s", got.act, got.run, got.phase, c.act, c.run, c.phase)
			}
		})
	}
}

func TestAnEndIsJudgedByDesiredPowerAndPolicy(t *testing.T) {
	for name, c := range map[string]struct {
		policy RestartPolicy
		exit   Exit
		power  Power
		want   ending
	}{
		"a guest that powers itself off has used its boot":  {OnFailure, ExitPoweredOff, Running, ending{bootOver: true}},
		"always starts it again":                            {Always, ExitPoweredOff, Running, ending{}},
		"a crash is started again":                          {OnFailure, ExitCrashed, Running, ending{crashed: true}},
		"a lost QEMU is a crash":                            {OnFailure, ExitLost, Running, ending{crashed: true}},
		"never means never":                                 {Never, ExitCrashed, Running, ending{bootOver: true, crashed: true}},
		"a wanted stop is no crash, however the guest ends": {OnFailure, ExitCrashed, Stopped, ending{bootOver: true}},
		"always does not undo a wanted stop":                {Always, ExitPoweredOff, Stopped, ending{bootOver: true}},
	} {
		t.Run(name, func(t *testing.T) {
			vm := &VM{Spec: VMSpec{RestartPolicy: c.policy, Power: c.power}, Status: VMStatus{Boot: 1}}
			i := &Instance{Spec: InstanceSpec{Boot: 1, Run: RunRunning}}
			if got := judge(vm, i, c.exit); got != c.want {
				t.Errorf("judged %+v; want %+v", got, c.want)
			}
		})
	}
}

func TestCrashPausesGrow(t *testing.T) {
	for n, want := range map[int64]time.Duration{1: time.Second, 2: 2 * time.Second, 5: 16 * time.Second, 9: 256 * time.Second, 10: 5 * time.Minute, 1000: 5 * time.Minute} {
		if got := crashPause(n); got != want {
			t.Errorf("after crash %d the pause is %v; want %v", n, got, want)
		}
	}
}
