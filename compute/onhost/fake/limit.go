package fake

import (
	"context"
	"slices"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Limit implements onhost.Limiter.
func (h *Hypervisor) Limit(_ context.Context, id, volumeID resource.ID, l compute.DiskLimits) error {
	return h.opened(id, func(g *guest) error {
		at := slices.IndexFunc(g.vm.Disks, func(d onhost.Disk) bool { return d.ID == volumeID })
		if at < 0 {
			return fault.New(fault.NotFound, "instance %s has no disk %s", id, volumeID)
		}
		g.vm.Disks = slices.Clone(g.vm.Disks)
		g.vm.Disks[at].Limits = l
		return nil
	})
}
