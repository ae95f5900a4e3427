package compute

import (
	"fmt"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// Holder holds a VM until its instances are gone.
const Holder = "compute"

// Writers are the halves that compute writes.
type Writers struct {
	VMStatuses   *store.StatusWriter[VMSpec, VMStatus]
	VMSnapshots  *store.StatusWriter[VMSnapshotSpec, VMSnapshotStatus]
	Instances    *store.SpecWriter[InstanceSpec, InstanceStatus]
	Attachments  *store.SpecWriter[storage.AttachmentSpec, storage.AttachmentStatus]
	PortBindings *store.SpecWriter[network.PortBindingSpec, network.PortBindingStatus]
}

// Recorder tells people what happened, in the same commit.
type Recorder interface {
	Record(b *store.Batch, about resource.Ref, name, severity, reason, message, by string, outside ...string)
}

// Controller keeps VMs true on the server: it makes and ends their instances, and moves them.
type Controller struct {
	db     *store.DB
	w      Writers
	placer Placer
	events Recorder

	waiting waiting
}

// NewController makes the controller.
func NewController(db *store.DB, w Writers, placer Placer, events Recorder) *Controller {
	return &Controller{db: db, w: w, placer: placer, events: events}
}

// crashPause is how long to wait before a guest that crashed n times in this boot starts again:
// 1 s, doubling to 5 minutes.
func crashPause(n int64) time.Duration {
	if n > 9 {
		return 5 * time.Minute
	}
	return min(time.Second<<max(0, n-1), 5*time.Minute)
}

// newInstance puts an instance of the VM on a host into the batch, with its devices, and their attachments and
// port bindings.
func (c *Controller) newInstance(b *store.Batch, snap *store.Snapshot, vm *VM, hostID resource.ID, epoch int64, name string, devices []Device, adjust func(*InstanceSpec)) (*Instance, error) {
	h, err := store.Need(snap, host.Hosts, hostID)
	if err != nil {
		return nil, err
	}
	i := &Instance{Spec: InstanceSpec{
		VMID: vm.ID, VMName: vm.Name, Hostname: Hostname(vm), HostID: hostID, Boot: Boot(vm), Epoch: epoch,
		StopTimeoutSeconds: vm.Spec.StopTimeoutSeconds, CPUs: vm.Spec.CPUs, BootCPUs: vm.Spec.CPUs, MaxCPUs: vm.Spec.MaxCPUs, MemoryMiB: vm.Spec.MemoryMiB, BootMemoryMiB: vm.Spec.MemoryMiB, MaxMemoryMiB: vm.Spec.MaxMemoryMiB, CPUPolicy: vm.Spec.CPUPolicy, MemoryPolicy: vm.Spec.MemoryPolicy,
		MachineType: h.Status.Profile.MachineType, CPUModel: cpuModel(h.Status.Profile.Accelerator),
		Accelerator: h.Status.Profile.Accelerator, UID: vm.Status.UID, SSHKeys: vm.Spec.SSHKeys, UserData: vm.Spec.UserData,
		RootPorts: rootPorts(devices), Hardware: vm.Spec.Hardware, PoolID: vm.Spec.PoolID,
	}}
	i.ID, i.Name, i.Project = resource.NewID(), name, vm.Project
	adjust(&i.Spec)
	for _, d := range devices {
		if err := c.addDevice(b, snap, vm, i, d); err != nil {
			return nil, err
		}
	}
	c.w.Instances.Create(b, i, AgentHolder)
	return i, nil
}

// addDevice gives an instance a disk or a NIC, with its attachment or port binding: a new one, or that of a
// device which was to leave the guest and shall stay now.
func (c *Controller) addDevice(b *store.Batch, snap *store.Snapshot, vm *VM, i *Instance, d Device) error {
	name := fmt.Sprintf("%s-%s-%s", i.ID, d.Kind, d.ID)
	if d.Kind == DiskDevice {
		a := boundTo(store.Referring(snap, storage.Attachments, i.ID), func(a *storage.Attachment) bool { return a.Spec.VolumeID == d.ID })
		if a == nil {
			a = &storage.Attachment{Spec: storage.AttachmentSpec{
				VolumeID: d.ID, Workload: vm.Ref(), InstanceID: i.ID, HostID: i.Spec.HostID, Epoch: i.Spec.Epoch, UID: vm.Status.UID,
			}}
			a.ID, a.Name, a.Project = resource.NewID(), name, vm.Project
			c.w.Attachments.Create(b, a, AgentHolder)
			// its layers have not begun to change since: they do only while nobody uses it
			b.InTurn(resource.Ref{Kind: storage.Volumes.Kind, Project: vm.Project, ID: d.ID}, snap)
		}
		limits, _ := limitsOf(vm, d.ID)
		i.Spec.Disks = append(i.Spec.Disks, InstanceDisk{
			AttachmentID: a.ID, VolumeID: d.ID, Model: d.Model, Bus: d.Bus, Slot: d.Slot, Queues: d.Queues, BootIndex: d.BootIndex, SizeMiB: diskSize(snap, d.ID), Limits: limits,
		})
		return nil
	}
	p := boundTo(store.Referring(snap, network.PortBindings, i.ID), func(p *network.PortBinding) bool { return p.Spec.PortID == d.ID })
	if p == nil {
		var err error
		if p, err = newPortBinding(snap, vm, d, i); err != nil {
			return err
		}
		p.Name = name
		c.w.PortBindings.Create(b, p, AgentHolder)
	}
	i.Spec.NICs = append(i.Spec.NICs, InstanceNIC{
		PortBindingID: p.ID, PortID: d.ID, MAC: p.Spec.MAC, MTU: p.Spec.MTU, Model: d.Model, Bus: d.Bus, Slot: d.Slot, Queues: d.Queues,
	})
	return nil
}

// boundTo finds what is behind a device.
func boundTo[S, T any](all []*resource.Record[S, T], is func(*resource.Record[S, T]) bool) *resource.Record[S, T] {
	if at := slices.IndexFunc(all, is); at >= 0 {
		return all[at]
	}
	return nil
}

// diskSize is how large a guest shall see a volume: what its datastore has admitted, or will.
func diskSize(snap *store.Snapshot, volumeID resource.ID) int64 {
	for _, a := range store.Referring(snap, storage.Allocations, volumeID) {
		return a.Spec.SizeMiB
	}
	if v := store.Find(snap, storage.Volumes, volumeID); v != nil {
		return v.Spec.SizeMiB
	}
	return 0
}

func cpuModel(a host.Accelerator) string {
	if a == host.KVM {
		return "host"
	}
	return "max"
}

func newPortBinding(snap *store.Snapshot, vm *VM, d Device, i *Instance) (*network.PortBinding, error) {
	port, err := store.Need(snap, network.Ports, d.ID)
	if err != nil {
		return nil, fault.Wrap(err, "bind a NIC of VM %s", vm.Name)
	}
	net, err := store.Need(snap, network.Networks, port.Spec.NetworkID)
	if err != nil {
		return nil, fault.Wrap(err, "bind port %s", port.Name)
	}
	subnet, err := store.Need(snap, network.Subnets, port.Status.SubnetID)
	if err != nil {
		return nil, fault.Wrap(err, "bind port %s", port.Name)
	}
	p := &network.PortBinding{Spec: network.PortBindingSpec{
		PortID: port.ID, NetworkID: net.ID, Workload: vm.Ref(), InstanceID: i.ID, HostID: i.Spec.HostID, Epoch: i.Spec.Epoch, UID: vm.Status.UID,
		MAC: port.Status.MAC, Address: port.Status.Address, PrefixLength: prefixLength(subnet.Spec.CIDR),
		Gateway: subnet.Spec.Gateway, Service: subnet.Spec.Service, MTU: net.Spec.MTU, Queues: d.Queues,
	}}
	p.ID, p.Project = resource.NewID(), vm.Project
	return p, nil
}

// endInstance marks an instance that has ended, and all it used, for deletion.
func (c *Controller) endInstance(b *store.Batch, snap *store.Snapshot, i *Instance) {
	c.w.Instances.Delete(b, i)
	for _, a := range store.Referring(snap, storage.Attachments, i.ID) {
		c.w.Attachments.Delete(b, a)
	}
	for _, p := range store.Referring(snap, network.PortBindings, i.ID) {
		c.w.PortBindings.Delete(b, p)
	}
}

// leftovers are records of a VM that belong to no instance any more.
func (c *Controller) deleteLeftovers(b *store.Batch, snap *store.Snapshot, vm *VM) {
	for _, a := range store.Referring(snap, storage.Attachments, vm.ID) {
		if a.Deleting == nil && store.Find(snap, Instances, a.Spec.InstanceID) == nil {
			c.w.Attachments.Delete(b, a)
		}
	}
	for _, p := range store.Referring(snap, network.PortBindings, vm.ID) {
		if p.Deleting == nil && store.Find(snap, Instances, p.Spec.InstanceID) == nil {
			c.w.PortBindings.Delete(b, p)
		}
	}
}

// released reports whether no attachment and no port binding of the VM is left.
func released(snap *store.Snapshot, vm *VM) bool {
	return len(store.Referring(snap, storage.Attachments, vm.ID)) == 0 && len(store.Referring(snap, network.PortBindings, vm.ID)) == 0
}

// hands gives the operation that has the VM in its hands; nil if none has.
func hands(snap *store.Snapshot, vm *VM) *operation.Operation {
	op := store.Find(snap, operation.Operations, vm.Status.OperationID)
	if op == nil || operation.Ended(op) {
		return nil
	}
	return op
}

func addresses(snap *store.Snapshot, vm *VM) []string {
	var out []string
	for _, nic := range vm.Status.NICs {
		if p := store.Find(snap, network.Ports, nic.PortID); p != nil && !slices.Contains(out, p.Status.Address) {
			out = append(out, p.Status.Address)
		}
	}
	return out
}
