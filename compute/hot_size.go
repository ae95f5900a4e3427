package compute

import (
	"fmt"

	"github.com/virga-cloud/virga/engine/fault"
)

// growthUnitMiB is the unit in which a guest takes memory while it runs: a page block of the guest's kernel.
const growthUnitMiB = 4

// growthBaseMiB is the least that a VM which may grow begins with: Linux sets 64 MiB aside for devices that cannot
// reach the memory to come, which is above 4 GiB.
const growthBaseMiB = 256

// checkGrowth judges what a VM may grow to while it runs.
func checkGrowth(s *VMSpec) (out []fault.Detail) {
	wrong := func(field, format string, args ...any) {
		out = append(out, fault.Detail{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if s.MaxCPUs != 0 && (s.MaxCPUs < s.CPUs || s.MaxCPUs > MaxCPUs) {
		wrong("spec.maxCPUs", "%d is not between cpus, which is %d, and %d; leave it out for processors whose number changes while the VM is stopped", s.MaxCPUs, s.CPUs, MaxCPUs)
	}
	switch {
	case s.MaxMemoryMiB == 0:
	case s.MaxMemoryMiB < s.MemoryMiB || s.MaxMemoryMiB > MaxMemoryMiB:
		wrong("spec.maxMemoryMiB", "%d MiB is not between memoryMiB, which is %d, and %d; leave it out for memory that changes while the VM is stopped", s.MaxMemoryMiB, s.MemoryMiB, MaxMemoryMiB)
	case s.MemoryMiB < growthBaseMiB:
		wrong("spec.memoryMiB", "must be at least %d MiB where maxMemoryMiB is set: Linux sets some of it aside, and does not start with less", growthBaseMiB)
	case s.MaxMemoryMiB%growthUnitMiB != 0:
		wrong("spec.maxMemoryMiB", "must be a multiple of %d MiB: a guest takes memory in such pieces", growthUnitMiB)
	case s.MemoryMiB%growthUnitMiB != 0:
		wrong("spec.memoryMiB", "must be a multiple of %d MiB where maxMemoryMiB is set: a guest takes memory in such pieces", growthUnitMiB)
	}
	return out
}

// hotSize refuses what cannot change of a VM's size while it runs. Its guest may be given memory and processors, up to what it was
// started for; it gives back none, but memory by its balloon.
func hotSize(old *VM, spec *VMSpec, i *Instance) error {
	stop := fmt.Sprintf("stop it first: virga vm stop %s --wait", old.Name)
	switch {
	case spec.CPUs < old.Spec.CPUs:
		return fault.New(fault.Precondition, "take processors from VM %s: it runs, and a guest gives back none; limit what it gets of its host's (virga vm resize %s --cpu-limit), or %s", old.Name, old.Name, stop)
	case spec.CPUs > old.Spec.CPUs && (i == nil || i.Spec.MaxCPUs == 0):
		return fault.New(fault.Precondition, "give processors to VM %s: it runs, and was not started for more; %s, and say how many it may have then (--max-cpus)", old.Name, stop)
	case spec.CPUs > old.Spec.CPUs && spec.CPUs > i.Spec.MaxCPUs:
		return fault.New(fault.Precondition, "give VM %s %d processors: it runs, and was started for %d at most; %s", old.Name, spec.CPUs, i.Spec.MaxCPUs, stop)
	case spec.HugePages != old.Spec.HugePages:
		return fault.New(fault.Precondition, "change the pages of VM %s: it runs; %s", old.Name, stop)
	case spec.MemoryMiB == old.Spec.MemoryMiB:
		return nil
	case spec.MemoryMiB < old.Spec.MemoryMiB:
		return fault.New(fault.Precondition, "take memory from VM %s: it runs, and a guest gives back none; limit what it gets of its host's (virga vm resize %s --memory-limit %dMiB), or %s", old.Name, old.Name, spec.MemoryMiB, stop)
	case i == nil || i.Spec.MaxMemoryMiB == 0:
		return fault.New(fault.Precondition, "give memory to VM %s: it runs, and was not started for more; %s, and say how far it may grow then (--max-memory)", old.Name, stop)
	case spec.MemoryMiB > i.Spec.MaxMemoryMiB:
		return fault.New(fault.Precondition, "give VM %s %d MiB of memory: it runs, and was started for %d at most; %s", old.Name, spec.MemoryMiB, i.Spec.MaxMemoryMiB, stop)
	case spec.MemoryMiB%growthUnitMiB != 0:
		return fault.New(fault.Invalid, "give VM %s %d MiB of memory: it must be a multiple of %d MiB while the VM runs", old.Name, spec.MemoryMiB, growthUnitMiB)
	}
	return nil
}

// grownTo is what an instance has that its VM was given more of.
func grownTo(has, wanted, most int64) int64 {
	if wanted > has && wanted <= most {
		return wanted
	}
	return has
}

// booted is the memory that its guest had when it booted, in MiB: what its memory nodes have.
func (s *InstanceSpec) booted() int64 {
	if s.MaxMemoryMiB == 0 {
		return s.MemoryMiB
	}
	return s.BootMemoryMiB
}
