package compute

import (
	"context"
	"encoding/json"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// VMCreate is the request for a new machine.
type VMCreate struct {
	// Name is unique in the project.
	Name string `json:"name"`
	// Labels are free words for people and selectors.
	Labels map[string]string `json:"labels,omitempty"`
	// Spec is what is wanted.
	Spec VMInput `json:"spec"`
}

// Register offers machines and instances.
func (f *Front) Register(a *httpapi.API) {
	httpapi.Register(a, VMs, httpapi.Routes[VMSpec, VMStatus]{
		Specs: f.VMs, Verbs: []httpapi.Verb{httpapi.Create, httpapi.Update, httpapi.Delete}, Ready: vmReady,
		Input: httpapi.Creating(func(_ context.Context, c *httpapi.Call, in *VMCreate) (*VM, error) {
			return f.Create(c.Snapshot, c.Batch, c.Project, in.Name, in.Labels, in.Spec)
		}),
		Changing: func(_ context.Context, _ *httpapi.Call, old *VM, spec *VMSpec) error { return changing(old, spec) },
		Deleting: func(_ context.Context, c *httpapi.Call, vm *VM) error { return f.Delete(c.Snapshot, c.Batch, vm) },
	})
	httpapi.Register(a, Instances, httpapi.Routes[InstanceSpec, InstanceStatus]{})
	f.action(a, "start", "Start a machine", func(_ *httpapi.Call, b *store.Batch, vm *VM, _ *force) error { return f.Start(b, vm) })
	f.action(a, "stop", "Stop a machine", func(_ *httpapi.Call, b *store.Batch, vm *VM, in *force) error { return f.Stop(b, vm, in.Body.Force) })
	f.action(a, "restart", "Restart a machine", func(_ *httpapi.Call, b *store.Batch, vm *VM, in *force) error { return f.Restart(b, vm, in.Body.Force) })
	f.action(a, "pause", "Hold a machine in memory", func(_ *httpapi.Call, b *store.Batch, vm *VM, _ *force) error { return f.Pause(b, vm) })
	f.action(a, "resume", "Let a paused machine go on", func(_ *httpapi.Call, b *store.Batch, vm *VM, _ *force) error { return f.Resume(b, vm) })
	httpapi.Handle(a, httpapi.Op{
		ID: "migrate-vm", Method: "POST", Path: "/v1/projects/{project}/vms/{name}/migrate", Right: httpapi.Write, Tag: "vms", Status: 202,
		Summary: "Move a running machine to another host", Doc: "Gives the operation that does it.",
	}, f.migrate)
}

// force is the request for a change of power.
type force struct {
	Name string `path:"name" doc:"The machine's name or id."`
	Body struct {
		// Force does not wait for the guest.
		Force bool `json:"force,omitempty" doc:"Do not wait for the guest; stop and restart only."`
	} `required:"false"`
}

type vmAnswer struct{ Body *VM }

func (f *Front) action(a *httpapi.API, verb, summary string, do func(*httpapi.Call, *store.Batch, *VM, *force) error) {
	httpapi.Handle(a, httpapi.Op{
		ID: verb + "-vm", Method: "POST", Path: "/v1/projects/{project}/vms/{name}/" + verb, Right: httpapi.Write, Tag: "vms", Summary: summary,
	}, func(_ context.Context, c *httpapi.Call, in *force) (*vmAnswer, error) {
		vm, err := findVM(c.Snapshot, c.Project, in.Name)
		if err != nil {
			return nil, err
		}
		if err := do(c, c.Batch, vm, in); err != nil {
			return nil, err
		}
		c.Note(verb, &vm.Meta)
		return &vmAnswer{vm}, nil
	})
}

func findVM(snap *store.Snapshot, project, name string) (*VM, error) {
	if vm := store.Named(snap, VMs, project, name); vm != nil {
		return vm, nil
	}
	return nil, fault.New(fault.NotFound, "no vm %q in project %s; see virga vm list", name, project)
}

// changing refuses what cannot be changed after a machine was made.
func changing(old *VM, spec *VMSpec) error {
	kept := *spec
	kept.Description, kept.Power, kept.RestartPolicy = old.Spec.Description, old.Spec.Power, old.Spec.RestartPolicy
	kept.StopTimeoutSeconds, kept.SSHKeys, kept.UserData = old.Spec.StopTimeoutSeconds, old.Spec.SSHKeys, old.Spec.UserData
	kept.CPUs, kept.MemoryMiB = old.Spec.CPUs, old.Spec.MemoryMiB
	before, _ := json.Marshal(old.Spec)
	after, _ := json.Marshal(kept)
	if string(before) != string(after) {
		return fault.New(fault.Invalid, "change machine %s: only description, cpus, memoryMiB, restartPolicy, stopTimeoutSeconds, sshKeys, userData and power can be changed; start, stop and restart have routes of their own", old.Name)
	}
	in := VMInput{CPUs: spec.CPUs, MemoryMiB: spec.MemoryMiB, Hostname: spec.Hostname, StopTimeoutSeconds: spec.StopTimeoutSeconds,
		SSHKeys: spec.SSHKeys, UserData: spec.UserData}
	if err := fault.Fields("change machine "+old.Name, in.Check()); err != nil {
		return err
	}
	if (spec.CPUs != old.Spec.CPUs || spec.MemoryMiB != old.Spec.MemoryMiB) && old.Status.InstanceID != "" {
		return fault.New(fault.Precondition, "change the size of machine %s: it runs; stop it first", old.Name)
	}
	return nil
}

// vmReady says whether the machine is as wished, for those who wait. A machine that no host can
// take, or that crashed and must not be started again, will not become ready by waiting.
func vmReady(vm *VM) (bool, error) {
	if vm.Status.SeenGeneration < vm.Generation {
		return false, nil
	}
	if vm.Status.Phase == PhaseCrashed && vm.Status.EndedBoot >= vm.Spec.Boot && len(vm.Status.Problems) > 0 {
		return false, fault.New(fault.Precondition, "%s", vm.Status.Problems[0].Message)
	}
	switch vm.Spec.Power {
	case Running:
		return vm.Status.Phase == PhaseRunning, nil
	case Paused:
		return vm.Status.Phase == PhasePaused, nil
	}
	return vm.Status.Phase == PhaseStopped, nil
}

type migrateIn struct {
	Name string `path:"name" doc:"The machine's name or id."`
	Body struct {
		Host string `json:"host,omitempty" doc:"The name or id of the host to move to; none: the cloud chooses."`
	} `required:"false"`
}

type operationAnswer struct{ Body *operation.Operation }

func (f *Front) migrate(_ context.Context, c *httpapi.Call, in *migrateIn) (*operationAnswer, error) {
	vm, err := findVM(c.Snapshot, c.Project, in.Name)
	if err != nil {
		return nil, err
	}
	var target resource.ID
	if in.Body.Host != "" {
		h := store.Named(c.Snapshot, host.Hosts, "", in.Body.Host)
		if h == nil {
			return nil, fault.New(fault.NotFound, "no host %q; see virga host list", in.Body.Host)
		}
		target = h.ID
	}
	if err := Movable(vm, target); err != nil {
		return nil, err
	}
	if err := f.Placer.Check(moveRequest(vm, target, "migration asked for by "+c.User, "")); err != nil {
		return nil, err
	}
	if err := operation.Free(c.Snapshot, vm.Ref()); err != nil {
		return nil, err
	}
	op, err := operation.Start(c.Batch, f.Operations, operation.Definition{Type: MigrateType}, vm.Ref(), MigrateInput{HostID: target}, c.User)
	if err != nil {
		return nil, err
	}
	c.Note("migrate", &vm.Meta)
	return &operationAnswer{op}, nil
}
