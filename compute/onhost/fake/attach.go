package fake

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// deviceKey is a device of a guest.
type deviceKey struct {
	kind compute.DeviceKind
	id   resource.ID
}

// leaving is a device that a guest was asked to give up.
type leaving struct {
	at   time.Time
	asks int
}

// Clings lets a guest keep every device that it is asked to give up, until it is called with false.
func (h *Hypervisor) Clings(id resource.ID, clings bool) {
	h.with(func() {
		if g := h.guests[id]; g != nil {
			g.clings = clings
		}
	})
}

// HalfAttach leaves of a disk what a daemon leaves that dies in the middle of plugging it.
func (h *Hypervisor) HalfAttach(id resource.ID, d onhost.Disk) {
	h.with(func() {
		if g := h.guests[id]; g != nil {
			g.half[deviceKey{compute.DiskDevice, d.ID}] = true
		}
	})
}

// Plugged implements onhost.Plugger. A guest that runs gives up what it was asked for, now.
func (h *Hypervisor) Plugged(_ context.Context, id resource.ID) ([]onhost.Plugged, error) {
	var out []onhost.Plugged
	err := h.opened(id, func(g *guest) error {
		g.giveUp()
		for _, d := range g.vm.Disks {
			out = append(out, g.plugged(deviceKey{compute.DiskDevice, d.ID}))
		}
		for _, n := range g.vm.NICs {
			out = append(out, g.plugged(deviceKey{compute.NICDevice, n.ID}))
		}
		for k := range g.half {
			out = append(out, onhost.Plugged{Kind: k.kind, ID: k.id, State: onhost.PluggedHalf})
		}
		slices.SortFunc(out, func(a, b onhost.Plugged) int { return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID)) })
		return nil
	})
	return out, err
}

func (g *guest) plugged(k deviceKey) onhost.Plugged {
	if was, asked := g.leaving[k]; asked {
		return onhost.Plugged{Kind: k.kind, ID: k.id, State: onhost.PluggedLeaving, AskedAt: was.at, Asks: was.asks}
	}
	return onhost.Plugged{Kind: k.kind, ID: k.id, State: onhost.PluggedWhole}
}

// giveUp takes away what the guest was asked for. What was behind it stays open.
func (g *guest) giveUp() {
	if g.State != onhost.Running || g.clings {
		return
	}
	for k := range g.leaving {
		g.drop(k)
		g.half[k] = true
	}
	clear(g.leaving)
}

func (g *guest) drop(k deviceKey) {
	if k.kind == compute.DiskDevice {
		g.vm.Disks = slices.DeleteFunc(slices.Clone(g.vm.Disks), func(d onhost.Disk) bool { return d.ID == k.id })
		return
	}
	g.vm.NICs = slices.DeleteFunc(slices.Clone(g.vm.NICs), func(n onhost.NIC) bool { return n.ID == k.id })
}

func (g *guest) has(k deviceKey) bool {
	if k.kind == compute.DiskDevice {
		return slices.ContainsFunc(g.vm.Disks, func(d onhost.Disk) bool { return d.ID == k.id })
	}
	return slices.ContainsFunc(g.vm.NICs, func(n onhost.NIC) bool { return n.ID == k.id })
}

// opened is for what takes a guest whose QEMU has its devices in its hands.
func (h *Hypervisor) opened(id resource.ID, do func(*guest) error) error {
	return h.alive(id, func(g *guest) error {
		if g.State != onhost.Running && g.State != onhost.Paused {
			return fault.New(fault.Precondition, "instance %s does not have its devices open: it is %s", id, g.State)
		}
		return do(g)
	})
}

// AttachDisk implements onhost.Plugger.
func (h *Hypervisor) AttachDisk(_ context.Context, id resource.ID, d onhost.Disk) error {
	return h.attach(id, deviceKey{compute.DiskDevice, d.ID}, d.Address, func(g *guest) { g.vm.Disks = append(slices.Clone(g.vm.Disks), d) })
}

// AttachNIC implements onhost.Plugger.
func (h *Hypervisor) AttachNIC(_ context.Context, id resource.ID, n onhost.NIC) error {
	return h.attach(id, deviceKey{compute.NICDevice, n.ID}, n.Address, func(g *guest) { g.vm.NICs = append(slices.Clone(g.vm.NICs), n) })
}

func (h *Hypervisor) attach(id resource.ID, k deviceKey, at onhost.Address, add func(*guest)) error {
	return h.opened(id, func(g *guest) error {
		g.giveUp()
		if g.has(k) {
			return nil
		}
		for _, d := range g.vm.Disks {
			if d.Address == at {
				return fault.New(fault.Internal, "instance %s: slot %d is taken by disk %s", id, at.Slot, d.ID)
			}
		}
		for _, n := range g.vm.NICs {
			if n.Address == at {
				return fault.New(fault.Internal, "instance %s: slot %d is taken by NIC %s", id, at.Slot, n.ID)
			}
		}
		if at.Slot >= g.vm.RootPorts {
			return fault.New(fault.Internal, "instance %s: there is no root port %d", id, at.Slot)
		}
		delete(g.half, k)
		add(g)
		return nil
	})
}

// Detach implements onhost.Plugger.
func (h *Hypervisor) Detach(_ context.Context, id resource.ID, kind compute.DeviceKind, deviceID resource.ID) error {
	k := deviceKey{kind, deviceID}
	return h.opened(id, func(g *guest) error {
		g.giveUp()
		if !g.has(k) {
			delete(g.half, k)
			return nil
		}
		was := g.leaving[k]
		if was.asks == 0 {
			was.at = h.Now().UTC()
		}
		was.asks++
		g.leaving[k] = was
		return nil
	})
}
