package compute

import (
	"time"

	"github.com/virga-cloud/virga/host"
)

// What the VM loop may do next with a VM.
type act string

const (
	actRest   act = "rest"   // nothing but report
	actPlace  act = "place"  // choose a host and make an instance
	actSteer  act = "steer"  // tell the instance what to do
	actReap   act = "reap"   // the instance has ended: write down how, and clean up
	actAwait  act = "await"  // an instance is going away
	actRenew  act = "renew"  // the instance can never have its disks: make another, with a higher epoch
	actDelete act = "delete" // the VM goes
)

// facts are all that the decision about a VM depends on.
type facts struct {
	vm       *VM
	instance *Instance // that Status.InstanceID names; nil if there is none
	others   int       // further instances of the VM
	free     bool      // no attachment or port binding of an earlier instance is left
	inHands  bool      // an operation has the VM
	hostLife host.LifeState
	removed  bool // the instance's host was removed: nothing of it runs any more
	// highest is the highest epoch that a disk of the instance was opened with, as its host found on the
	// storage; 0: none above its own. Records that were restored do not know of it.
	highest int64
	now     time.Time
}

// Boot is the number of the boot that a VM is wanted to be in: the next one after that of its status
// when another was asked for since.
func Boot(vm *VM) int64 {
	if vm.Status.Boot == 0 || vm.Spec.BootToken != vm.Status.BootToken {
		return vm.Status.Boot + 1
	}
	return vm.Status.Boot
}

// plan is the decision.
type plan struct {
	act   act
	run   Run           // for steer
	phase string        // to report
	after time.Duration // look again
}

// decide is the whole life of a VM: from facts to the next act. It changes nothing.
func decide(f facts) plan {
	vm, i := f.vm, f.instance
	switch {
	case f.inHands:
		return plan{act: actRest, phase: PhaseMoving}
	case vm.Deleting != nil:
		return plan{act: actDelete, phase: PhaseDeleting}
	case i == nil:
		return decideIdle(f)
	case i.Deleting != nil:
		return plan{act: actAwait, phase: PhaseStopping}
	case i.Status.Phase == InstanceStopped:
		return plan{act: actReap, phase: PhaseStopping}
	case f.removed:
		return plan{act: actReap, phase: PhaseStopping}
	case f.hostLife == host.Lost:
		return plan{act: actRest, phase: PhaseUnknown}
	case f.highest > i.Spec.Epoch && i.Status.StartedAt.IsZero():
		return plan{act: actRenew, phase: PhasePending}
	}
	run := wantedRun(vm, i)
	return plan{act: actSteer, run: run, phase: phaseOf(i, run)}
}

func decideIdle(f facts) plan {
	vm := f.vm
	ended := vm.Status.EndedBoot >= Boot(vm)
	switch {
	case f.others > 0 || !f.free:
		return plan{act: actAwait, phase: PhaseStopping}
	case vm.Spec.Power == Stopped || ended:
		return plan{act: actRest, phase: idlePhase(vm, ended)}
	case vm.Status.Crashes > 0 && vm.Status.CrashBoot == Boot(vm) && pauseLeft(f) > 0:
		return plan{act: actRest, phase: PhaseCrashed, after: pauseLeft(f)}
	}
	return plan{act: actPlace, phase: PhasePending}
}

// pauseLeft is how long a VM that crashed still waits. A wait that is longer than its pause ever
// was comes from a clock that was set back, and is over.
func pauseLeft(f facts) time.Duration {
	left := f.vm.Status.RetryAt.Sub(f.now)
	if left > crashPause(f.vm.Status.Crashes) {
		return 0
	}
	return left
}

func idlePhase(vm *VM, ended bool) string {
	if ended && vm.Spec.Power != Stopped && vm.Status.EndedWhy == string(ExitCrashed) {
		return PhaseCrashed
	}
	return PhaseStopped
}

// wantedRun is what the instance should do, from the VM's desired state.
func wantedRun(vm *VM, i *Instance) Run {
	over := vm.Spec.Power == Stopped || i.Spec.Boot < Boot(vm) || vm.Status.EndedBoot >= i.Spec.Boot
	switch {
	case over && (vm.Spec.KillInstanceID == i.ID || i.Spec.Run == RunKilled):
		return RunKilled
	case over:
		return RunStopped
	case vm.Spec.Power == Paused:
		return RunPaused
	}
	return RunRunning
}

func phaseOf(i *Instance, wanted Run) string {
	switch i.Status.Phase {
	case InstanceRunning, InstanceSending:
		if wanted == RunStopped || wanted == RunKilled {
			return PhaseStopping
		}
		return PhaseRunning
	case InstancePaused, InstanceSent:
		return PhasePaused
	case InstanceStopping:
		return PhaseStopping
	case InstanceUnknown:
		return PhaseUnknown
	}
	if wanted == RunStopped || wanted == RunKilled {
		return PhaseStopping
	}
	return PhaseStarting
}

// ending is what the end of an instance means for its VM.
type ending struct {
	bootOver bool // this boot is used up
	crashed  bool
}

// judge reads an instance that ended in some way by the VM's desired power and policy.
func judge(vm *VM, i *Instance, exit Exit) ending {
	wanted := vm.Spec.Power == Stopped || i.Spec.Boot < Boot(vm) || i.Spec.Run == RunStopped || i.Spec.Run == RunKilled
	switch {
	case wanted, exit == ExitForced:
		return ending{bootOver: true}
	case exit == ExitPoweredOff:
		return ending{bootOver: vm.Spec.RestartPolicy != Always}
	}
	return ending{bootOver: vm.Spec.RestartPolicy == Never, crashed: true}
}
