package compute

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// deviceRetry is how long a device waits that could not be attached, until it is tried again.
const deviceRetry = 5 * time.Second

// steady is how long an instance must run until earlier crashes are forgotten.
const steady = 10 * time.Minute

// Loop keeps every VM true.
func (c *Controller) Loop() *reconcile.Loop {
	also := map[resource.Kind]func(resource.Object) []resource.ID{
		host.Livenesses.Kind:     func(x resource.Object) []resource.ID { return c.referring(x.(*host.Liveness).Spec.HostID) },
		host.Removals.Kind:       func(x resource.Object) []resource.ID { return c.referring(x.(*host.Removal).Spec.HostID) },
		storage.Volumes.Kind:     func(x resource.Object) []resource.ID { return c.referring(x.Head().ID) },
		storage.Allocations.Kind: func(x resource.Object) []resource.ID { return c.referring(x.(*storage.Allocation).Spec.VolumeID) },
	}
	for _, kind := range placement.Kinds {
		concerned := also[kind]
		also[kind] = func(x resource.Object) (ids []resource.ID) {
			if placement.MayFree(c.db.Snapshot(), x) {
				ids = c.waiting.wake()
			}
			if concerned != nil {
				ids = append(ids, concerned(x)...)
			}
			return ids
		}
	}
	return &reconcile.Loop{Name: "compute/vm", Kind: VMs.Kind, Workers: 4, Step: c.step, Also: also}
}

// referring lists the VMs of a host whose life has changed, or with a disk that has changed.
func (c *Controller) referring(id resource.ID) []resource.ID {
	var out []resource.ID
	for _, vm := range store.Referring(c.db.Snapshot(), VMs, id) {
		out = append(out, vm.ID)
	}
	return out
}

func (c *Controller) gather(snap *store.Snapshot, vm *VM) facts {
	f := facts{vm: vm, now: c.db.Now(), instance: store.Find(snap, Instances, vm.Status.InstanceID), hostLife: host.Alive}
	for _, i := range store.Referring(snap, Instances, vm.ID) {
		if i.ID != vm.Status.InstanceID {
			f.others++
		}
	}
	if f.instance != nil {
		for _, a := range store.Referring(snap, storage.Attachments, f.instance.ID) {
			f.highest = max(f.highest, a.Status.HighestEpoch)
		}
		f.hostLife, f.removed = host.StateOf(snap, f.instance.Spec.HostID), host.Removed(snap, f.instance.Spec.HostID)
	}
	f.inHands = hands(snap, vm) != nil
	f.free = released(snap, vm)
	return f
}

func (c *Controller) step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap := c.db.Snapshot()
	vm := store.Find(snap, VMs, id)
	if vm == nil {
		return reconcile.Result{}, nil
	}
	f := c.gather(snap, vm)
	p := decide(f)
	result := reconcile.Result{After: p.after}
	switch p.act {
	case actPlace:
		return c.place(ctx, snap, vm)
	case actSteer:
		return c.steer(ctx, snap, f, p)
	case actReap:
		return result, c.reap(ctx, snap, vm, f.instance)
	case actRenew:
		return result, c.renew(ctx, snap, f)
	case actDelete:
		return result, c.delete(ctx, snap, vm, f)
	case actAwait:
		return result, c.await(ctx, snap, vm, p.phase)
	}
	return result, c.report(ctx, snap, vm, p.phase, restProblem(vm, p.phase))
}

// restProblem goes on saying why a VM that crashed does not run, as long as it does not.
func restProblem(vm *VM, phase string) error {
	if phase != PhaseCrashed {
		return nil
	}
	return crashProblem(vm, ending{crashed: true, bootOver: vm.Status.EndedBoot >= Boot(vm)}, vm.Status.CrashMessage)
}

// report writes the phase and what people want to see.
func (c *Controller) report(ctx context.Context, snap *store.Snapshot, vm *VM, phase string, problem error) error {
	b := c.db.Begin()
	c.put(b, snap, vm, phase, problem, func(*VMStatus) {})
	return c.db.Commit(ctx, b)
}

func (c *Controller) put(b *store.Batch, snap *store.Snapshot, vm *VM, phase string, problem error, more func(*VMStatus)) {
	if problem == nil && phase == PhaseUnknown {
		problem = fault.New(fault.Unavailable, "host %s is unreachable, so nobody knows whether the VM runs; %s",
			host.NameOf(snap, vm.Status.HostID), host.WayOut(snap, vm.Status.HostID)).
			ForTenants("its host is unreachable, so nobody knows whether the VM runs; wait, or ask an operator")
	}
	c.w.VMStatuses.Set(b, vm, func(s *VMStatus) {
		s.SeenGeneration, s.Phase, s.Addresses = vm.Generation, phase, addresses(snap, vm)
		s.Boot, s.BootToken = Boot(vm), vm.Spec.BootToken
		if s.EndedBoot < s.Boot {
			s.EndedWhy = "" // how the boot before ended explains nothing any more
		}
		kind, message := "", ""
		if problem != nil {
			kind, message = string(fault.KindOf(problem)), problem.Error()
		}
		s.Problems = resource.SetProblem(s.Problems, kind, message, c.db.Now(), fault.OutsideOf(problem))
		more(s)
	})
}

// place chooses a host and makes the instance, the claim and the new epoch in one commit.
func (c *Controller) place(ctx context.Context, snap *store.Snapshot, vm *VM) (reconcile.Result, error) {
	if phase, why := c.notReady(snap, vm); why != nil {
		return reconcile.Result{After: time.Minute}, c.report(ctx, snap, vm, phase, why)
	}
	devices, err := addressDevices(vm.Status.Devices, wantedDevices(vm), 0)
	if err != nil {
		return reconcile.Result{}, c.report(ctx, snap, vm, PhasePending, err)
	}
	epoch := c.nextEpoch(vm)
	request := placing(snap, vm)
	request.Epoch, request.Why = epoch, fmt.Sprintf("start of boot %d", Boot(vm))
	c.waiting.add(vm.ID) // before it is refused: what is given back from here on wakes it
	err = c.placer.Place(ctx, request, func(b *store.Batch, on placement.Choice) error {
		i, err := c.newInstance(b, snap, vm, on.HostID, epoch, fmt.Sprintf("%s-%d", vm.ID, epoch), devices,
			func(s *InstanceSpec) { s.Run, s.NUMA = startingRun(vm), on.NUMA })
		if err != nil {
			return err
		}
		c.put(b, snap, vm, PhaseStarting, nil, func(s *VMStatus) {
			s.InstanceID, s.HostID, s.Epoch, s.Accelerator = i.ID, on.HostID, epoch, i.Spec.Accelerator
			s.Devices = devices
		})
		return nil
	})
	switch fault.KindOf(err) {
	case "":
		c.waiting.forget(vm.ID)
		return reconcile.Result{}, nil
	case fault.Exhausted, fault.Precondition, fault.Unavailable, fault.NotFound:
		// No host now. Capacity that is given back, hosts and datastores wake it; else it looks again.
		after, err := c.keepReason(vm, err)
		return reconcile.Result{After: after}, c.report(ctx, snap, vm, PhasePending, err)
	}
	return reconcile.Result{}, fault.Wrap(err, "place VM %s", vm.Name)
}

// keepReason says when a VM that was refused asks again, and keeps the words of the refusal before
// where only its figures have moved: there is nothing to write then.
func (c *Controller) keepReason(vm *VM, refused error) (time.Duration, error) {
	after := firstRetry
	for _, p := range vm.Status.Problems {
		if p.Kind == string(fault.KindOf(refused)) && placement.SameReasons(p.Message, refused.Error()) {
			kept := fault.New(fault.Kind(p.Kind), "%s", p.Message)
			kept.Outside = p.Outside
			after, refused = retryAfter(c.db.Now().Sub(p.Since)), kept
		}
	}
	return after, refused
}

// nextEpoch is higher than any that this VM has had, and any that another has had before it: a
// disk remembers the highest that opened it, and may have been another VM's. An epoch is
// written by a commit, so it is always below the revision of that commit, and a revision that was
// seen is above all epochs that were seen.
func (c *Controller) nextEpoch(vm *VM) int64 { return max(vm.Status.Epoch+1, c.db.Revision()) }

func startingRun(vm *VM) Run {
	if vm.Spec.Power == Paused {
		return RunPaused
	}
	return RunRunning
}

// notReady says which disk can never come, or which host, so that waiting would be in vain.
func (c *Controller) notReady(snap *store.Snapshot, vm *VM) (phase string, why error) {
	for _, d := range vm.Status.Disks {
		v := store.Find(snap, storage.Volumes, d.VolumeID)
		held := heldElsewhere(snap, vm, Device{Kind: DiskDevice, ID: d.VolumeID})
		switch {
		case held != nil:
			return PhasePending, held
		case v == nil:
			return PhasePending, fault.New(fault.Precondition, "disk %s of VM %s is gone; delete the VM, or take the disk out", d.VolumeID, vm.Name)
		case v.Status.Phase == storage.VolumeLost:
			return PhaseStopped, fault.New(fault.Precondition, "disk %s is lost: it %s; delete the VM, or make it anew from an image or a backup",
				v.Name, storage.LostWith(snap, v))
		case v.Status.Phase == storage.VolumeFailed && len(v.Status.Problems) > 0:
			return PhasePending, fault.New(fault.Precondition, "disk %s: %s", v.Name, v.Status.Problems[0].Message)
		}
	}
	if host.Removed(snap, vm.Spec.HostID) {
		return PhaseStopped, fault.New(fault.Precondition, "VM %s is pinned to its host, which %s; delete the VM, or make it anew", vm.Name, host.EndOf(snap, vm.Spec.HostID))
	}
	return "", nil
}

// diskTrouble says why a disk is not there yet: what the instance sees is only that it waits.
func diskTrouble(snap *store.Snapshot, vm *VM) error {
	for _, d := range vm.Status.Disks {
		v := store.Find(snap, storage.Volumes, d.VolumeID)
		if v != nil && v.Status.Phase != storage.VolumeReady && len(v.Status.Problems) > 0 {
			return fault.New(fault.Kind(v.Status.Problems[0].Kind), "disk %s: %s", v.Name, v.Status.Problems[0].Message)
		}
	}
	return nil
}

// steer gives the instance what is wanted for it. What it is to have reserved its host must have first: as long
// as it has not, the instance keeps the reservation that it has.
func (c *Controller) steer(ctx context.Context, snap *store.Snapshot, f facts, p plan) (reconcile.Result, error) {
	vm, claim, result := f.vm, claimOn(snap, f.vm, f.instance.Spec.HostID), reconcile.Result{}
	tell := func(b *store.Batch, refused error) (err error) {
		result.After, err = c.tell(b, snap, f, p, refused)
		return err
	}
	if claim != nil && claim.Spec.Demand != demandOf(&vm.Spec) {
		err := c.placer.Resize(ctx, claim, "VM "+vm.Name, demandOf(&vm.Spec), func(b *store.Batch) error { return tell(b, nil) })
		if !fault.Is(err, fault.Exhausted) && !fault.Is(err, fault.Precondition) {
			return result, err
		}
		c.waiting.add(vm.ID)
		after, refused := c.keepReason(vm, err)
		b := c.db.Begin()
		if err := tell(b, refused); err != nil {
			return result, err
		}
		result.After = after
		return result, c.db.Commit(ctx, b)
	}
	b := c.db.Begin()
	if err := tell(b, nil); err != nil {
		return result, err
	}
	return result, c.db.Commit(ctx, b)
}

// tell says to the instance what is wanted of it, and passes on what it reports. Refused is why it cannot have
// what its VM is to have reserved.
func (c *Controller) tell(b *store.Batch, snap *store.Snapshot, f facts, p plan, refused error) (time.Duration, error) {
	vm, i := f.vm, f.instance
	cpu, memory := vm.Spec.CPUPolicy, vm.Spec.MemoryPolicy
	if refused != nil {
		cpu.CPUReservationMHz, memory.MemoryReservationMiB = i.Spec.CPUReservationMHz, i.Spec.MemoryReservationMiB
	}
	change, epoch := deviceChange{table: vm.Status.Devices}, vm.Status.Epoch
	if p.run == RunRunning || p.run == RunPaused {
		var err error
		if change, epoch, err = c.changeDevices(b, snap, vm, i); err != nil {
			return 0, err
		}
	}
	c.w.Instances.Set(b, i, func(s *InstanceSpec) {
		s.Run, s.StopTimeoutSeconds, s.Outgoing, s.CPUPolicy, s.MemoryPolicy = p.run, vm.Spec.StopTimeoutSeconds, nil, cpu, memory
		s.PoolID = vm.Spec.PoolID
		if refused == nil {
			s.MemoryMiB = grownTo(s.MemoryMiB, vm.Spec.MemoryMiB, s.MaxMemoryMiB)
			s.CPUs = grownTo(s.CPUs, vm.Spec.CPUs, s.MaxCPUs)
		}
		for n := range s.Disks {
			s.Disks[n].SizeMiB = max(s.Disks[n].SizeMiB, diskSize(snap, s.Disks[n].VolumeID))
			if limits, has := limitsOf(vm, s.Disks[n].VolumeID); has { // one that leaves keeps its own to the end
				s.Disks[n].Limits = limits
			}
		}
	})
	if claim := claimOn(snap, vm, i.Spec.HostID); claim != nil {
		c.placer.SetRules(b, claim, vm.Spec.AffinityRuleIDs)
	}
	c.endOthers(b, snap, vm)
	problem := diskTrouble(snap, vm)
	if problem == nil && len(i.Status.Problems) > 0 {
		problem = fault.New(fault.Kind(i.Status.Problems[0].Kind), "%s", i.Status.Problems[0].Message)
	}
	if problem == nil {
		problem = change.problem
	}
	if problem == nil {
		problem = refused
	}
	if vm.Status.Phase != PhaseRunning && p.phase == PhaseRunning {
		c.events.Record(b, vm.Ref(), vm.Name, "info", "running", "the VM runs on host "+host.NameOf(snap, i.Spec.HostID), "compute", "the VM runs")
	}
	calm := i.Status.Phase == InstanceRunning && f.now.Sub(i.Status.StartedAt) > steady
	c.put(b, snap, vm, p.phase, problem, func(s *VMStatus) {
		s.StartedAt, s.OperationID, s.Devices, s.Epoch = i.Status.StartedAt, "", change.table, epoch
		if calm {
			s.Crashes, s.RetryAt, s.CrashMessage = 0, time.Time{}, ""
		}
	})
	switch {
	case change.problem != nil:
		return deviceRetry, nil
	case vm.Status.Crashes > 0 && !calm:
		return steady, nil
	}
	return 0, nil
}

// renew gives up an instance that has never run and whose disks refuse it: their files know a higher
// epoch than the records, which were restored from a backup. The next one gets an epoch above it.
func (c *Controller) renew(ctx context.Context, snap *store.Snapshot, f facts) error {
	vm, i := f.vm, f.instance
	why := fault.New(fault.Unavailable, "a disk of VM %s was opened with epoch %d after these records were written, and they say %d: the VM gets a higher one and starts again",
		vm.Name, f.highest, i.Spec.Epoch)
	b := c.db.Begin()
	c.w.Instances.Set(b, i, func(s *InstanceSpec) { s.Run = RunKilled })
	c.endInstance(b, snap, i)
	c.placer.Release(b, vm.Ref(), "")
	c.events.Record(b, vm.Ref(), vm.Name, "warning", "epoch-raised", why.Error(), "compute")
	c.put(b, snap, vm, PhasePending, why, func(s *VMStatus) {
		s.InstanceID, s.StartedAt, s.Epoch = "", time.Time{}, max(s.Epoch, f.highest)
	})
	return c.db.Commit(ctx, b)
}

// exitOf says how an instance ended. Of one on a host that was removed nobody can tell; nothing of
// it runs any more.
func exitOf(snap *store.Snapshot, i *Instance) (exit Exit, message string) {
	if i.Status.Phase != InstanceStopped && host.Removed(snap, i.Spec.HostID) {
		return ExitLost, "it went with its host, which " + host.EndOf(snap, i.Spec.HostID)
	}
	return i.Status.Exit, i.Status.ExitMessage
}

// reap writes down how an instance ended, frees what it used, and says when to start again.
func (c *Controller) reap(ctx context.Context, snap *store.Snapshot, vm *VM, i *Instance) error {
	exit, why := exitOf(snap, i)
	end := judge(vm, i, exit)
	b := c.db.Begin()
	c.endInstance(b, snap, i)
	c.placer.Release(b, vm.Ref(), "")
	message := "the VM stopped: " + string(exit)
	if why != "" {
		message += ": " + why
	}
	severity := "info"
	if end.crashed {
		severity = "error"
	}
	c.events.Record(b, vm.Ref(), vm.Name, severity, string(exit), message, "compute")
	phase := PhaseStopping
	if end.crashed {
		phase = PhaseCrashed
	}
	c.put(b, snap, vm, phase, crashProblem(vm, end, message), func(s *VMStatus) {
		s.InstanceID, s.StartedAt, s.OperationID, s.Devices = "", time.Time{}, "", stoppedDevices(vm)
		if end.crashed {
			if s.CrashBoot != i.Spec.Boot {
				s.Crashes, s.CrashBoot = 0, i.Spec.Boot
			}
			s.Crashes++
			s.CrashMessage = message
			s.RetryAt = c.db.Now().Add(crashPause(s.Crashes))
		} else {
			s.Crashes, s.RetryAt, s.CrashMessage = 0, time.Time{}, ""
		}
		if end.bootOver {
			s.EndedBoot, s.EndedWhy = max(s.EndedBoot, i.Spec.Boot), string(exit)
			if end.crashed {
				s.EndedWhy = string(ExitCrashed)
			}
		}
	})
	return c.db.Commit(ctx, b)
}

// crashProblem says that a guest or its QEMU died, which is no bug of the cloud's: who waits
// waits on, or acts.
func crashProblem(vm *VM, end ending, message string) error {
	if !end.crashed {
		return nil
	}
	if end.bootOver {
		return fault.New(fault.Precondition, "%s; by its restart policy (%s) it is not started again: virga vm start %s", message, vm.Spec.RestartPolicy, vm.Name)
	}
	return fault.New(fault.Unavailable, "%s; by its restart policy (%s) it is started again soon", message, vm.Spec.RestartPolicy)
}

// await waits for an old instance to go and sees that nothing keeps it.
func (c *Controller) await(ctx context.Context, snap *store.Snapshot, vm *VM, phase string) error {
	b := c.db.Begin()
	c.endOthers(b, snap, vm)
	c.put(b, snap, vm, phase, c.stuck(snap, vm), func(*VMStatus) {})
	return c.db.Commit(ctx, b)
}

// endOthers ends what is not the VM (any more), and what such instances left behind: a
// migration does not wait for a host that is lost, and what it had there is found here.
func (c *Controller) endOthers(b *store.Batch, snap *store.Snapshot, vm *VM) {
	c.deleteLeftovers(b, snap, vm)
	for _, i := range store.Referring(snap, Instances, vm.ID) {
		if i.ID != vm.Status.InstanceID {
			c.w.Instances.Set(b, i, func(s *InstanceSpec) { s.Run = RunKilled })
			c.w.Instances.Delete(b, i)
		}
	}
}

// stuck says that what is to go is in the hands of a host that is unreachable.
func (c *Controller) stuck(snap *store.Snapshot, vm *VM) error {
	var hosts []resource.ID
	for _, i := range store.Referring(snap, Instances, vm.ID) {
		hosts = append(hosts, i.Spec.HostID)
	}
	for _, a := range store.Referring(snap, storage.Attachments, vm.ID) {
		hosts = append(hosts, a.Spec.HostID)
	}
	for _, p := range store.Referring(snap, network.PortBindings, vm.ID) {
		hosts = append(hosts, p.Spec.HostID)
	}
	for _, id := range hosts {
		if host.StateOf(snap, id) == host.Lost && !host.Removed(snap, id) {
			return fault.New(fault.Unavailable, "waits for host %s, which is unreachable, to let go of the VM; %s",
				host.NameOf(snap, id), host.WayOut(snap, id)).ForTenants("waits for a host, which is unreachable, to let go of the VM; wait, or ask an operator")
		}
	}
	return nil
}

// delete ends all instances, then frees what they used, then lets the VM go.
func (c *Controller) delete(ctx context.Context, snap *store.Snapshot, vm *VM, f facts) error {
	b := c.db.Begin()
	instances := store.Referring(snap, Instances, vm.ID)
	for _, i := range instances {
		c.w.Instances.Set(b, i, func(s *InstanceSpec) { s.Run = RunKilled })
		c.w.Instances.Delete(b, i)
	}
	if len(instances) == 0 {
		c.deleteLeftovers(b, snap, vm)
	}
	if len(instances) == 0 && f.free {
		c.placer.Release(b, vm.Ref(), "")
		store.Release(b, vm, Holder)
		return c.db.Commit(ctx, b)
	}
	c.put(b, snap, vm, PhaseDeleting, c.stuck(snap, vm), func(*VMStatus) {})
	return c.db.Commit(ctx, b)
}

func prefixLength(cidr string) int64 {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return 0
	}
	return int64(p.Bits())
}
