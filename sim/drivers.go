package sim

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/virga-cloud/virga/compute"
	computeon "github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	networkon "github.com/virga-cloud/virga/network/onhost"
	"github.com/virga-cloud/virga/storage"
	storageon "github.com/virga-cloud/virga/storage/onhost"
)

// faults are the calls of drivers that fail on a host: "Ensure", "EnsureVolume".
type faults map[string]*planned

type planned struct {
	left int // further failures; below zero: without end
	err  error
}

// fails gives the planned failure of a call.
func (h *Host) fails(call string) error {
	p := h.faults[call]
	if p == nil || p.left == 0 {
		return nil
	}
	p.left--
	h.c.trace.add("    %s: %s fails as planned", h.Name, call)
	return p.err
}

// does makes a call that changes something: it may fail as planned, and the agent may die after it.
func (h *Host) does(call string, do func() error) error {
	if err := h.fails(call); err != nil {
		return err
	}
	err := do()
	h.agent.effect(call)
	return err
}

// guestDriver stands between an agent and the hypervisor.
type guestDriver struct{ h *Host }

var (
	_ computeon.Hypervisor = (*guestDriver)(nil)
	_ computeon.Migrator   = (*guestDriver)(nil)
	_ computeon.Grower     = (*guestDriver)(nil)
	_ computeon.Plugger    = (*guestDriver)(nil)
	_ computeon.Kin        = (*guestDriver)(nil)
	_ computeon.Ballooner  = (*guestDriver)(nil)

	_ computeon.MemoryGrower = (*guestDriver)(nil)
	_ computeon.CPUGrower    = (*guestDriver)(nil)
)

// OfVM implements computeon.Kin.
func (d *guestDriver) OfVM(vmID resource.ID) []computeon.Guest { return d.h.guests.OfVM(vmID) }

// Ensure implements computeon.Hypervisor.
func (d *guestDriver) Ensure(ctx context.Context, m computeon.VMConfig) error {
	if err := d.h.fails("Start"); err != nil {
		if _, there := d.h.guests.VM(m.ID); !there {
			d.h.guests.FailNextStart(err) // QEMU ends at once, and that can be seen
		}
	}
	return d.h.does("Ensure", func() error { return d.h.guests.Ensure(ctx, m) })
}

// List implements computeon.Hypervisor.
func (d *guestDriver) List(ctx context.Context) ([]computeon.Guest, error) {
	if err := d.h.fails("List"); err != nil {
		return nil, err
	}
	return d.h.guests.List(ctx)
}

// Look implements computeon.Hypervisor.
func (d *guestDriver) Look(ctx context.Context, id resource.ID) (computeon.Guest, error) {
	if err := d.h.fails("Look"); err != nil {
		return computeon.Guest{}, err
	}
	g, err := d.h.guests.Look(ctx, id)
	d.h.c.touched = d.h.c.touched || g.Transfer.State != computeon.NoTransfer // which a look moves on
	return g, err
}

// Pause implements computeon.Hypervisor.
func (d *guestDriver) Pause(ctx context.Context, id resource.ID) error {
	return d.h.does("Pause", func() error { return d.h.guests.Pause(ctx, id) })
}

// Resume implements computeon.Hypervisor.
func (d *guestDriver) Resume(ctx context.Context, id resource.ID) error {
	return d.h.does("Resume", func() error { return d.h.guests.Resume(ctx, id) })
}

// Ask implements computeon.Hypervisor. A guest with manners powers itself off soon.
func (d *guestDriver) Ask(ctx context.Context, id resource.ID) error {
	return d.h.does("Ask", func() error {
		m, _ := d.h.guests.VM(id)
		if d.h.c.manners[m.VMID] != "ignores" {
			d.h.c.later(d.h.c.between(time.Second, 5*time.Second), func() { d.h.guests.PowerOff(id) })
		}
		return d.h.guests.Ask(ctx, id)
	})
}

// Kill implements computeon.Hypervisor.
func (d *guestDriver) Kill(ctx context.Context, id resource.ID) error {
	return d.h.does("Kill", func() error { return d.h.guests.Kill(ctx, id) })
}

// Remove implements computeon.Hypervisor.
func (d *guestDriver) Remove(ctx context.Context, id resource.ID) error {
	return d.h.does("Remove", func() error { return d.h.guests.Remove(ctx, id) })
}

// Send implements computeon.Migrator.
func (d *guestDriver) Send(ctx context.Context, id resource.ID, to compute.Outgoing) error {
	return d.h.does("Send", func() error { return d.h.guests.Send(ctx, id, to) })
}

// Cancel implements computeon.Migrator.
func (d *guestDriver) Cancel(ctx context.Context, id resource.ID) error {
	return d.h.does("Cancel", func() error { return d.h.guests.Cancel(ctx, id) })
}

// Grow implements computeon.Grower.
func (d *guestDriver) Grow(ctx context.Context, id, volumeID resource.ID, sizeMiB int64) error {
	if d.h.guests.DiskMiB(id, volumeID) >= sizeMiB {
		return nil // a look is no effect
	}
	return d.h.does("Grow", func() error { return d.h.guests.Grow(ctx, id, volumeID, sizeMiB) })
}

// Plugged implements computeon.Plugger.
func (d *guestDriver) Plugged(ctx context.Context, id resource.ID) ([]computeon.Plugged, error) {
	if err := d.h.fails("Plugged"); err != nil {
		return nil, err
	}
	return d.h.guests.Plugged(ctx, id)
}

// AttachDisk implements computeon.Plugger.
func (d *guestDriver) AttachDisk(ctx context.Context, id resource.ID, disk computeon.Disk) error {
	return d.h.does("AttachDisk", func() error { return d.h.guests.AttachDisk(ctx, id, disk) })
}

// AttachNIC implements computeon.Plugger.
func (d *guestDriver) AttachNIC(ctx context.Context, id resource.ID, n computeon.NIC) error {
	return d.h.does("AttachNIC", func() error { return d.h.guests.AttachNIC(ctx, id, n) })
}

// Detach implements computeon.Plugger.
func (d *guestDriver) Detach(ctx context.Context, id resource.ID, kind compute.DeviceKind, deviceID resource.ID) error {
	return d.h.does("Detach", func() error { return d.h.guests.Detach(ctx, id, kind, deviceID) })
}

// Memory implements computeon.Ballooner.
func (d *guestDriver) Memory(ctx context.Context, id resource.ID) (computeon.GuestMemory, error) {
	if err := d.h.fails("Memory"); err != nil {
		return computeon.GuestMemory{}, err
	}
	return d.h.guests.Memory(ctx, id)
}

// SetMemory implements computeon.Ballooner.
func (d *guestDriver) SetMemory(ctx context.Context, id resource.ID, bytes int64) error {
	return d.h.does("SetMemory", func() error { return d.h.guests.SetMemory(ctx, id, bytes) })
}

// GrowMemory implements computeon.MemoryGrower.
func (d *guestDriver) GrowMemory(ctx context.Context, id resource.ID, mib int64) error {
	if has, err := d.h.guests.GrownMemory(ctx, id); err == nil && has == mib {
		return nil // a look is no effect
	}
	return d.h.does("GrowMemory", func() error { return d.h.guests.GrowMemory(ctx, id, mib) })
}

// GrowCPUs implements computeon.CPUGrower.
func (d *guestDriver) GrowCPUs(ctx context.Context, id resource.ID, cpus int64) error {
	if m, there := d.h.guests.VM(id); there && m.CPUs >= cpus {
		return nil // a look is no effect
	}
	return d.h.does("GrowCPUs", func() error { return d.h.guests.GrowCPUs(ctx, id, cpus) })
}

// GrownMemory implements computeon.MemoryGrower.
func (d *guestDriver) GrownMemory(ctx context.Context, id resource.ID) (int64, error) {
	return d.h.guests.GrownMemory(ctx, id)
}

// AcceptStream implements computeon.Migrator.
func (d *guestDriver) AcceptStream(context.Context, resource.ID, net.Conn) error {
	return fault.New(fault.Internal, "the simulator sends memory without streams")
}

// diskDriver stands between an agent and its folders.
type diskDriver struct{ h *Host }

// Scan implements storageon.Driver.
func (d *diskDriver) Scan(ctx context.Context, path string, fresh bool) (storageon.Found, error) {
	if err := d.h.fails("Scan"); err != nil {
		return storageon.Found{}, err
	}
	return d.h.disks.Scan(ctx, path, fresh)
}

// List implements storageon.Driver.
func (d *diskDriver) List(ctx context.Context, at storageon.Place) ([]storageon.Item, error) {
	return d.h.disks.List(ctx, at)
}

// EnsureImage implements storageon.Driver.
func (d *diskDriver) EnsureImage(ctx context.Context, at storageon.Place, i storageon.Image, content func(context.Context) (io.ReadCloser, error)) (n int64, err error) {
	err = d.h.does("EnsureImage", func() (err error) {
		n, err = d.h.disks.EnsureImage(ctx, at, i, content)
		return err
	})
	return n, err
}

// RemoveImage implements storageon.Driver. Only an owner of the past may try to remove what is used.
func (d *diskDriver) RemoveImage(ctx context.Context, at storageon.Place, i storageon.Image) error {
	return d.h.does("RemoveImage", func() error {
		err := d.h.disks.RemoveImage(ctx, at, i)
		if fault.Is(err, fault.Precondition) && storageon.Highest(err) == 0 {
			d.h.c.fail("%s: %v", d.h.Name, err)
		}
		return err
	})
}

// Leave implements storageon.Driver.
func (d *diskDriver) Leave(ctx context.Context, at storageon.Place) error {
	return d.h.does("Leave", func() error { return d.h.disks.Leave(ctx, at) })
}

// EnsureVolume implements storageon.Driver.
func (d *diskDriver) EnsureVolume(ctx context.Context, at storageon.Place, v storageon.Volume) (u storageon.Usage, err error) {
	err = d.h.does("EnsureVolume", func() (err error) {
		u, err = d.h.disks.EnsureVolume(ctx, at, v)
		return err
	})
	return u, err
}

// Grow implements storageon.Grower.
func (d *diskDriver) Grow(ctx context.Context, at storageon.Place, v storageon.Volume) (u storageon.Usage, err error) {
	err = d.h.does("Grow", func() (err error) {
		before := d.h.c.disks.SizeMiB(v.ID)
		u, err = d.h.disks.Grow(ctx, at, v)
		if d.h.c.disks.SizeMiB(v.ID) != before {
			d.h.c.judgeGrown(v.ID)
		}
		return err
	})
	return u, err
}

// Open implements storageon.Driver.
func (d *diskDriver) Open(ctx context.Context, at storageon.Place, o storageon.Owner) (opened storage.Source, backing []storage.Source, err error) {
	err = d.h.does("Open", func() (err error) {
		opened, backing, err = d.h.disks.Open(ctx, at, o)
		return err
	})
	return opened, backing, err
}

// Rebase implements storageon.Snapshotter.
func (d *diskDriver) Rebase(ctx context.Context, at storageon.Place, v storageon.Volume, layer string) error {
	return d.h.does("Rebase", func() error { return d.h.disks.Rebase(ctx, at, v, layer) })
}

// RemoveLayer implements storageon.Snapshotter. Only an owner of the past may try to remove what is needed.
func (d *diskDriver) RemoveLayer(ctx context.Context, at storageon.Place, v storageon.Volume, layer string) error {
	return d.h.does("RemoveLayer", func() error {
		err := d.h.disks.RemoveLayer(ctx, at, v, layer)
		if fault.Is(err, fault.Precondition) && storageon.Highest(err) == 0 {
			d.h.c.fail("%s: %v", d.h.Name, err)
		}
		return err
	})
}

// RemoveVolume implements storageon.Driver.
func (d *diskDriver) RemoveVolume(ctx context.Context, at storageon.Place, v storageon.Volume) error {
	return d.h.does("RemoveVolume", func() error { return d.h.disks.RemoveVolume(ctx, at, v) })
}

// switchDriver stands between an agent and the virtual switch.
type switchDriver struct{ h *Host }

var _ networkon.Switch = (*switchDriver)(nil)

// Setup implements networkon.Switch.
func (d *switchDriver) Setup(context.Context) error { return nil }

// Teardown implements networkon.Switch.
func (d *switchDriver) Teardown(context.Context) error { return nil }

// EnsurePort implements networkon.Switch.
func (d *switchDriver) EnsurePort(_ context.Context, p networkon.Port) (at networkon.Attached, err error) {
	err = d.h.does("EnsurePort", func() error {
		at = d.h.wires.ensure(p)
		return nil
	})
	return at, err
}

// RemovePort implements networkon.Switch.
func (d *switchDriver) RemovePort(_ context.Context, id resource.ID) error {
	return d.h.does("RemovePort", func() error {
		delete(d.h.wires.ports, id)
		return nil
	})
}

// ListPorts implements networkon.Switch.
func (d *switchDriver) ListPorts(context.Context) ([]networkon.Attached, error) {
	return d.h.wires.list(), d.h.fails("ListPorts")
}

// EnsureService implements networkon.Switch.
func (d *switchDriver) EnsureService(_ context.Context, s networkon.Service) (networkon.Place, error) {
	return nil, d.h.does("EnsureService", func() error {
		d.h.wires.services[s.DNSZoneID] = true
		return nil
	})
}

// RemoveService implements networkon.Switch.
func (d *switchDriver) RemoveService(_ context.Context, id resource.ID) error {
	return d.h.does("RemoveService", func() error {
		delete(d.h.wires.services, id)
		return nil
	})
}

// ListServices implements networkon.Switch.
func (d *switchDriver) ListServices(context.Context) ([]resource.ID, error) {
	return sortedIDs(d.h.wires.services), nil
}
