package compute

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// life is a VM with what decide is told of it, and a host that obeys: what the loop does, without records.
type life struct {
	facts
	made int
}

func newLife(policy RestartPolicy) *life {
	return &life{facts: facts{vm: &VM{Spec: VMSpec{Power: Running, RestartPolicy: policy}}, free: true, hostLife: host.Alive, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}}
}

// step does what decide says, as the loop does, and gives the plan.
func (l *life) step() plan {
	p := decide(l.facts)
	st := &l.vm.Status
	st.Phase, st.Boot, st.BootToken = p.phase, Boot(l.vm), l.vm.Spec.BootToken
	switch p.act {
	case actPlace:
		l.made++
		l.instance = &Instance{Spec: InstanceSpec{Boot: st.Boot, Run: startingRun(l.vm)}, Status: InstanceStatus{Phase: InstanceStarting}}
		l.instance.ID, l.free = resource.ID(rune('a'+l.made%26)), false
		st.InstanceID = l.instance.ID
	case actSteer:
		l.instance.Spec.Run = p.run
	case actReap:
		end := judge(l.vm, l.instance, l.instance.Status.Exit)
		if end.bootOver {
			st.EndedBoot = l.instance.Spec.Boot
		}
		if end.crashed {
			st.Crashes, st.CrashBoot, st.RetryAt = st.Crashes+1, l.instance.Spec.Boot, l.now.Add(crashPause(st.Crashes+1))
		}
		st.InstanceID, l.instance = "", nil
	case actAwait:
		l.free = true // the agents let go
	}
	return p
}

// obey lets the host do what the instance says, and time pass.
func (l *life) obey() {
	l.now = l.now.Add(time.Minute)
	if l.instance == nil {
		return
	}
	st := &l.instance.Status
	if st.Phase == InstanceStopped {
		return
	}
	st.StartedAt = l.now
	switch l.instance.Spec.Run {
	case RunRunning:
		st.Phase = InstanceRunning
	case RunPaused:
		st.Phase = InstancePaused
	case RunStopped:
		st.Phase, st.Exit = InstanceStopped, ExitPoweredOff
	case RunKilled:
		st.Phase, st.Exit = InstanceStopped, ExitForced
	}
}

// Whatever a person asks for and guests do, a VM comes to what is asked of it in a few steps, and stays.
func TestAVMAlwaysComesToWhatIsAskedOfIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := newLife(rapid.SampledFrom([]RestartPolicy{OnFailure, Always, Never}).Draw(t, "policy"))
		tokens := 0
		for range rapid.IntRange(0, 25).Draw(t, "events") {
			switch rapid.SampledFrom([]string{"step", "step", "obey", "start", "stop", "force", "pause", "restart", "end", "crash"}).Draw(t, "event") {
			case "step":
				l.step()
			case "obey":
				l.obey()
			case "start":
				l.vm.Spec.Power = Running
			case "stop":
				l.vm.Spec.Power = Stopped
			case "force":
				l.vm.Spec.Power, l.vm.Spec.KillInstanceID = Stopped, l.vm.Status.InstanceID
			case "pause":
				l.vm.Spec.Power = Paused
			case "restart":
				tokens++
				l.vm.Spec.Power, l.vm.Spec.BootToken = Running, string(rune('0'+tokens))
			case "end":
				if l.instance != nil {
					l.instance.Status = InstanceStatus{Phase: InstanceStopped, Exit: ExitPoweredOff}
				}
			case "crash":
				if l.instance != nil {
					l.instance.Status = InstanceStatus{Phase: InstanceStopped, Exit: ExitCrashed}
				}
			}
		}
		for range 12 {
			l.step()
			l.obey()
		}
		l.step()
		used := l.vm.Status.EndedBoot >= Boot(l.vm)
		want := map[Power]string{Running: PhaseRunning, Paused: PhasePaused, Stopped: PhaseStopped}[l.vm.Spec.Power]
		if used {
			want = PhaseStopped // a boot is used once
		}
		if got := l.vm.Status.Phase; got != want && (got != PhaseCrashed || !used) {
			t.Fatalf("it is %s, and wanted is %s: %+v, %+v", got, want, l.vm.Spec, l.vm.Status)
		}
		if (l.instance != nil) == (want == PhaseStopped) {
			t.Fatalf("it is %s with instance %+v", want, l.instance)
		}
		made := l.made
		for range 3 {
			l.step()
			l.obey()
		}
		if l.made != made {
			t.Fatal("it does not come to rest")
		}
	})
}

func TestNoDecisionMakesASecondInstanceOrStartsWhatMustNotRun(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		vm := &VM{Spec: VMSpec{Power: rapid.SampledFrom([]Power{Running, Stopped, Paused}).Draw(t, "power"), BootToken: rapid.SampledFrom([]string{"", "a"}).Draw(t, "token")}}
		vm.Status = VMStatus{Boot: rapid.Int64Range(0, 2).Draw(t, "boot"), EndedBoot: rapid.Int64Range(0, 3).Draw(t, "ended"), Crashes: rapid.Int64Range(0, 2).Draw(t, "crashes"), CrashBoot: 1, RetryAt: at.Add(time.Second)}
		f := facts{vm: vm, now: at, others: rapid.IntRange(0, 1).Draw(t, "others"), free: rapid.Bool().Draw(t, "free"), inHands: rapid.Bool().Draw(t, "in hands"),
			removed: rapid.Bool().Draw(t, "removed"), hostLife: rapid.SampledFrom([]host.LifeState{host.Alive, host.Lost, host.Unknown}).Draw(t, "life"), highest: rapid.Int64Range(0, 2).Draw(t, "highest")}
		if rapid.Bool().Draw(t, "deleting") {
			vm.Deleting = &at
		}
		if rapid.Bool().Draw(t, "instance") {
			f.instance = &Instance{Spec: InstanceSpec{Boot: rapid.Int64Range(0, 3).Draw(t, "of boot"), Epoch: 1}, Status: InstanceStatus{Phase: rapid.SampledFrom([]string{InstanceWaiting, InstanceRunning, InstanceStopped, InstanceUnknown}).Draw(t, "phase")}}
		}
		p := decide(f)
		switch {
		case p.act == actPlace && (f.instance != nil || f.others > 0 || !f.free || f.inHands || vm.Deleting != nil || vm.Spec.Power == Stopped || vm.Status.EndedBoot >= Boot(vm)):
			t.Fatalf("placed: %+v", f)
		case (p.act == actSteer || p.act == actReap || p.act == actRenew) && f.instance == nil:
			t.Fatalf("%s of nothing", p.act)
		case p.act == actSteer && p.run != RunStopped && p.run != RunKilled && (vm.Spec.Power == Stopped || f.instance.Spec.Boot < Boot(vm) || vm.Status.EndedBoot >= f.instance.Spec.Boot):
			t.Fatalf("run %s of what is over: %+v", p.run, f)
		case f.inHands && p.act != actRest, vm.Deleting != nil && !f.inHands && p.act != actDelete:
			t.Fatalf("%s beside an operation, or of what is being deleted", p.act)
		case p.phase == "":
			t.Fatal("there is no phase to report")
		case f.instance != nil && f.hostLife == host.Lost && !f.removed && (p.act == actSteer || p.act == actRenew || p.act == actPlace):
			t.Fatalf("%s on a host that nobody hears", p.act)
		}
	})
}
