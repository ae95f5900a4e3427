package compute

import (
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
)

// Power makes a spec's power true that was asked for: a VM that is to run and whose boot is used up, or
// that waits after a crash, gets the next boot. It is what start does, and a request that says power.
// Asking for what is so already changes nothing.
func (f *Front) Power(snap *store.Snapshot, b *store.Batch, vm *VM, spec *VMSpec) error {
	if spec.Power == Stopped || spec.BootToken != vm.Spec.BootToken {
		return nil
	}
	if err := f.admit(snap, b, vm, spec); err != nil {
		return err
	}
	over := vm.Spec.Power == Stopped || vm.Status.EndedBoot >= Boot(vm)
	waiting := vm.Status.Crashes > 0 && vm.Status.InstanceID == ""
	if over || waiting {
		spec.BootToken = newToken()
	}
	return nil
}

// admit refuses a VM that asks to run where its pool or the hosts have not what it reserves.
func (f *Front) admit(snap *store.Snapshot, b *store.Batch, vm *VM, spec *VMSpec) error {
	asked := *vm
	asked.Spec = *spec
	if err := admitVM(snap, b, vm, &asked); err != nil || vm.Status.InstanceID != "" {
		return err
	}
	return f.capacityFor(snap, &asked)
}

// newToken asks for another boot.
func newToken() string { return string(resource.NewID()) }

// Start asks for the VM to run: for the next boot if this one is used up. Starting what runs
// is no error.
func (f *Front) Start(snap *store.Snapshot, b *store.Batch, vm *VM) error {
	if err := usable(vm, "start"); err != nil {
		return err
	}
	spec := vm.Spec
	spec.Power = Running
	if err := f.Power(snap, b, vm, &spec); err != nil {
		return err
	}
	f.VMs.Set(b, vm, func(s *VMSpec) { s.Power, s.BootToken = spec.Power, spec.BootToken })
	return nil
}

// Stop asks for the VM to be stopped: the guest is asked and gets its time, unless force.
func (f *Front) Stop(b *store.Batch, vm *VM, force bool) error {
	if err := usable(vm, "stop"); err != nil {
		return err
	}
	f.VMs.Set(b, vm, func(s *VMSpec) {
		s.Power = Stopped
		if force {
			s.KillInstanceID = vm.Status.InstanceID
		}
	})
	return nil
}

// Restart asks for the next boot. A request that comes twice with one token asks for one.
func (f *Front) Restart(snap *store.Snapshot, b *store.Batch, vm *VM, force bool, token string) error {
	if err := usable(vm, "restart"); err != nil {
		return err
	}
	if token == "" {
		token = newToken()
	}
	if token == vm.Spec.BootToken {
		return nil
	}
	spec := vm.Spec
	spec.Power = Running
	if err := f.admit(snap, b, vm, &spec); err != nil {
		return err
	}
	f.VMs.Set(b, vm, func(s *VMSpec) {
		s.Power, s.BootToken = Running, token
		if force {
			s.KillInstanceID = vm.Status.InstanceID
		}
	})
	return nil
}

// Pause asks for the VM to stand still in memory.
func (f *Front) Pause(b *store.Batch, vm *VM) error {
	if err := usable(vm, "pause"); err != nil {
		return err
	}
	if vm.Spec.Power == Stopped || vm.Status.EndedBoot >= Boot(vm) {
		return fault.New(fault.Precondition, "pause VM %s: it does not run; start it first", vm.Name)
	}
	f.VMs.Set(b, vm, func(s *VMSpec) { s.Power = Paused })
	return nil
}

// Resume lets a paused VM go on.
func (f *Front) Resume(b *store.Batch, vm *VM) error {
	if err := usable(vm, "resume"); err != nil {
		return err
	}
	if vm.Spec.Power == Stopped || vm.Status.EndedBoot >= Boot(vm) {
		return fault.New(fault.Precondition, "resume VM %s: it does not run; virga vm start %s", vm.Name, vm.Name)
	}
	f.VMs.Set(b, vm, func(s *VMSpec) { s.Power = Running })
	return nil
}

func usable(vm *VM, verb string) error {
	if vm.Deleting != nil {
		return fault.New(fault.Precondition, "%s VM %s: it is being deleted", verb, vm.Name)
	}
	return nil
}

// Delete marks the VM for deletion; the disks and ports that were made with it are its own and
// go along. A migration that can still be undone is asked to be.
func (f *Front) Delete(snap *store.Snapshot, b *store.Batch, vm *VM) error {
	if op := hands(snap, vm); op != nil && op.Spec.Cancel == "" && op.Status.Committed == "" {
		f.Operations.Set(b, op, func(s *operation.Spec) { s.Cancel = "yes" })
	}
	for _, n := range vm.Status.NICs {
		if p := store.Find(snap, network.Ports, n.PortID); p != nil && p.Owner == nil && p.Spec.Hostname == Hostname(vm) {
			f.Ports.Set(b, p, func(s *network.PortSpec) { s.Hostname = "" }) // the name was the VM's
		}
	}
	f.VMs.Delete(b, vm)
	return nil
}
