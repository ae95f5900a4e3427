package compute

import (
	"context"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// Register offers VMs and instances.
func (f *Front) Register(a *httpapi.API) {
	httpapi.Register(a, VMs, httpapi.Routes[VMSpec, VMStatus]{
		Specs: f.VMs, Holders: []string{Holder}, Default: DefaultVM, Check: CheckVM, Ready: vmReady,
		Creating: func(_ context.Context, c *httpapi.Call, vm *VM) error { return f.Create(c.Snapshot, c.Batch, vm) },
		Changing: func(_ context.Context, c *httpapi.Call, old *VM, spec *VMSpec) error {
			return f.Change(c.Snapshot, c.Batch, old, spec, c.Says)
		},
		Renaming: func(c *httpapi.Call, vm *VM, name string) error { return f.Rename(c.Snapshot, c.Batch, vm, name) },
		Deleting: func(_ context.Context, c *httpapi.Call, vm *VM) error { return f.Delete(c.Snapshot, c.Batch, vm) },
	})
	httpapi.Register(a, VMSnapshots, httpapi.Routes[VMSnapshotSpec, VMSnapshotStatus]{
		Specs: f.VMSnapshots,
		Creating: func(_ context.Context, c *httpapi.Call, s *VMSnapshot) error {
			return f.CreateSnapshot(c.Snapshot, c.Batch, s)
		},
		Changing: func(_ context.Context, _ *httpapi.Call, old *VMSnapshot, spec *VMSnapshotSpec) error {
			if *spec != old.Spec {
				return fault.New(fault.Invalid, "change snapshot %s: it stays what it is; take another one", old.Name)
			}
			return nil
		},
	})
	httpapi.Action(a, VMs, httpapi.Act{Name: "revert", Summary: "Give the disks of a VM the content of one of its snapshots again", Status: 202,
		Doc: "What was written since its last snapshot is given up. All snapshots stay. The VM must be stopped."},
		func(_ context.Context, c *httpapi.Call, vm *VM, in *VMRevertRequest) (*VM, error) {
			return vm, f.RevertVM(c.Snapshot, c.Batch, vm, in)
		})
	httpapi.Register(a, Instances, httpapi.Routes[InstanceSpec, InstanceStatus]{})
	for _, verb := range []struct {
		name, summary string
		do            func(c *httpapi.Call, vm *VM, in *PowerRequest) error
	}{
		{"start", "Start a VM", func(c *httpapi.Call, vm *VM, _ *PowerRequest) error { return f.Start(c.Snapshot, c.Batch, vm) }},
		{"stop", "Stop a VM: the guest is asked, and gets its time", func(c *httpapi.Call, vm *VM, in *PowerRequest) error { return f.Stop(c.Batch, vm, in.Force) }},
		{"restart", "Restart a VM", func(c *httpapi.Call, vm *VM, in *PowerRequest) error {
			return f.Restart(c.Snapshot, c.Batch, vm, in.Force, in.Token)
		}},
		{"pause", "Hold a VM in memory", func(c *httpapi.Call, vm *VM, _ *PowerRequest) error { return f.Pause(c.Batch, vm) }},
		{"resume", "Let a paused VM go on", func(c *httpapi.Call, vm *VM, _ *PowerRequest) error { return f.Resume(c.Batch, vm) }},
	} {
		httpapi.Action(a, VMs, httpapi.Act{Name: verb.name, Summary: verb.summary},
			func(_ context.Context, c *httpapi.Call, vm *VM, in *PowerRequest) (*VM, error) {
				return vm, verb.do(c, vm, in)
			})
	}
	httpapi.Action(a, VMs, httpapi.Act{
		Name: "migrate", Summary: "Migrate a running VM to another host", Doc: "Gives the operation that does it.", Status: 202,
	}, f.migrate)
}

// PowerRequest is the request for a change of power.
type PowerRequest struct {
	// Force does not wait for the guest; stop and restart only.
	Force bool `json:"force,omitempty"`
	// Token makes a restart that may be repeated: with the same word a VM restarts once. None: each
	// request is another restart.
	Token string `json:"token,omitempty" maxLength:"200"`
}

func findVM(snap *store.Snapshot, project resource.ID, name string) (*VM, error) {
	if vm := store.Named(snap, VMs, project, name); vm != nil {
		return vm, nil
	}
	return nil, fault.New(fault.NotFound, "no vm %q in project %s; see virga vm list", name, snap.NameOf(project))
}

// vmReady says whether the VM is as specified, for those who wait. A VM that no host can
// take, or that crashed and must not be started again, will not become ready by waiting.
func vmReady(vm *VM) (bool, error) {
	if vm.Status.SeenGeneration < vm.Generation {
		return false, nil
	}
	if vm.Status.Phase == PhaseCrashed && vm.Status.EndedBoot >= Boot(vm) && len(vm.Status.Problems) > 0 {
		return false, fault.New(fault.Precondition, "%s", vm.Status.Problems[0].Message)
	}
	if slices.ContainsFunc(vm.Status.Devices, func(d Device) bool { return d.State == DeviceWaiting || d.State == DeviceDetaching }) {
		return false, nil
	}
	switch vm.Spec.Power {
	case Running:
		return vm.Status.Phase == PhaseRunning, nil
	case Paused:
		return vm.Status.Phase == PhasePaused, nil
	}
	return vm.Status.Phase == PhaseStopped, nil
}

// MigrateRequest is the request for a move.
type MigrateRequest struct {
	// Host is the name or id of the host to move to; none: the cloud chooses.
	Host string `json:"host,omitempty"`
	// WithinSeconds is how long it may take: a move that is before its switch then is undone; 0: as long as it takes.
	WithinSeconds int64 `json:"withinSeconds,omitempty" minimum:"0"`
}

func (f *Front) migrate(_ context.Context, c *httpapi.Call, vm *VM, in *MigrateRequest) (*operation.Operation, error) {
	var target resource.ID
	if in.Host != "" {
		h := store.Named(c.Snapshot, host.Hosts, "", in.Host)
		if h == nil {
			return nil, fault.New(fault.NotFound, "no host %q; see virga host list", in.Host)
		}
		target = h.ID
	}
	if err := f.movable(c.Snapshot, vm, target, c.User); err != nil {
		return nil, err
	}
	return operation.Start(c.Batch, f.Operations, operation.Request{
		Type: MigrateType, Targets: []resource.Ref{vm.Ref()}, Input: MigrateInput{HostID: target}, By: c.User, Deadline: deadline(c.Now(), in.WithinSeconds),
	})
}

// movable refuses a move that could not begin now; target is empty where the cloud chooses.
func (f *Front) movable(snap *store.Snapshot, vm *VM, target resource.ID, by string) error {
	if err := Movable(vm, target); err != nil {
		return err
	}
	if err := f.Placer.Check(moving(snap, vm, target, "migration asked for by "+by, "")); err != nil {
		return err
	}
	return operation.Free(snap, vm.Ref())
}

// CheckMigration says why a VM cannot be moved to another host now; nil: it can.
func (f *Front) CheckMigration(snap *store.Snapshot, vm *VM, by string) error {
	return f.movable(snap, vm, "", by)
}

// StartMigration puts the operation that moves a VM to another host, which the cloud chooses, into a batch.
func (f *Front) StartMigration(b *store.Batch, vm *VM, by string) error {
	_, err := operation.Start(b, f.Operations, operation.Request{Type: MigrateType, Targets: []resource.Ref{vm.Ref()}, Input: MigrateInput{}, By: by})
	return err
}

// deadline is so many seconds from now; none: never.
func deadline(now time.Time, seconds int64) time.Time {
	if seconds <= 0 {
		return time.Time{}
	}
	return now.Add(time.Duration(seconds) * time.Second)
}
