package sim

import (
	"fmt"
	"slices"

	"github.com/virga-cloud/virga/compute"
	computeon "github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// changeDisk gives a VM a volume, or takes it away, as the API does.
func (c *Cluster) changeDisk(name, volume string, attach bool) error {
	return c.change(name, func(spec *compute.VMSpec) {
		spec.Disks = slices.DeleteFunc(slices.Clone(spec.Disks), func(d compute.Disk) bool { return d.Name == volume })
		if attach {
			spec.Disks = append(spec.Disks, compute.Disk{Name: volume, VolumeID: idOf(c, storage.Volumes, project, volume)})
		}
	})
}

// change changes the spec of a VM, as the API does.
func (c *Cluster) change(name string, how func(*compute.VMSpec)) error {
	return c.withVM(name, func(s *store.Snapshot, b *store.Batch, vm *compute.VM) error {
		spec := vm.Spec
		how(&spec)
		compute.DefaultVM(&spec)
		says := func(path ...string) bool { return slices.Equal(path, []string{"spec", "disks"}) }
		if err := c.server.Front.Change(s, b, vm, &spec, says); err != nil {
			return err
		}
		c.server.Front.VMs.Set(b, vm, func(to *compute.VMSpec) { *to = spec })
		return nil
	})
}

// holdsDevice compares what a VM's status says of a volume with what its guest has.
func (c *Cluster) holdsDevice(name, volume, state string) (bool, string) {
	vm, v := c.vm(name), store.Named(c.all.Snapshot(), storage.Volumes, project, volume)
	if vm == nil || v == nil {
		return false, "there is no such VM, or no such volume"
	}
	said := "gone"
	for _, d := range vm.Status.Devices {
		if d.ID == v.ID {
			said = string(d.State)
		}
	}
	g, lives := c.livingGuest(name)
	has := lives && slices.ContainsFunc(g.vm.Disks, func(d computeon.Disk) bool { return d.ID == v.ID })
	held := len(store.Referring(c.all.Snapshot(), storage.Attachments, v.ID)) > 0
	saw := fmt.Sprintf("%s; the guest has it: %v; attachments: %v", said, has, held)
	switch state {
	case "attached":
		return said == state && has, saw
	case "gone":
		return said == state && !has && !held, saw
	}
	return said == state, saw
}
