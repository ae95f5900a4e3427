package compute

import (
	"fmt"
	"slices"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// Front is what the API does for compute: it turns requests into records, all in one commit.
type Front struct {
	VMs     *store.SpecWriter[VMSpec, VMStatus]
	Volumes *store.SpecWriter[storage.VolumeSpec, storage.VolumeStatus]
	Ports   *store.SpecWriter[network.PortSpec, network.PortStatus]
	// VMSnapshots are those of VMs, Snapshots those of their volumes.
	VMSnapshots *store.SpecWriter[VMSnapshotSpec, VMSnapshotStatus]
	Snapshots   *store.SpecWriter[storage.VolumeSnapshotSpec, storage.VolumeSnapshotStatus]
	// VMStatuses is the VM loop's right: the commit that gives a disk its volume and a NIC its port notes them.
	VMStatuses *store.StatusWriter[VMSpec, VMStatus]
	Operations *store.SpecWriter[operation.Spec, operation.Status]
	Placer     Placer
}

// ruled refuses affinity rules that are not the project's own, or are named twice.
func ruled(snap *store.Snapshot, project resource.ID, spec *VMSpec) error {
	for n, id := range spec.AffinityRuleIDs {
		r := store.Find(snap, placement.AffinityRules, id)
		if r == nil || r.Project != project {
			return fault.New(fault.NotFound, "there is no affinity rule %q in project %s; virga affinity-rule list shows them", id, snap.NameOf(project))
		}
		if slices.Contains(spec.AffinityRuleIDs[:n], id) {
			return fault.New(fault.Invalid, "affinity rule %s is named twice; name it once", r.Name)
		}
	}
	return nil
}

// Create makes the disks and ports of a new VM, whose spec was judged by itself, and puts them into the
// batch. What is wrong is said before anything is written.
func (f *Front) Create(snap *store.Snapshot, b *store.Batch, vm *VM) error {
	image, err := findImage(snap, vm)
	if err != nil {
		return err
	}
	if id := vm.Spec.HostID; id != "" && store.Find(snap, host.Hosts, id) == nil {
		return fault.New(fault.NotFound, "create VM %s: no host %q; see virga host list", vm.Name, id)
	}
	if err := ruled(snap, vm.Project, &vm.Spec); err != nil {
		return fault.Wrap(err, "create VM %s", vm.Name)
	}
	vm.Status.UID = UIDFor(vm.ID, 0)
	model, _ := vm.Spec.models()
	planned, err := planDisks(vm.Spec.Disks, image, model)
	if err != nil {
		return err
	}
	d := &fitting{f: f, snap: snap, b: b, vm: vm}
	vm.Spec.Disks = nil
	for _, p := range planned {
		vm.Spec.Disks = append(vm.Spec.Disks, p.Disk)
		if err := d.addDisk(p.Disk, p.base); err != nil {
			return err
		}
	}
	if err := bootable(vm); err != nil {
		return err
	}
	d.nameNICs(vm.Spec.NICs, nil)
	for i := range vm.Spec.NICs {
		if err := d.addNIC(&vm.Spec.NICs[i]); err != nil {
			return err
		}
	}
	vm.Status.Disks, vm.Status.NICs = d.disks, d.nics
	if err := admitVM(snap, b, nil, vm); err != nil {
		return err
	}
	if vm.Spec.Power != Stopped {
		if err := f.capacityFor(snap, vm, d.volumes...); err != nil {
			return err
		}
	}
	d.write()
	return nil
}

// bootable refuses an order that names other disks than those of the VM.
func bootable(vm *VM) error {
	var out []fault.Detail
	checkBootOrder(&vm.Spec, func(field, format string, args ...any) {
		out = append(out, fault.Detail{Field: field, Message: fmt.Sprintf(format, args...)})
	})
	if len(out) == 0 {
		return nil
	}
	return fault.Fields("VM "+vm.Name, out)
}

// capacityFor refuses a VM for which no host has capacity now. A host without a heartbeat yet, or in
// maintenance, is no reason to refuse: the VM waits.
func (f *Front) capacityFor(snap *store.Snapshot, vm *VM, beside ...*storage.Volume) error {
	if err := f.Placer.Check(placing(snap, vm, beside...)); fault.Is(err, fault.Exhausted) {
		return err
	}
	return nil
}

func findImage(snap *store.Snapshot, vm *VM) (*Image, error) {
	if vm.Spec.ImageID == "" {
		return nil, nil
	}
	image, err := ImageLending.Find(snap, Images, vm.Project, string(vm.Spec.ImageID))
	switch {
	case err != nil:
		return nil, err
	case image.Deleting != nil:
		return nil, fault.New(fault.Precondition, "image %s is being deleted; choose another", image.Name)
	case image.Status.Phase != ImageReady:
		return nil, fault.New(fault.Precondition, "image %s is not ready (%s); wait for it: virga explain image %s", image.Name, image.Status.Phase, image.Name)
	case vm.Spec.MemoryMiB < image.Spec.MinMemoryMiB:
		return nil, fault.New(fault.Invalid, "image %s needs at least %d MiB of memory, given are %d", image.Name, image.Spec.MinMemoryMiB, vm.Spec.MemoryMiB)
	}
	return image, nil
}

// ownerOf is written into what is made with a VM, and goes with it.
func ownerOf(vm *VM) *resource.Ref {
	ref := vm.Ref()
	return &ref
}
