package compute

import (
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Bus is where devices of a VM are plugged in.
type Bus string

// The buses.
const (
	// PCIe is the bus of root ports, one for each device: the guest sees the device of slot 0 on its PCI
	// bus 1, and so on, and names a NIC by that (slot 1: enp2s0).
	PCIe Bus = "pcie"
	SCSI Bus = "scsi" // slots are targets
	AHCI Bus = "sata" // slots are ports of the mainboard
	// IDEBus is that of an IDE controller, which a VM with such disks has.
	IDEBus Bus = "ide" // slots are masters and slaves
)

// DeviceKind says what a device of a VM is.
type DeviceKind string

// The kinds that come and go.
const (
	DiskDevice DeviceKind = "disk"
	NICDevice  DeviceKind = "nic"
)

// DeviceState is how far a device is attached to a guest that lives.
type DeviceState string

// The states of devices.
const (
	DeviceWaiting   DeviceState = "waiting"   // for what is behind it, or for the guest
	DeviceAttaching DeviceState = "attaching" // as its host sees it: about to be attached
	DeviceAttached  DeviceState = "attached"
	DeviceDetaching DeviceState = "detaching" // until the guest has given it up
)

// Device is a device of a VM at its address, which it keeps for as long as the VM has it.
type Device struct {
	// Kind is what it is: disk, nic.
	Kind DeviceKind `json:"kind" enum:"disk,nic"`
	// ID is what is behind it: the volume of a disk, the port of a NIC.
	ID resource.ID `json:"id"`
	// Model is what the guest sees.
	Model string `json:"model"`
	// Bus and Slot are its address: a root port of bus pcie, a target of bus scsi, a port of bus sata, a place of bus ide.
	Bus  Bus   `json:"bus" enum:"pcie,scsi,sata,ide"`
	Slot int64 `json:"slot"`
	// Queues is how many it has from its VM's last start on; 0: those of the default I/O profile.
	Queues int64 `json:"queues,omitempty"`
	// BootIndex is its place among the disks that are booted from, from its VM's last start on; 0: it is not.
	BootIndex int64 `json:"bootIndex,omitempty"`
	// State is how far it is attached to the guest that runs: waiting, attached, detaching; empty: none runs.
	State DeviceState `json:"state,omitempty" enum:"waiting,attached,detaching"`
}

// is reports whether two are the same device, wherever they are.
func (d Device) is(o Device) bool { return d.Kind == o.Kind && d.ID == o.ID }

// What a VM has of root ports. They are made when it boots, and cannot be added while it runs.
const (
	spareRootPorts = 4 // at least, for what is plugged in later
	portsInSlot    = 8 // functions of one slot of the root bus
	mostRootPorts  = 64
)

// buses is which bus a model lives on, how many of its slots there are, and whether its devices stay where they
// are while the VM runs.
var buses = map[string]struct {
	Bus   Bus
	Slots int64
	Cold  bool
}{
	VirtioBlk:  {PCIe, mostRootPorts, false},
	VirtioSCSI: {SCSI, 64, false},
	NVMe:       {PCIe, mostRootPorts, false},
	SATA:       {AHCI, 6, true},
	IDE:        {IDEBus, 4, true},
	CDROM:      {AHCI, 6, true},
	VirtioNet:  {PCIe, mostRootPorts, false},
	E1000:      {PCIe, mostRootPorts, false},
	E1000e:     {PCIe, mostRootPorts, false},
	RTL8139:    {PCIe, mostRootPorts, false},
}

// wantedDevices are the disks and NICs of a VM in order, without addresses.
func wantedDevices(vm *VM) []Device {
	var out []Device
	for _, d := range vm.Status.Disks {
		spec, _ := byName(vm.Spec.Disks, d.Name, diskName)
		out = append(out, Device{Kind: DiskDevice, ID: d.VolumeID, Model: d.Model, Queues: spec.IOProfile.queues(vm.Spec.CPUs), BootIndex: bootIndex(&vm.Spec, d.Name)})
	}
	for _, n := range vm.Status.NICs {
		spec, _ := byName(vm.Spec.NICs, n.Name, nicName)
		out = append(out, Device{Kind: NICDevice, ID: n.PortID, Model: n.Model, Queues: spec.IOProfile.queues(vm.Spec.CPUs)})
	}
	return out
}

// addressDevices gives every wanted device an address: the one that it was given before, or else the
// lowest that nobody has. Those that go keep no address. Below limits PCIe slots, where more than
// zero: a VM that runs has so many root ports.
func addressDevices(kept, wanted []Device, below int64) ([]Device, error) {
	out := slices.Clone(wanted)
	taken := map[Bus]map[int64]bool{}
	take := func(d *Device, bus Bus, slot int64) {
		if taken[bus] == nil {
			taken[bus] = map[int64]bool{}
		}
		taken[bus][slot] = true
		d.Bus, d.Slot = bus, slot
	}
	for i := range out {
		at := slices.IndexFunc(kept, out[i].is)
		if at >= 0 && kept[at].Bus == buses[out[i].Model].Bus && !taken[kept[at].Bus][kept[at].Slot] {
			take(&out[i], kept[at].Bus, kept[at].Slot)
		}
	}
	for i := range out {
		on, known := buses[out[i].Model]
		switch {
		case !known:
			return nil, fault.New(fault.Invalid, "%s %s: no device model %q", out[i].Kind, out[i].ID, out[i].Model)
		case out[i].Bus != "":
			continue
		}
		slots, more := on.Slots, "use another model"
		if on.Bus == PCIe && below > 0 {
			slots, more = below, "a VM gets more when it is stopped and started"
		}
		slot := int64(0)
		for taken[on.Bus][slot] {
			slot++
		}
		if slot >= slots {
			return nil, fault.New(fault.Exhausted, "%s %s: all %d slots of bus %s are taken; %s", out[i].Kind, out[i].ID, slots, on.Bus, more)
		}
		take(&out[i], on.Bus, slot)
	}
	return out, nil
}

// rootPorts is how many root ports a VM boots with: eights, and some to spare.
func rootPorts(devices []Device) int64 {
	used := int64(0)
	for _, d := range devices {
		if d.Bus == PCIe {
			used = max(used, d.Slot+1)
		}
	}
	return min((used+spareRootPorts+portsInSlot-1)/portsInSlot*portsInSlot, mostRootPorts)
}

// devicesOf are the devices that an instance is to have, with their addresses.
func devicesOf(i *Instance) []Device {
	var out []Device
	for _, d := range i.Spec.Disks {
		out = append(out, Device{Kind: DiskDevice, ID: d.VolumeID, Model: d.Model, Bus: d.Bus, Slot: d.Slot, Queues: d.Queues, BootIndex: d.BootIndex})
	}
	for _, n := range i.Spec.NICs {
		out = append(out, Device{Kind: NICDevice, ID: n.PortID, Model: n.Model, Bus: n.Bus, Slot: n.Slot, Queues: n.Queues})
	}
	return out
}
