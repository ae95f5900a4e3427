package host

import "github.com/virga-cloud/virga/engine/resource"

// Mode says whether a host takes new work.
type Mode string

// The modes.
const (
	Active      Mode = "active"      // takes work
	Cordoned    Mode = "cordoned"    // takes no new work; what runs there stays
	Maintenance Mode = "maintenance" // takes no new work, and what runs there moves away
)

// Spec is what is wanted of a host.
type Spec struct {
	// Mode says whether placement may choose the host, and whether what runs there moves away.
	Mode Mode `json:"mode" enum:"active,cordoned,maintenance"`
	// ClusterID is the cluster that the host belongs to.
	ClusterID resource.ID `json:"clusterID,omitempty" ref:"cluster"`
	// Zone is the failure domain that the host lies in.
	Zone string `json:"zone,omitempty"`
	// CPUOvercommitPercent is how many virtual CPUs are promised for 100 of the host's threads; 0: what
	// its cluster says.
	CPUOvercommitPercent int64 `json:"cpuOvercommitPercent,omitempty"`
	// MemoryOvercommitPercent is how much guest memory is promised for 100 MiB of the host's; 0: what its
	// cluster says.
	MemoryOvercommitPercent int64 `json:"memoryOvercommitPercent,omitempty"`
	// PageSharing says when memory pages of the same content, of whatever guests, are kept once: never (the
	// default), or when-short: as long as the host is short of memory. A guest can tell by the time of a write
	// whether another has a page that it guesses.
	PageSharing PageSharing `json:"pageSharing,omitempty" enum:"never,when-short"`
}

// HugeMiB is the memory in all huge pages that are set aside, in MiB: nobody else has it.
func (p Profile) HugeMiB() int64 { return 2*p.HugePages2MiB + 1024*p.HugePages1GiB }

// PageSharing says when pages of the same content are kept once.
type PageSharing string

// When pages are shared.
const (
	NeverShare     PageSharing = "never"
	ShareWhenShort PageSharing = "when-short"
)

// Accelerator is how guests' instructions are run.
type Accelerator string

// The accelerators.
const (
	KVM Accelerator = "kvm" // by the processor
	TCG Accelerator = "tcg" // by translation in software
)

// Datapath is where the virtual switch forwards.
type Datapath string

// The datapaths.
const (
	SystemDatapath Datapath = "system" // in the kernel, openvswitch.ko
	NetdevDatapath Datapath = "netdev" // in user space
)

// Profile is what was probed of the host's abilities; drivers choose by it.
type Profile struct {
	// Accelerator is what really works: kvm only if a guest really ran with it.
	Accelerator Accelerator `json:"accelerator,omitempty"`
	// AcceleratorWhy says how it was found out, in words.
	AcceleratorWhy string `json:"acceleratorWhy,omitempty"`
	// CgroupVersion is 1 or 2, 0 where no cgroup controllers can be used.
	CgroupVersion int `json:"cgroupVersion"`
	// Datapath is what the virtual switch uses.
	Datapath Datapath `json:"datapath,omitempty"`
	// QEMUVersion is the version of QEMU, for example "7.2.22".
	QEMUVersion string `json:"qemuVersion,omitempty"`
	// MachineType is the newest q35 machine that QEMU offers, for example "pc-q35-7.2".
	MachineType string `json:"machineType,omitempty"`
	// CPUVendor is who made the processor that guests see, for example "GenuineIntel".
	CPUVendor string `json:"cpuVendor,omitempty"`
	// CPUFeatures are those that QEMU can give a guest here, sorted, with blanks between.
	CPUFeatures string `json:"cpuFeatures,omitempty"`
	// HugePages2MiB is the number of huge pages of 2 MiB that are set aside.
	HugePages2MiB int64 `json:"hugePages2MiB"`
	// HugePages1GiB is the number of those of 1 GiB.
	HugePages1GiB int64 `json:"hugePages1GiB,omitempty"`
	// PageSharing is "yes" where the kernel can keep pages of the same content once (KSM).
	PageSharing string `json:"pageSharing,omitempty"`
	// SwapMiB is the swap that the host has, and CompressedSwap "yes" where what is swapped is compressed in memory
	// first (zswap), or stays there (zram).
	SwapMiB        int64  `json:"swapMiB,omitempty"`
	CompressedSwap string `json:"compressedSwap,omitempty"`
	// IOMMU is "yes" where devices can be given to guests.
	IOMMU string `json:"iommu,omitempty"`
	// KernelWireGuard and KernelIPsec are "yes" where the kernel does the work.
	KernelWireGuard string `json:"kernelWireGuard,omitempty"`
	KernelIPsec     string `json:"kernelIPsec,omitempty"`
	// KernelVersion as uname tells it.
	KernelVersion string `json:"kernelVersion,omitempty"`
}

// NUMANode is one memory node.
type NUMANode struct {
	// Node is its number.
	Node int `json:"node"`
	// MemoryMiB is its memory.
	MemoryMiB int64 `json:"memoryMiB"`
	// CPUs are its threads.
	CPUs []int `json:"cpus"`
	// Distances say how far the memory of each node is for its threads, in the order of the nodes, as the
	// firmware tells it: 10 is its own, 20 takes twice as long.
	Distances []int `json:"distances,omitempty"`
}

// Unbound is the node of a part that is bound to none.
const Unbound = -1

// NUMAPart is a part of a workload that has its memory and its vCPUs together on one memory node. A guest
// sees each of its parts as one node.
type NUMAPart struct {
	// Node is the host's memory node that the part is bound to; -1: the kernel puts it where it likes.
	Node int `json:"node"`
	// CPUs is the number of its vCPUs, and MemoryMiB its memory in MiB.
	CPUs      int64 `json:"cpus"`
	MemoryMiB int64 `json:"memoryMiB"`
}

// Inventory is what the host has.
type Inventory struct {
	// CPUModel as the processor names itself.
	CPUModel string `json:"cpuModel,omitempty"`
	// Sockets, CoresPerSocket, ThreadsPerCore multiply to Threads.
	Sockets        int64 `json:"sockets"`
	CoresPerSocket int64 `json:"coresPerSocket"`
	ThreadsPerCore int64 `json:"threadsPerCore"`
	// Threads is the number of processors that the kernel schedules on: the host's vCPUs.
	Threads int64 `json:"threads"`
	// MHz is the clock of one thread.
	MHz int64 `json:"mhz"`
	// MemoryMiB is all memory; ReservedMemoryMiB is kept for the host itself.
	MemoryMiB         int64 `json:"memoryMiB"`
	ReservedMemoryMiB int64 `json:"reservedMemoryMiB"`
	// NUMA lists the memory nodes.
	NUMA []NUMANode `json:"numa,omitempty"`
}

// Status is what the host's agent reports.
type Status struct {
	resource.Observed
	// Address is where the agent listens for the servers and the other hosts, host:port.
	Address string `json:"address,omitempty"`
	// Addresses are all addresses of the host's own, beside those of its virtual switch.
	Addresses []string `json:"addresses,omitempty"`
	// TunnelAddress is the address of the overlay's tunnels.
	TunnelAddress string `json:"tunnelAddress,omitempty"`
	// APIAddress is where the server on this host answers, host:port; empty: it runs none.
	APIAddress string `json:"apiAddress,omitempty"`
	// Version of virga that the agent runs.
	Version string `json:"version,omitempty"`
	// Profile is what was probed.
	Profile Profile `json:"profile"`
	// Inventory is what is there.
	Inventory Inventory `json:"inventory"`
	// Inventoried is "yes" after the agent has looked at everything that runs on the host.
	Inventoried string `json:"inventoried,omitempty"`
}

// Host is a physical machine that runs workloads.
type Host = resource.Record[Spec, Status]

// Hosts is the kind.
var Hosts = resource.Define("host", "hosts", resource.Options[Spec, Status]{
	Doc: "A physical machine that runs workloads.", Scope: resource.InCloud, Reach: resource.NamedHost,
	Refs: func(h *Host) []resource.Ref { return []resource.Ref{Ref(h.ID)} },
	Needs: func(h *Host) []resource.Need {
		return []resource.Need{{Ref: resource.Ref{Kind: clusterKind, ID: h.Spec.ClusterID}}}
	},
})

// clusterKind is the kind of what a host belongs to; the domain above knows more of it.
const clusterKind resource.Kind = "cluster"

// Ref is the address of a host.
func Ref(id resource.ID) resource.Ref { return resource.Ref{Kind: "host", ID: id} }
