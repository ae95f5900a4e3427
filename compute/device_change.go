package compute

import (
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// How a device leaves a guest that lives, and nobody else gets what is behind it too early:
//
//	1  the VM's spec does not name it any more
//	2  the VM loop takes it out of the instance's spec; its attachment stays, and its address stays taken
//	3  the agent asks the guest until QEMU has closed it, and reports: for that spec the guest has these devices
//	4  the VM loop reads there that it is gone, and deletes the attachment
//
// An agent has a device in its status before it gives it to the guest, and a spec that has changed since makes
// that write fail: what is in neither is in no guest.

// deviceChange is what to do when a VM that runs shall have other devices than its instance.
type deviceChange struct {
	table   []Device // of the VM: those that it shall have, and those that go
	add     []Device // to the instance
	drop    []Device // from its record: the guest is asked for them
	free    []Device // that the guest has given up: what is behind them goes
	problem error    // why one cannot be added now
}

// deviceFacts is what is decided from.
type deviceFacts struct {
	kept, wanted []Device // of the VM's status, and of its spec
	instance     *Instance
	bound        []Device           // those that have an attachment or a port binding of the instance
	busy         func(Device) error // why a device cannot be added now
}

func hasDevice(all []Device, d Device) bool {
	return slices.ContainsFunc(all, d.is)
}

// seenDevice is how the agent sees a device; empty: the guest does not have it.
func seenDevice(i *Instance, d Device) DeviceState {
	for _, s := range i.Status.Devices {
		if s.Kind == d.Kind && s.ID == d.ID {
			return s.State
		}
	}
	return ""
}

// planDeviceChange compares. While nobody has looked at the devices of the guest, or it neither runs nor
// stands, nothing changes.
func planDeviceChange(f deviceFacts) deviceChange {
	i := f.instance
	if i.Status.DevicesGeneration == 0 || i.Status.Phase != InstanceRunning && i.Status.Phase != InstancePaused {
		return deviceChange{table: f.kept}
	}
	var c deviceChange
	has := devicesOf(i)
	var taken []Device // with an address
	for _, d := range slices.Concat(f.kept, has) {
		if (hasDevice(has, d) || seenDevice(i, d) != "") && !hasDevice(taken, d) {
			taken = append(taken, d)
		}
	}
	for _, w := range f.wanted {
		if at := slices.IndexFunc(taken, w.is); at >= 0 && hasDevice(has, w) {
			c.table = append(c.table, state(taken[at], i, true))
			continue
		}
		others := slices.DeleteFunc(slices.Clone(taken), w.is)
		placed, err := addressDevices(slices.Concat(taken, f.kept), append(others, w), i.Spec.RootPorts)
		if err == nil {
			w = placed[len(placed)-1]
			taken = append(others, w)
			err = f.busy(w)
		}
		if err != nil && c.problem == nil {
			c.problem = err
		}
		if err == nil {
			c.add = append(c.add, w)
		}
		w.State = DeviceWaiting
		c.table = append(c.table, w)
	}
	for _, d := range taken {
		if !hasDevice(f.wanted, d) {
			c.table = append(c.table, state(d, i, false))
		}
	}
	for _, d := range has {
		if !hasDevice(f.wanted, d) {
			c.drop = append(c.drop, d)
		}
	}
	for _, d := range f.bound {
		if !hasDevice(f.wanted, d) && !hasDevice(has, d) && seenDevice(i, d) == "" && i.Status.DevicesGeneration >= i.Generation {
			c.free = append(c.free, d)
		}
	}
	return c
}

// state gives a device of an instance the state that the VM shows.
func state(d Device, i *Instance, wanted bool) Device {
	switch seen := seenDevice(i, d); {
	case !wanted:
		d.State = DeviceDetaching
	case seen == DeviceAttached:
		d.State = DeviceAttached
	default:
		d.State = DeviceWaiting
	}
	return d
}

// stoppedDevices are the devices of a VM that has no instance.
func stoppedDevices(vm *VM) []Device {
	var out []Device
	for _, d := range vm.Status.Devices {
		if hasDevice(wantedDevices(vm), d) {
			d.State = ""
			out = append(out, d)
		}
	}
	return out
}

// changeDevices puts into the batch what brings the instance the devices of its VM. It gives the VM's table
// and epoch: a device that comes may have been another VM's, whose epoch was higher.
func (c *Controller) changeDevices(b *store.Batch, snap *store.Snapshot, vm *VM, i *Instance) (deviceChange, int64, error) {
	change := planDeviceChange(deviceFacts{
		kept: vm.Status.Devices, wanted: wantedDevices(vm), instance: i, bound: boundDevices(snap, i),
		busy: func(d Device) error { return deviceBusy(snap, vm, i, d) },
	})
	epoch := vm.Status.Epoch
	if len(change.add)+len(change.drop) > 0 {
		next := resource.Copy(i)
		next.Spec.Disks = slices.DeleteFunc(next.Spec.Disks, func(d InstanceDisk) bool { return hasDevice(change.drop, Device{Kind: DiskDevice, ID: d.VolumeID}) })
		next.Spec.NICs = slices.DeleteFunc(next.Spec.NICs, func(n InstanceNIC) bool { return hasDevice(change.drop, Device{Kind: NICDevice, ID: n.PortID}) })
		if len(change.add) > 0 {
			epoch = c.nextEpoch(vm)
			c.raiseInstance(b, snap, i, epoch)
			next.Spec.Epoch = epoch
		}
		for _, d := range change.add {
			if err := c.addDevice(b, snap, vm, next, d); err != nil {
				return change, epoch, err
			}
		}
		c.w.Instances.Set(b, i, func(s *InstanceSpec) { s.Disks, s.NICs = next.Spec.Disks, next.Spec.NICs })
	}
	for _, a := range store.Referring(snap, storage.Attachments, i.ID) {
		if hasDevice(change.free, Device{Kind: DiskDevice, ID: a.Spec.VolumeID}) {
			c.w.Attachments.Delete(b, a)
		}
	}
	for _, p := range store.Referring(snap, network.PortBindings, i.ID) {
		if hasDevice(change.free, Device{Kind: NICDevice, ID: p.Spec.PortID}) {
			c.w.PortBindings.Delete(b, p)
		}
	}
	return change, epoch, nil
}

// boundDevices are those of which an instance has what is behind them.
func boundDevices(snap *store.Snapshot, i *Instance) []Device {
	var out []Device
	for _, a := range store.Referring(snap, storage.Attachments, i.ID) {
		if a.Deleting == nil {
			out = append(out, Device{Kind: DiskDevice, ID: a.Spec.VolumeID})
		}
	}
	for _, p := range store.Referring(snap, network.PortBindings, i.ID) {
		if p.Deleting == nil {
			out = append(out, Device{Kind: NICDevice, ID: p.Spec.PortID})
		}
	}
	return out
}

// deviceBusy says why a device cannot be attached to a VM that runs, now.
func deviceBusy(snap *store.Snapshot, vm *VM, i *Instance, d Device) error {
	if err := heldElsewhere(snap, vm, d); err != nil {
		return err
	}
	if d.Kind != DiskDevice {
		return nil
	}
	v := store.Find(snap, storage.Volumes, d.ID)
	switch {
	case v == nil || v.Deleting != nil:
		return fault.New(fault.Precondition, "attach volume %s: it is gone, or being deleted", d.ID)
	case v.Status.Phase == storage.VolumeLost:
		return fault.New(fault.Precondition, "attach volume %s: it is lost", v.Name)
	}
	ds := store.Find(snap, storage.Datastores, v.Status.DatastoreID)
	if ds != nil && !slices.Contains(ds.Status.HostIDs, i.Spec.HostID) {
		return fault.New(fault.Precondition, "attach volume %s: it lies on datastore %s, which the host of the VM does not reach; migrate the VM, or stop it and start it", v.Name, ds.Name)
	}
	return nil
}

// layersChange says that the layers of a volume nobody uses are to change first.
func layersChange(snap *store.Snapshot, volumeID resource.ID) error {
	if v := store.Find(snap, storage.Volumes, volumeID); v != nil && len(store.Referring(snap, storage.Attachments, v.ID)) == 0 {
		if what := storage.Changing(snap, v); what != "" {
			return fault.New(fault.Unavailable, "waits until volume %s %s", v.Name, what)
		}
	}
	return nil
}

// heldElsewhere says that a volume or port is still in another guest's hands, or on its way out of this one's.
func heldElsewhere(snap *store.Snapshot, vm *VM, d Device) error {
	by := func(r resource.Ref, going bool) error {
		if r.ID == vm.ID && !going {
			return nil
		}
		name := string(r.ID)
		if other := store.Find(snap, VMs, r.ID); other != nil {
			name = other.Name
		}
		return fault.New(fault.Unavailable, "waits until %s %s has been detached from VM %s", d.Kind, deviceTitle(snap, d), name)
	}
	if d.Kind == DiskDevice {
		if err := layersChange(snap, d.ID); err != nil {
			return err
		}
		for _, a := range store.Referring(snap, storage.Attachments, d.ID) {
			if err := by(a.Spec.Workload, a.Deleting != nil); err != nil {
				return err
			}
		}
		return nil
	}
	for _, p := range store.Referring(snap, network.PortBindings, d.ID) {
		if err := by(p.Spec.Workload, p.Deleting != nil); err != nil {
			return err
		}
	}
	return nil
}

func deviceTitle(snap *store.Snapshot, d Device) string {
	if v := store.Find(snap, storage.Volumes, d.ID); v != nil {
		return v.Name
	}
	if p := store.Find(snap, network.Ports, d.ID); p != nil {
		return p.Name
	}
	return string(d.ID)
}

// unsettledDevices says that a device is on its way in or out. Both ends of a migration must have the same.
func unsettledDevices(vm *VM, i *Instance) error {
	if i.Status.DevicesGeneration == 0 {
		return nil
	}
	wait := func(d Device, how string) error {
		return fault.New(fault.Precondition, "migrate VM %s: %s %s is being %s; wait until that is done", vm.Name, d.Kind, d.ID, how)
	}
	has := devicesOf(i)
	for _, d := range slices.Concat(wantedDevices(vm), has) {
		if !hasDevice(has, d) || seenDevice(i, d) != DeviceAttached {
			return wait(d, "attached")
		}
	}
	for _, s := range i.Status.Devices {
		if d := (Device{Kind: s.Kind, ID: s.ID}); !hasDevice(wantedDevices(vm), d) || !hasDevice(has, d) {
			return wait(d, "detached")
		}
	}
	return nil
}
