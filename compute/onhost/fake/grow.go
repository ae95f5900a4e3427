package fake

import (
	"context"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Grow implements onhost.Grower.
func (h *Hypervisor) Grow(_ context.Context, id resource.ID, disk int, sizeMiB int64) error {
	return h.alive(id, func(g *guest) error {
		switch {
		case disk >= len(g.vm.Disks):
			return fault.New(fault.NotFound, "instance %s has no disk %d", id, disk)
		case g.State == onhost.Incoming || g.State == onhost.Received || g.State == onhost.Sent:
			return fault.New(fault.Precondition, "instance %s does not have its disks open: it is %s", id, g.State)
		case h.sizeOf(g, disk) >= sizeMiB:
			return nil
		case h.Resize != nil:
			return h.Resize(g.vm.Disks[disk], sizeMiB)
		}
		if g.sizes == nil {
			g.sizes = map[int]int64{}
		}
		g.sizes[disk] = sizeMiB
		return nil
	})
}

// DiskMiB is the size of a guest's disk.
func (h *Hypervisor) DiskMiB(id resource.ID, disk int) int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.guests[id]; g != nil {
		return h.sizeOf(g, disk)
	}
	return 0
}

func (h *Hypervisor) sizeOf(g *guest, disk int) int64 {
	if h.SizeOf != nil {
		return h.SizeOf(g.vm.Disks[disk])
	}
	return g.sizes[disk]
}
