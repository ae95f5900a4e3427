package compute

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// Front is what the API does for compute: it turns requests into records, all in one commit.
type Front struct {
	VMs        *store.SpecWriter[VMSpec, VMStatus]
	Volumes    *store.SpecWriter[storage.VolumeSpec, storage.VolumeStatus]
	Ports      *store.SpecWriter[network.PortSpec, network.PortStatus]
	Operations *store.SpecWriter[operation.Spec, operation.Status]
	Placer     Placer
}

// Create adds a VM with its disks and ports to the batch. What is wrong is said before
// anything is written.
func (f *Front) Create(snap *store.Snapshot, b *store.Batch, project, name string, labels map[string]string, in VMInput) (*VM, error) {
	// Before the host name, which is the name unless another was given.
	if err := httpapi.CheckName(name); err != nil {
		return nil, err
	}
	in.Default(name)
	if err := fault.Fields("create VM "+name, in.Check()); err != nil {
		return nil, err
	}
	if store.Named(snap, VMs, project, name) != nil {
		return nil, fault.New(fault.Exists, "create VM %s: there is one of this name in project %s already; pick another name", name, project)
	}
	image, err := findImage(snap, project, in)
	if err != nil {
		return nil, err
	}
	vm := &VM{Spec: VMSpec{
		Description: in.Description, CPUs: in.CPUs, MemoryMiB: in.MemoryMiB, Power: in.Power,
		StopTimeoutSeconds: in.StopTimeoutSeconds, RestartPolicy: in.RestartPolicy, Hostname: in.Hostname,
		SSHKeys: in.SSHKeys, UserData: in.UserData,
	}}
	vm.Kind, vm.ID, vm.Name, vm.Project, vm.Labels = VMs.Kind, resource.NewID(), name, project, labels
	vm.Status.UID = UIDFor(vm.ID, 0)
	if image != nil {
		vm.Spec.ImageID = image.ID
	}
	if in.Host != "" {
		h := store.Named(snap, host.Hosts, "", in.Host)
		if h == nil {
			return nil, fault.New(fault.NotFound, "create VM %s: no host %q; see virga host list", name, in.Host)
		}
		vm.Spec.HostID = h.ID
	}
	volumes, err := f.disks(snap, vm, in, image)
	if err != nil {
		return nil, err
	}
	ports, err := f.nics(snap, b, vm, in)
	if err != nil {
		return nil, err
	}
	if vm.Spec.Power != Stopped {
		if err := f.capacityFor(snap, vm, volumes...); err != nil {
			return nil, err
		}
	}
	for _, v := range volumes {
		f.Volumes.Create(b, v, storage.Holder)
	}
	for _, p := range ports {
		f.Ports.Create(b, p, network.Holder)
	}
	f.VMs.Create(b, vm, Holder)
	return vm, nil
}

// capacityFor refuses a VM for which no host has capacity now. A host without a heartbeat yet, or in
// maintenance, is no reason to refuse: the VM waits.
func (f *Front) capacityFor(snap *store.Snapshot, vm *VM, beside ...*storage.Volume) error {
	if err := f.Placer.Check(placing(snap, vm, beside...)); fault.Is(err, fault.Exhausted) {
		return err
	}
	return nil
}

func findImage(snap *store.Snapshot, project string, in VMInput) (*Image, error) {
	if in.Image == "" {
		return nil, nil
	}
	image, err := ImageLending.Find(snap, Images, project, in.Image)
	switch {
	case err != nil:
		return nil, err
	case image.Deleting != nil:
		return nil, fault.New(fault.Precondition, "image %s is being deleted; choose another", image.Name)
	case image.Status.Phase != ImageReady:
		return nil, fault.New(fault.Precondition, "image %s is not ready (%s); wait for it: virga explain image %s", image.Name, image.Status.Phase, image.Name)
	case in.MemoryMiB < image.Spec.MinMemoryMiB:
		return nil, fault.New(fault.Invalid, "image %s needs at least %d MiB of memory, given are %d", image.Name, image.Spec.MinMemoryMiB, in.MemoryMiB)
	}
	return image, nil
}

// disks makes the new volumes and fills in vm.Spec.Disks.
func (f *Front) disks(snap *store.Snapshot, vm *VM, in VMInput, image *Image) ([]*storage.Volume, error) {
	var made []*storage.Volume
	planned, err := planDisks(in.Disks, image)
	if err != nil {
		return nil, err
	}
	for i, d := range planned {
		if d.Volume != "" {
			v, err := freeVolume(snap, vm, d.Volume)
			if err != nil {
				return nil, err
			}
			vm.Spec.Disks = append(vm.Spec.Disks, Disk{VolumeID: v.ID, Model: VirtioBlk})
			continue
		}
		v := &storage.Volume{Spec: storage.VolumeSpec{SizeMiB: d.SizeMiB, Base: d.base}}
		v.ID, v.Name, v.Project, v.Owner = resource.NewID(), fmt.Sprintf("%s-disk%d", vm.Name, i), vm.Project, ownerOf(vm)
		if d.Datastore != "" {
			ds := store.Named(snap, storage.Datastores, "", d.Datastore)
			if ds == nil {
				return nil, fault.New(fault.NotFound, "no datastore %q; see virga datastore list", d.Datastore)
			}
			v.Spec.DatastoreID = ds.ID
		}
		vm.Spec.Disks = append(vm.Spec.Disks, Disk{VolumeID: v.ID, Model: VirtioBlk})
		made = append(made, v)
	}
	return made, nil
}

// ownerOf is written into what is made with a VM, and goes with it.
func ownerOf(vm *VM) *resource.Ref {
	ref := vm.Ref()
	return &ref
}

func freeVolume(snap *store.Snapshot, vm *VM, name string) (*storage.Volume, error) {
	v := store.Named(snap, storage.Volumes, vm.Project, name)
	if v == nil {
		return nil, fault.New(fault.NotFound, "no volume %q in project %s; see virga volume list", name, vm.Project)
	}
	if v.Deleting != nil {
		return nil, fault.New(fault.Precondition, "volume %s is being deleted", v.Name)
	}
	for _, other := range store.Referring(snap, VMs, v.ID) {
		return nil, fault.New(fault.Precondition, "volume %s is a disk of VM %s; delete that VM, or make another volume", v.Name, other.Name)
	}
	if slices.ContainsFunc(vm.Spec.Disks, func(d Disk) bool { return d.VolumeID == v.ID }) {
		return nil, fault.New(fault.Invalid, "volume %s is named twice", v.Name)
	}
	return v, nil
}

// nics makes the new ports and fills in vm.Spec.NICs. The VM has its name in each of its networks; a
// port that was there has it while the VM uses it, unless it has one of its own.
func (f *Front) nics(snap *store.Snapshot, b *store.Batch, vm *VM, in VMInput) ([]*network.Port, error) {
	var made []*network.Port
	for i, n := range in.NICs {
		if n.Port != "" {
			p, err := freePort(snap, vm, n.Port)
			if err != nil {
				return nil, err
			}
			vm.Spec.NICs = append(vm.Spec.NICs, NIC{PortID: p.ID, Model: VirtioNet})
			f.Ports.Set(b, p, func(s *network.PortSpec) { s.Hostname = cmp.Or(s.Hostname, vm.Spec.Hostname) })
			continue
		}
		p, err := newPort(snap, vm, n, made)
		if err != nil {
			return nil, err
		}
		p.Name, p.Spec.Hostname = fmt.Sprintf("%s-nic%d", vm.Name, i), vm.Spec.Hostname
		vm.Spec.NICs = append(vm.Spec.NICs, NIC{PortID: p.ID, Model: VirtioNet})
		made = append(made, p)
	}
	return made, nil
}

func freePort(snap *store.Snapshot, vm *VM, name string) (*network.Port, error) {
	p := store.Named(snap, network.Ports, vm.Project, name)
	if p == nil {
		return nil, fault.New(fault.NotFound, "no port %q in project %s; see virga port list", name, vm.Project)
	}
	if p.Deleting != nil {
		return nil, fault.New(fault.Precondition, "port %s is being deleted", p.Name)
	}
	for _, other := range store.Referring(snap, VMs, p.ID) {
		return nil, fault.New(fault.Precondition, "port %s is a NIC of VM %s", p.Name, other.Name)
	}
	if slices.ContainsFunc(vm.Spec.NICs, func(n NIC) bool { return n.PortID == p.ID }) {
		return nil, fault.New(fault.Invalid, "port %s is named twice", p.Name)
	}
	return p, nil
}

func newPort(snap *store.Snapshot, vm *VM, in NICInput, beside []*network.Port) (*network.Port, error) {
	if in.Network == "" {
		in.Network = network.DefaultNetwork
	}
	net := store.Named(snap, network.Networks, vm.Project, in.Network)
	if net == nil {
		return nil, fault.New(fault.NotFound, "no network %q in project %s; see virga network list", in.Network, vm.Project)
	}
	subnets := store.Referring(snap, network.Subnets, net.ID)
	if len(subnets) == 0 {
		return nil, fault.New(fault.Precondition, "network %s has no subnet; make one: virga subnet create NAME --network %s --cidr 10.1.0.0/24", net.Name, net.Name)
	}
	p := &network.Port{Spec: network.PortSpec{NetworkID: net.ID}}
	p.ID, p.Project, p.Owner = resource.NewID(), vm.Project, ownerOf(vm)
	var err error
	for _, s := range subnets {
		p.Spec.SubnetID = s.ID
		request := network.AddressRequest{PortID: p.ID, MAC: in.MAC, Address: in.Address, Beside: beside}
		if p.Spec.MAC, p.Spec.Address, err = network.AllocatePort(snap, net, s, request); err == nil {
			return p, nil
		}
	}
	return nil, err
}
