package compute

import (
	"cmp"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// fitting gives the disks and NICs of one VM their volumes and ports: it finds those that are there and
// makes the others, for one commit.
type fitting struct {
	f    *Front
	snap *store.Snapshot
	b    *store.Batch
	vm   *VM
	// What the VM has then, and what is made for it.
	disks   []DiskStatus
	nics    []NICStatus
	volumes []*storage.Volume
	ports   []*network.Port
}

// write puts what is made into the batch.
func (d *fitting) write() {
	for _, v := range d.volumes {
		d.f.Volumes.Create(d.b, v, storage.Holder)
	}
	for _, p := range d.ports {
		d.f.Ports.Create(d.b, p, network.Holder)
	}
}

// addDisk gives a disk its volume. A volume that is made begins with the content of base, or empty.
func (d *fitting) addDisk(disk Disk, base *storage.Base) error {
	if disk.VolumeID != "" {
		v, err := d.freeVolume(disk.VolumeID)
		if err != nil {
			return err
		}
		d.disks = append(d.disks, DiskStatus{Name: disk.Name, VolumeID: v.ID, Model: disk.Model})
		return nil
	}
	if id := disk.DatastoreID; id != "" && store.Find(d.snap, storage.Datastores, id) == nil {
		return fault.New(fault.NotFound, "no datastore %q; see virga datastore list", id)
	}
	v := &storage.Volume{Spec: storage.VolumeSpec{SizeMiB: disk.SizeMiB, Base: base, DatastoreID: disk.DatastoreID}}
	v.ID, v.Name, v.Project, v.Owner = resource.NewID(), d.vm.Name+"-"+disk.Name, d.vm.Project, ownerOf(d.vm)
	d.volumes = append(d.volumes, v)
	d.disks = append(d.disks, DiskStatus{Name: disk.Name, VolumeID: v.ID, Model: disk.Model})
	return nil
}

func (d *fitting) freeVolume(id resource.ID) (*storage.Volume, error) {
	v := store.Named(d.snap, storage.Volumes, d.vm.Project, string(id))
	if v == nil {
		return nil, fault.New(fault.NotFound, "no volume %q in project %s; see virga volume list", id, d.snap.NameOf(d.vm.Project))
	}
	if v.Deleting != nil {
		return nil, fault.New(fault.Precondition, "volume %s is being deleted", v.Name)
	}
	for _, other := range store.Referring(d.snap, VMs, v.ID) {
		return nil, fault.New(fault.Precondition, "volume %s is a disk of VM %s; detach it there, or choose another volume", v.Name, other.Name)
	}
	if slices.ContainsFunc(d.disks, func(x DiskStatus) bool { return x.VolumeID == v.ID }) {
		return nil, fault.New(fault.Invalid, "volume %s is named twice", v.Name)
	}
	return v, nil
}

// nameNICs names those that have no name, beside those that are there, and says by its id in which network each is.
func (d *fitting) nameNICs(nics []NIC, there []NIC) {
	taken := map[string]bool{}
	for _, n := range slices.Concat(nics, there) {
		taken[n.Name] = true
	}
	for i := range nics {
		nic := &nics[i]
		if nic.Name == "" {
			nic.Name = nextName("nic", taken)
		}
		if nic.PortID != "" {
			continue
		}
		nic.NetworkID = cmp.Or(nic.NetworkID, network.DefaultNetwork)
		if n := store.Named(d.snap, network.Networks, d.vm.Project, string(nic.NetworkID)); n != nil {
			nic.NetworkID = n.ID
		}
	}
}

// addNIC gives a NIC its port. The VM has its name in each of its networks; a port that was there has it while
// the VM uses it, unless it has one of its own.
func (d *fitting) addNIC(nic *NIC) error {
	p, err := d.port(nic)
	if err == nil {
		d.nics = append(d.nics, NICStatus{Name: nic.Name, PortID: p.ID, Model: nic.Model})
	}
	return err
}

func (d *fitting) port(nic *NIC) (*network.Port, error) {
	if nic.PortID != "" {
		p, err := d.freePort(nic.PortID)
		if err == nil {
			d.f.Ports.Set(d.b, p, func(s *network.PortSpec) { s.Hostname = cmp.Or(s.Hostname, Hostname(d.vm)) })
		}
		return p, err
	}
	p := &network.Port{Spec: network.PortSpec{NetworkID: nic.NetworkID, MAC: nic.MAC, Address: nic.Address, Hostname: Hostname(d.vm), SecurityGroupIDs: d.vm.Spec.SecurityGroupIDs}}
	p.ID, p.Name, p.Project, p.Owner = resource.NewID(), d.vm.Name+"-"+nic.Name, d.vm.Project, ownerOf(d.vm)
	if err := network.Allocate(d.snap, p, slices.Concat(d.ports, d.askedByOthers(nic))...); err != nil {
		return nil, err
	}
	d.ports = append(d.ports, p)
	return p, nil
}

// askedByOthers are ports with what other NICs of the VM ask for: none of that is drawn for this one.
func (d *fitting) askedByOthers(nic *NIC) (out []*network.Port) {
	for i := range d.vm.Spec.NICs {
		if other := &d.vm.Spec.NICs[i]; other.Name != nic.Name && other.PortID == "" && other.Address+other.MAC != "" {
			out = append(out, &network.Port{Meta: resource.Meta{Name: d.vm.Name + "-" + other.Name},
				Spec: network.PortSpec{NetworkID: other.NetworkID}, Status: network.PortStatus{Address: other.Address, MAC: other.MAC}})
		}
	}
	return out
}

func (d *fitting) freePort(id resource.ID) (*network.Port, error) {
	p := store.Named(d.snap, network.Ports, d.vm.Project, string(id))
	if p == nil {
		return nil, fault.New(fault.NotFound, "no port %q in project %s; see virga port list", id, d.snap.NameOf(d.vm.Project))
	}
	if p.Deleting != nil {
		return nil, fault.New(fault.Precondition, "port %s is being deleted", p.Name)
	}
	for _, other := range store.Referring(d.snap, VMs, p.ID) {
		return nil, fault.New(fault.Precondition, "port %s is a NIC of VM %s; detach it there, or choose another port", p.Name, other.Name)
	}
	if slices.ContainsFunc(d.nics, func(x NICStatus) bool { return x.PortID == p.ID }) {
		return nil, fault.New(fault.Invalid, "port %s is named twice", p.Name)
	}
	return p, nil
}
