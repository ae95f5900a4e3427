package compute

import (
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// Change makes a changed spec true in the records beside the VM: the volumes and ports of its disks and
// NICs, and its name in its networks. It refuses what cannot be changed. Says tells which fields the request names:
// disks and NICs that it does not speak of stay.
func (f *Front) Change(snap *store.Snapshot, b *store.Batch, old *VM, spec *VMSpec, says func(...string) bool) error {
	if !says("spec", "disks") {
		spec.Disks = old.Spec.Disks
	}
	if !says("spec", "nics") {
		spec.NICs = old.Spec.NICs
	}
	if spec.ImageID != old.Spec.ImageID || spec.HostID != old.Spec.HostID {
		return fault.New(fault.Invalid, "change VM %s: its image and its host cannot be changed; create another VM", old.Name)
	}
	if old.Status.InstanceID != "" {
		if err := hotSize(old, spec, store.Find(snap, Instances, old.Status.InstanceID)); err != nil {
			return err
		}
	}
	if claim := claimOn(snap, old, old.Status.HostID); claim != nil && old.Status.InstanceID != "" {
		if err := f.Placer.CheckResize(claim, "VM "+old.Name, demandOf(spec)); err != nil {
			return err
		}
	}
	if err := ruled(snap, old.Project, spec); err != nil {
		return fault.Wrap(err, "change VM %s", old.Name)
	}
	after := *old
	after.Spec = *spec
	if err := admitVM(snap, b, old, &after); err != nil {
		return err
	}
	f.tell(snap, b, old, Hostname(&after))
	if err := f.guard(snap, b, old, spec); err != nil {
		return fault.Wrap(err, "change VM %s", old.Name)
	}
	if err := f.changeDevices(snap, b, old, spec); err != nil {
		return fault.Wrap(err, "change VM %s", old.Name)
	}
	if says("spec", "power") {
		return f.Power(snap, b, old, spec)
	}
	return nil
}

// Rename gives what was made for a VM and is called after it its new name: its volumes and ports, and their
// names in its networks, unless the VM has a host name of its own.
func (f *Front) Rename(snap *store.Snapshot, b *store.Batch, vm *VM, name string) error {
	for _, d := range vm.Status.Disks {
		if v := store.Find(snap, storage.Volumes, d.VolumeID); v != nil && v.OwnedBy(vm.ID) && v.Name == vm.Name+"-"+d.Name {
			f.Volumes.Rename(b, v, name+"-"+d.Name)
		}
	}
	for _, n := range vm.Status.NICs {
		if p := store.Find(snap, network.Ports, n.PortID); p != nil && p.OwnedBy(vm.ID) && p.Name == vm.Name+"-"+n.Name {
			f.Ports.Rename(b, p, name+"-"+n.Name)
		}
	}
	after := *vm
	after.Name = name
	f.tell(snap, b, vm, Hostname(&after))
	return nil
}

// tell gives the ports of a VM another name in their networks, where they had the VM's.
func (f *Front) tell(snap *store.Snapshot, b *store.Batch, vm *VM, hostname string) {
	for _, n := range vm.Status.NICs {
		if p := store.Find(snap, network.Ports, n.PortID); p != nil && p.Spec.Hostname == Hostname(vm) {
			f.Ports.Set(b, p, func(s *network.PortSpec) { s.Hostname = hostname })
		}
	}
}

// guard puts the ports that were made for a VM into the security groups that it names now.
func (f *Front) guard(snap *store.Snapshot, b *store.Batch, old *VM, spec *VMSpec) error {
	if slices.Equal(old.Spec.SecurityGroupIDs, spec.SecurityGroupIDs) {
		return nil
	}
	groups, err := network.GroupsOrDefault(snap, old.Project, spec.SecurityGroupIDs)
	if err != nil {
		return err
	}
	for _, n := range old.Status.NICs {
		if p := store.Find(snap, network.Ports, n.PortID); p != nil && p.OwnedBy(old.ID) {
			f.Ports.Set(b, p, func(s *network.PortSpec) { s.SecurityGroupIDs = groups })
		}
	}
	return nil
}

// changeDevices attaches what is new among the disks and NICs, detaches what is not there any more, and
// lets disks grow. A disk or a NIC is known by its name.
func (f *Front) changeDevices(snap *store.Snapshot, b *store.Batch, old *VM, spec *VMSpec) error {
	spec.Disks, spec.NICs = sameDisks(old.Spec.Disks, spec.Disks), sameNICs(old.Spec.NICs, spec.NICs)
	after := *old
	after.Spec = *spec
	if err := bootable(&after); err != nil {
		return err
	}
	d := &fitting{f: f, snap: snap, b: b, vm: &after}
	d.nameNICs(spec.NICs, old.Spec.NICs)
	for i, disk := range spec.Disks {
		is, there := byName(old.Spec.Disks, disk.Name, diskName)
		if !there {
			if disk.VolumeID == "" && disk.SizeMiB == 0 {
				return sizeless(i)
			}
			if err := d.addDisk(disk, nil); err != nil {
				return err
			}
			continue
		}
		has, _ := byName(old.Status.Disks, disk.Name, func(s DiskStatus) string { return s.Name })
		d.disks = append(d.disks, has)
		if err := f.growDisk(snap, b, has, is, disk); err != nil {
			return err
		}
	}
	for i := range spec.NICs {
		is, there := byName(old.Spec.NICs, spec.NICs[i].Name, nicName)
		if !there {
			if err := d.addNIC(&spec.NICs[i]); err != nil {
				return err
			}
			continue
		}
		if is.IOProfile = spec.NICs[i].IOProfile; is != spec.NICs[i] {
			return fault.New(fault.Invalid, "NIC %s cannot be changed but in its I/O profile; detach it, and attach another under another name", is.Name)
		}
		has, _ := byName(old.Status.NICs, is.Name, func(s NICStatus) string { return s.Name })
		d.nics = append(d.nics, has)
	}
	d.detach(old)
	if runs := old.Status.InstanceID != ""; runs && len(old.Status.Disks) > 0 && (len(d.disks) == 0 || d.disks[0] != old.Status.Disks[0]) {
		return fault.New(fault.Precondition, "detach disk %s: a VM that runs keeps the disk that it was booted from; stop it first: virga vm stop %s --wait", old.Status.Disks[0].Name, old.Name)
	}
	if old.Status.InstanceID != "" {
		if err := coldChange(old, d); err != nil {
			return err
		}
	}
	d.write()
	if !slices.Equal(d.disks, old.Status.Disks) || !slices.Equal(d.nics, old.Status.NICs) {
		f.VMStatuses.Set(b, old, func(s *VMStatus) { s.Disks, s.NICs = d.disks, d.nics })
	}
	return nil
}

// growDisk lets the volume of a disk grow whose size was raised. Limits and profile change too; nothing else of a disk does.
func (f *Front) growDisk(snap *store.Snapshot, b *store.Batch, has DiskStatus, is, wanted Disk) error {
	same := wanted
	same.SizeMiB, same.Limits, same.IOProfile = is.SizeMiB, is.Limits, is.IOProfile
	if same != is {
		return fault.New(fault.Invalid, "disk %s cannot be changed but in its size, limits and I/O profile; detach it, and attach another under another name", is.Name)
	}
	if wanted.SizeMiB < is.SizeMiB {
		return fault.New(fault.Invalid, "disk %s has %d MiB and cannot become smaller", is.Name, is.SizeMiB)
	}
	v := store.Find(snap, storage.Volumes, has.VolumeID)
	if v == nil || wanted.SizeMiB == is.SizeMiB || wanted.SizeMiB <= v.Spec.SizeMiB {
		return nil
	}
	grown := v.Spec
	grown.SizeMiB = wanted.SizeMiB
	if err := storage.Growable(snap, v, &grown); err != nil {
		return err
	}
	f.Volumes.Set(b, v, func(s *storage.VolumeSpec) { *s = grown })
	return nil
}

// detach lets go of what the VM had and has no more. Nothing of a disk is lost: a volume that was made for
// the VM is one by itself then. A port that was made for it goes.
func (d *fitting) detach(old *VM) {
	for _, had := range old.Status.Disks {
		if slices.Contains(d.disks, had) {
			continue
		}
		if v := store.Find(d.snap, storage.Volumes, had.VolumeID); v != nil && v.OwnedBy(old.ID) {
			d.f.Volumes.Own(d.b, v, nil)
		}
	}
	for _, had := range old.Status.NICs {
		if slices.Contains(d.nics, had) {
			continue
		}
		p := store.Find(d.snap, network.Ports, had.PortID)
		switch {
		case p == nil:
		case p.OwnedBy(old.ID):
			d.f.Ports.Delete(d.b, p)
		case p.Spec.Hostname == Hostname(old):
			d.f.Ports.Set(d.b, p, func(s *network.PortSpec) { s.Hostname = "" }) // the name was the VM's
		}
	}
}

// coldChange refuses to change, while a VM runs, what can neither come nor go then.
func coldChange(old *VM, d *fitting) error {
	for _, at := range []struct{ these, those []DiskStatus }{{d.disks, old.Status.Disks}, {old.Status.Disks, d.disks}} {
		for _, disk := range at.these {
			if buses[disk.Model].Cold && !slices.Contains(at.those, disk) {
				return fault.New(fault.Precondition, "disk %s: one of model %s neither comes nor goes while the VM runs; stop it first: virga vm stop %s --wait, or use another model",
					disk.Name, disk.Model, old.Name)
			}
		}
	}
	return nil
}

func diskName(d Disk) string { return d.Name }

func nicName(n NIC) string { return n.Name }

func byName[E any](all []E, name string, nameOf func(E) string) (E, bool) {
	if i := slices.IndexFunc(all, func(x E) bool { return nameOf(x) == name }); i >= 0 {
		return all[i], true
	}
	var none E
	return none, false
}

// sameDisks gives the disks of a request that are there already what was not said of them, and names to the new.
func sameDisks(old, wanted []Disk) []Disk {
	taken := map[string]bool{}
	for _, d := range slices.Concat(old, wanted) {
		taken[d.Name] = true
	}
	out := slices.Clone(wanted)
	for i, d := range out {
		if d.Name == "" && d.VolumeID != "" {
			d.Name, _ = nameWhere(old, diskName, func(x Disk) bool { return x.VolumeID == d.VolumeID })
		}
		if d.Name == "" {
			d.Name = nextName("disk", taken)
		}
		if is, there := byName(old, d.Name, diskName); there && d.VolumeID == "" && is.VolumeID == "" {
			if d.SizeMiB == 0 {
				d.SizeMiB = is.SizeMiB
			}
			if d.DatastoreID == "" {
				d.DatastoreID = is.DatastoreID
			}
		}
		out[i] = d
	}
	return out
}

// sameNICs is sameDisks for NICs; new ones are named when it is known which those are.
func sameNICs(old, wanted []NIC) []NIC {
	out := slices.Clone(wanted)
	for i, n := range out {
		if n.Name == "" && n.PortID != "" {
			n.Name, _ = nameWhere(old, nicName, func(x NIC) bool { return x.PortID == n.PortID })
		}
		if is, there := byName(old, n.Name, nicName); there && n.PortID == "" && is.PortID == "" {
			if n.NetworkID == "" {
				n.NetworkID = is.NetworkID
			}
			if n.Address == "" {
				n.Address = is.Address
			}
			if n.MAC == "" {
				n.MAC = is.MAC
			}
		}
		out[i] = n
	}
	return out
}

func nameWhere[E any](all []E, nameOf func(E) string, is func(E) bool) (string, bool) {
	if i := slices.IndexFunc(all, is); i >= 0 {
		return nameOf(all[i]), true
	}
	return "", false
}
