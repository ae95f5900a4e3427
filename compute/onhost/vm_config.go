package onhost

import (
	"fmt"
	"sort"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost/seed"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/host/numa"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// Screen is the graphics adapter.
type Screen string

// The screens.
const (
	VGA      Screen = "vga"
	NoScreen Screen = "none" // a guest boots most of a second faster without, under TCG
)

// VMConfig is all that a hypervisor needs to know to run an instance: pure data.
type VMConfig struct {
	ID    resource.ID // the instance
	VMID  resource.ID // what the guest sees as its own UUID
	Boot  int64
	Epoch int64
	// Name is for people.
	Name string
	// NUMA are the guest's memory nodes; empty: one, which is not bound.
	NUMA      []NUMANode
	CPUs      int64
	MemoryMiB int64
	// BootCPUs is what of CPUs it has from its boot on, and MaxCPUs what that may become while the guest lives;
	// 0: it stays as it is.
	BootCPUs, MaxCPUs int64
	// BootMemoryMiB is what of MemoryMiB it has from its boot on, and MaxMemoryMiB what that may become while the
	// guest lives; 0: it stays as it is.
	BootMemoryMiB, MaxMemoryMiB int64
	MachineType                 string
	CPUModel                    string // empty: the best that the accelerator has
	Accelerator                 host.Accelerator
	UID                         int64
	// RootPorts is the number of PCIe root ports, which are made at the start.
	RootPorts int64
	Disks     []Disk
	NICs      []NIC
	compute.Hardware
	// Seed are the files of the seed disk; empty: none.
	Seed seed.Files
	// Incoming waits for memory instead of booting.
	Incoming bool
	Screen   Screen
	// Kernel, Initrd and Append boot a kernel directly, without a disk.
	Kernel, Initrd, Append string
}

// Booted is the memory that the guest has from its boot on, in MiB.
func (m VMConfig) Booted() int64 {
	if m.MaxMemoryMiB == 0 {
		return m.MemoryMiB
	}
	return m.BootMemoryMiB
}

// NUMANode is a memory node of a guest.
type NUMANode struct {
	HostNode        int // host.Unbound: none
	CPUs, MemoryMiB int64
	Threads         []int // of the host, that its vCPUs may run on; empty: all
}

// Disk is an open volume.
type Disk struct {
	ID     resource.ID // the volume; the guest sees it in the disk's serial number
	Source storage.Source
	// BootIndex is its place among the disks that are booted from, from 1; 0: it is not.
	BootIndex int64
	Model     string // what the guest sees; empty: virtio-blk
	Limits    compute.DiskLimits
	Queues    int64 // more than 0: of the throughput profile
	Address
}

// NIC is a bound port.
type NIC struct {
	ID     resource.ID // the port
	Device string      // the tap
	MAC    string
	MTU    int64 // bytes
	// VNetHdr lets the guest hand over large and unfinished packets. User-space Open vSwitch
	// cannot finish them.
	VNetHdr bool
	Model   string // what the guest sees; empty: virtio-net
	Queues  int64  // more than 0: of the throughput profile
	Address
}

// Address is where a device is plugged in.
type Address struct {
	Bus  compute.Bus
	Slot int64
}

// Inputs are what an instance is compiled from, besides its own record.
type Inputs struct {
	Attachments  []*storage.Attachment
	PortBindings []*network.PortBinding
	Profile      host.Profile
	Inventory    host.Inventory
	Screen       Screen
}

// Compile makes the VM of an instance, or says what it waits for.
func Compile(i *compute.Instance, in Inputs) (VMConfig, []string, error) {
	s := i.Spec
	m := VMConfig{
		ID: i.ID, VMID: s.VMID, Boot: s.Boot, Epoch: s.Epoch, Name: s.VMName, CPUs: s.CPUs, MemoryMiB: s.MemoryMiB,
		MachineType: s.MachineType, CPUModel: s.CPUModel, Accelerator: s.Accelerator, UID: s.UID,
		BootCPUs: s.BootCPUs, MaxCPUs: s.MaxCPUs, BootMemoryMiB: s.BootMemoryMiB, MaxMemoryMiB: s.MaxMemoryMiB,
		Incoming: s.Run == compute.RunIncoming, Screen: in.Screen, RootPorts: s.RootPorts, Hardware: s.Hardware,
	}
	if m.MachineType == "" {
		m.MachineType = in.Profile.MachineType
	}
	if m.MachineType == "" {
		return VMConfig{}, nil, fault.New(fault.Precondition, "instance %s: no QEMU works on this host; see virga host show", i.ID)
	}
	if m.Accelerator == "" {
		m.Accelerator = in.Profile.Accelerator
	}
	if m.Accelerator == host.KVM && in.Profile.Accelerator == host.TCG {
		return VMConfig{}, nil, fault.New(fault.Precondition, "instance %s wants kvm, and this host has none: %s", i.ID, in.Profile.AcceleratorWhy)
	}
	for _, p := range s.NUMA {
		m.NUMA = append(m.NUMA, NUMANode{HostNode: p.Node, CPUs: p.CPUs, MemoryMiB: p.MemoryMiB, Threads: numa.Threads(&in.Inventory, p.Node)})
	}
	disks, waits := compileDisks(s.Disks, in.Attachments)
	nics, more := compileNICs(s.NICs, in.PortBindings, in.Profile.Datapath)
	m.Disks, m.NICs, waits = disks, nics, append(waits, more...)
	facts := seed.Facts{InstanceID: string(s.VMID), Hostname: s.Hostname, SSHKeys: s.SSHKeys, UserData: s.UserData}
	for _, n := range nics {
		facts.NICs = append(facts.NICs, seed.NIC{MAC: n.MAC, MTU: n.MTU})
	}
	var err error
	if m.Seed, err = seed.Make(facts); err != nil {
		return VMConfig{}, nil, fault.New(fault.Internal, "compile instance %s: %w", i.ID, err)
	}
	sort.Strings(waits)
	return m, waits, nil
}

func compileDisks(wanted []compute.InstanceDisk, there []*storage.Attachment) (out []Disk, waits []string) {
	for n, d := range wanted {
		disk, why := compileDisk(d, there)
		if why != "" {
			waits = append(waits, fmt.Sprintf("disk %d: %s", n, why))
			continue
		}
		out = append(out, disk)
	}
	return out, waits
}

// compileDisk makes a disk, or says what it waits for.
func compileDisk(d compute.InstanceDisk, there []*storage.Attachment) (out Disk, why string) {
	a := byID(there, d.AttachmentID)
	switch {
	case a == nil:
		return Disk{}, "its attachment is not there yet"
	case a.Deleting != nil || a.Status.Phase != storage.AttachmentReady || a.Status.Source.Type == "":
		return Disk{}, fmt.Sprintf("volume %s is not open on this host yet%s", d.VolumeID, because(a.Status.Observed))
	}
	return Disk{ID: d.VolumeID, Source: a.Status.Source, Model: d.Model, Limits: d.Limits, Queues: d.Queues, BootIndex: d.BootIndex, Address: Address{d.Bus, d.Slot}}, ""
}

func compileNICs(wanted []compute.InstanceNIC, there []*network.PortBinding, datapath host.Datapath) (out []NIC, waits []string) {
	for n, c := range wanted {
		nic, why := compileNIC(c, there, datapath)
		if why != "" {
			waits = append(waits, fmt.Sprintf("NIC %d: %s", n, why))
			continue
		}
		out = append(out, nic)
	}
	return out, waits
}

// compileNIC makes a NIC, or says what it waits for.
func compileNIC(c compute.InstanceNIC, there []*network.PortBinding, datapath host.Datapath) (out NIC, why string) {
	p := byID(there, c.PortBindingID)
	switch {
	case p == nil:
		return NIC{}, "its port binding is not there yet"
	case p.Deleting != nil || p.Status.Phase != network.PortBindingReady || p.Status.Device == "":
		return NIC{}, fmt.Sprintf("port %s is not bound on this host yet%s", c.PortID, because(p.Status.Observed))
	}
	return NIC{
		ID: c.PortID, Device: p.Status.Device, MAC: c.MAC, MTU: c.MTU, VNetHdr: datapath == host.SystemDatapath, Model: c.Model, Queues: c.Queues, Address: Address{c.Bus, c.Slot},
	}, ""
}

func byID[S, T any](all []*resource.Record[S, T], id resource.ID) *resource.Record[S, T] {
	for _, r := range all {
		if r.ID == id {
			return r
		}
	}
	return nil
}

// because repeats a record's own first problem, so that nobody has to go and look for it.
func because(o resource.Observed) string {
	if len(o.Problems) == 0 {
		return ""
	}
	return " (" + o.Problems[0].Message + ")"
}
