package fake

import (
	"context"
	"slices"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Grow implements onhost.Grower.
func (h *Hypervisor) Grow(_ context.Context, id, volumeID resource.ID, sizeMiB int64) error {
	return h.alive(id, func(g *guest) error {
		at := slices.IndexFunc(g.vm.Disks, func(d onhost.Disk) bool { return d.ID == volumeID })
		if at < 0 {
			return fault.New(fault.NotFound, "instance %s has no disk %s", id, volumeID)
		}
		disk := g.vm.Disks[at]
		switch {
		case g.State == onhost.Incoming || g.State == onhost.Received || g.State == onhost.Sent:
			return fault.New(fault.Precondition, "instance %s does not have its disks open: it is %s", id, g.State)
		case h.sizeOf(g, disk) >= sizeMiB:
			return nil
		case h.Resize != nil:
			return h.Resize(disk, sizeMiB)
		}
		if g.sizes == nil {
			g.sizes = map[resource.ID]int64{}
		}
		g.sizes[volumeID] = sizeMiB
		return nil
	})
}

// DiskMiB is the size of a guest's disk.
func (h *Hypervisor) DiskMiB(id, volumeID resource.ID) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.guests[id]; g != nil {
		if at := slices.IndexFunc(g.vm.Disks, func(d onhost.Disk) bool { return d.ID == volumeID }); at >= 0 {
			return h.sizeOf(g, g.vm.Disks[at])
		}
	}
	return 0
}

func (h *Hypervisor) sizeOf(g *guest, disk onhost.Disk) int64 {
	if h.SizeOf != nil {
		return h.SizeOf(disk)
	}
	return g.sizes[disk.ID]
}

// GrowMemory implements onhost.MemoryGrower. The guest takes it at once.
func (h *Hypervisor) GrowMemory(_ context.Context, id resource.ID, mib int64) error {
	return h.alive(id, func(g *guest) error {
		switch {
		case g.vm.MaxMemoryMiB == 0:
			return fault.New(fault.Precondition, "instance %s was not started for more memory", id)
		case mib > g.vm.MaxMemoryMiB:
			return fault.New(fault.Invalid, "instance %s was started for %d MiB of memory at most", id, g.vm.MaxMemoryMiB)
		}
		g.vm.MemoryMiB = mib
		return nil
	})
}

// GrownMemory implements onhost.MemoryGrower.
func (h *Hypervisor) GrownMemory(_ context.Context, id resource.ID) (mib int64, err error) {
	err = h.alive(id, func(g *guest) error {
		mib = g.vm.MemoryMiB
		return nil
	})
	return mib, err
}

// GrowCPUs implements onhost.CPUGrower.
func (h *Hypervisor) GrowCPUs(_ context.Context, id resource.ID, cpus int64) error {
	return h.alive(id, func(g *guest) error {
		if cpus > max(g.vm.CPUs, g.vm.MaxCPUs) {
			return fault.New(fault.Precondition, "instance %s was started for %d virtual CPUs at most", id, max(g.vm.CPUs, g.vm.MaxCPUs))
		}
		g.vm.CPUs = max(g.vm.CPUs, cpus)
		return nil
	})
}
