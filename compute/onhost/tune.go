package onhost

import (
	"context"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// tune makes memory, virtual CPUs and disks of a guest as large as specified, and holds disks to their limits, once for each change
// of the desired state. A guest that moves is left alone meanwhile: its target opens the same files, and is
// asked after the switch. If we die after QEMU has done it, the next one finds it done.
func (k *Supervisor) tune(ctx context.Context, i *compute.Instance, g Guest) error {
	open := g.State == Running || g.State == Paused
	if !open || i.Spec.Outgoing != nil || g.Transfer.State == TransferActive || k.isTuned(i) {
		return nil
	}
	met := []error{k.growMemory(ctx, i), k.growCPUs(ctx, i)}
	fits := true
	for _, d := range i.Spec.Disks {
		err := k.tuneDisk(ctx, i.ID, d)
		if fault.Is(err, fault.NotFound) { // it is not attached yet
			fits, err = false, nil
		}
		met = append(met, err)
	}
	err := together(met...)
	k.mu.Lock()
	defer k.mu.Unlock()
	if fits && err == nil {
		k.tuned[i.ID] = i.Generation
	}
	return err
}

// growMemory gives a guest the memory that it was not started with.
func (k *Supervisor) growMemory(ctx context.Context, i *compute.Instance) error {
	hv, can := k.hv.(MemoryGrower)
	if !can || i.Spec.MaxMemoryMiB == 0 {
		return nil
	}
	return fault.Wrap(hv.GrowMemory(ctx, i.ID, i.Spec.MemoryMiB), "give instance %s %d MiB of memory", i.ID, i.Spec.MemoryMiB)
}

// growCPUs gives a guest the virtual CPUs that it was not started with.
func (k *Supervisor) growCPUs(ctx context.Context, i *compute.Instance) error {
	hv, can := k.hv.(CPUGrower)
	if !can || i.Spec.MaxCPUs == 0 {
		return nil
	}
	return fault.Wrap(hv.GrowCPUs(ctx, i.ID, i.Spec.CPUs), "give instance %s %d virtual CPUs", i.ID, i.Spec.CPUs)
}

func (k *Supervisor) tuneDisk(ctx context.Context, id resource.ID, d compute.InstanceDisk) error {
	if hv, can := k.hv.(Grower); can && d.SizeMiB > 0 {
		if err := hv.Grow(ctx, id, d.VolumeID, d.SizeMiB); err != nil {
			return fault.Wrap(err, "grow disk %s to %d MiB", d.VolumeID, d.SizeMiB)
		}
	}
	if hv, can := k.hv.(Limiter); can {
		return fault.Wrap(hv.Limit(ctx, id, d.VolumeID, d.Limits), "limit disk %s", d.VolumeID)
	}
	return nil
}

func (k *Supervisor) isTuned(i *compute.Instance) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.tuned[i.ID] == i.Generation
}
