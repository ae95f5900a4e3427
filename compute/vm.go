package compute

import (
	"cmp"
	"time"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/host/numa"
	"github.com/virga-cloud/virga/network"
)

// Power is the desired power of a VM.
type Power string

// The desired powers.
const (
	Running Power = "running"
	Paused  Power = "paused"
	Stopped Power = "stopped"
)

// RestartPolicy says when a guest that ended is started again within the same boot.
type RestartPolicy string

// The policies.
const (
	OnFailure RestartPolicy = "on-failure" // when it crashed
	Always    RestartPolicy = "always"     // also when it powered itself off
	Never     RestartPolicy = "never"
)

// The models of disks and NICs: what the guest sees.
const (
	VirtioBlk  = "virtio-blk"
	VirtioSCSI = "virtio-scsi" // a disk of one SCSI controller, which every VM has
	NVMe       = "nvme"        // an NVMe controller for each disk
	SATA       = "sata"        // a disk of the AHCI controller of the mainboard; it neither comes nor goes while the VM runs
	IDE        = "ide"         // a disk of an IDE controller; likewise
	CDROM      = "cdrom"       // a drive of the AHCI controller with the disk as its medium, which nobody writes; likewise
	VirtioNet  = "virtio-net"
	E1000      = "e1000"   // Intel 82540EM
	E1000e     = "e1000e"  // Intel 82574L
	RTL8139    = "rtl8139" // Realtek
)

// Disk is a disk of a VM: a volume that is there, or one that is made for the VM; the first is booted from.
type Disk struct {
	// Name is its name within the VM; empty in a request: disk0, disk1, …
	Name string `json:"name"`
	// VolumeID is a volume that is there; a request may name it. Empty: one is made for the VM, and goes with it.
	VolumeID resource.ID `json:"volumeID,omitempty" ref:"volume"`
	// SizeMiB is the least size of a volume that is made, in MiB; raising it lets the volume grow. Empty: that
	// of the image's disk that it starts from.
	SizeMiB int64 `json:"sizeMiB,omitempty"`
	// DatastoreID is where a volume that is made must live; a request may name it. Empty: where the VM is.
	DatastoreID resource.ID `json:"datastoreID,omitempty" ref:"datastore"`
	// Model is what the guest sees: virtio-blk (the default of most systems), virtio-scsi, nvme, sata, ide, cdrom (read only).
	Model string `json:"model" enum:"virtio-blk,virtio-scsi,nvme,sata,ide,cdrom"`
	// Limits are the most that it does, in requests and bytes per second; they may change while the VM runs.
	Limits DiskLimits `json:"limits,omitzero"`
	// IOProfile is what its way through QEMU is made for: default, or throughput (many or large requests under
	// way; virtio-blk only). It holds from the next start on.
	IOProfile IOProfile `json:"ioProfile" enum:"default,throughput"`
}

// NIC is a network interface of a VM: a port that is there, or one that is made for the VM.
type NIC struct {
	// Name is its name within the VM; empty in a request: nic0, nic1, …
	Name string `json:"name"`
	// PortID is a port that is there; a request may name it. Empty: one is made for the VM, and goes with it.
	PortID resource.ID `json:"portID,omitempty" ref:"port"`
	// NetworkID is where a port is made; a request may name it. Empty: in the network "default".
	NetworkID resource.ID `json:"networkID,omitempty" ref:"network"`
	// Address is the IPv4 address that a port which is made must have; empty: one is chosen.
	Address string `json:"address,omitempty"`
	// MAC is the hardware address that a port which is made must have; empty: one is chosen.
	MAC string `json:"mac,omitempty"`
	// Model is what the guest sees: virtio-net (the default of most systems), e1000, e1000e, rtl8139.
	Model string `json:"model" enum:"virtio-net,e1000,e1000e,rtl8139"`
	// IOProfile is what its way through QEMU is made for: default, or throughput (virtio-net only). It holds from
	// the next start on.
	IOProfile IOProfile `json:"ioProfile" enum:"default,throughput"`
}

// VMSpec is what the user wants.
type VMSpec struct {
	// Description is for people.
	Description string `json:"description,omitempty"`
	// CPUs is the number of virtual CPUs.
	CPUs int64 `json:"cpus"`
	// MaxCPUs is how many virtual CPUs it can have while it runs, for which they are plugged in; 0: their number changes
	// while it is stopped. It holds from the next boot on.
	MaxCPUs int64 `json:"maxCPUs,omitempty"`
	// CPUPolicy is what the VM gets of its host's processors; it may change while it runs.
	CPUPolicy
	// MemoryMiB is the guest's memory, in MiB.
	MemoryMiB int64 `json:"memoryMiB"`
	// MaxMemoryMiB is how much memory it can be given while it runs, in MiB, for which its guest needs a driver of
	// virtio-mem; 0: its memory changes while it is stopped. It holds from the next boot on.
	MaxMemoryMiB int64 `json:"maxMemoryMiB,omitempty"`
	// MemoryPolicy is what the VM gets of its host's memory; it may change while it runs.
	MemoryPolicy
	// PoolID is the resource pool that it is in; a request may name it. Empty: in none. It may change while the VM runs.
	PoolID resource.ID `json:"poolID,omitempty" ref:"resourcepool"`
	// AffinityRuleIDs are the affinity rules that it is in; a request may name them. They may change at any time: a VM
	// that runs stays where it is.
	AffinityRuleIDs []resource.ID `json:"affinityRuleIDs,omitempty" ref:"affinityrule"`
	// Hardware is what the guest finds besides.
	Hardware
	// BootOrder names the disks that it boots from, the first that has something to boot; empty: its first disk.
	// It holds from the next start on.
	BootOrder []string `json:"bootOrder,omitempty"`
	// Disks are its disks in order; none in a request: those of its image.
	Disks []Disk `json:"disks"`
	// NICs are its NICs in order; none in a request: one in the network "default".
	NICs []NIC `json:"nics"`
	// SecurityGroupIDs are the security groups of the ports that are made for it; a request may name them. Empty: the
	// project's "default". They may change at any time.
	SecurityGroupIDs []resource.ID `json:"securityGroupIDs,omitempty" ref:"securitygroup"`
	// ImageID is the image that the first disks are made from; a request may name it. Empty: they are empty.
	ImageID resource.ID `json:"imageID,omitempty" ref:"image"`
	// Power is the desired power: running, paused, stopped.
	Power Power `json:"power" enum:"running,paused,stopped"`
	// BootToken is a word of the caller's own. When it changes, the VM boots anew: what runs is stopped first.
	BootToken string `json:"bootToken,omitempty" maxLength:"200"`
	// KillInstanceID is the instance that is not waited for when it has to end: its guest gets no time.
	KillInstanceID resource.ID `json:"killInstanceID,omitempty"`
	// StopTimeoutSeconds is how long a guest that was asked to stop may take.
	StopTimeoutSeconds int64 `json:"stopTimeoutSeconds"`
	// RestartPolicy says when an ended guest is started again.
	RestartPolicy RestartPolicy `json:"restartPolicy" enum:"on-failure,always,never"`
	// Hostname is what the guest is told to be called; empty: as the VM is.
	Hostname string `json:"hostname,omitempty"`
	// SSHKeys are put into the guest by cloud-init.
	SSHKeys []string `json:"sshKeys,omitempty"`
	// UserData is handed to cloud-init byte for byte, whatever it is; base64 in JSON.
	UserData []byte `json:"userData,omitempty"`
	// NUMA says how its memory and vCPUs are kept together on the host's memory nodes: preferred (on as few
	// nodes as possible), required (only on a host that has all of it fit on one node), none. It holds from
	// the next boot on.
	NUMA numa.Policy `json:"numa,omitempty" enum:"preferred,required,none"`
	// HostID pins the VM to one host; a request may name it.
	HostID resource.ID `json:"hostID,omitempty" ref:"host"`
}

// The phases of a VM, as people see them.
const (
	PhasePending  = "pending"  // waits for disks, addresses or a host
	PhaseStarting = "starting" // has a host, QEMU is being started
	PhaseRunning  = "running"
	PhasePaused   = "paused"
	PhaseMoving   = "migrating"
	PhaseStopping = "stopping"
	PhaseStopped  = "stopped"
	PhaseCrashed  = "crashed" // and waits to be started again, or must not be
	PhaseUnknown  = "unknown" // its host is unreachable
	PhaseDeleting = "deleting"
)

// DiskStatus is the volume that a disk of a VM has.
type DiskStatus struct {
	// Name is the disk's.
	Name string `json:"name"`
	// VolumeID is its volume.
	VolumeID resource.ID `json:"volumeID"`
	// Model is what the guest sees.
	Model string `json:"model"`
}

// NICStatus is the port that a NIC of a VM has.
type NICStatus struct {
	// Name is the NIC's.
	Name string `json:"name"`
	// PortID is its port.
	PortID resource.ID `json:"portID"`
	// Model is what the guest sees.
	Model string `json:"model"`
}

// VMStatus is what was last seen.
type VMStatus struct {
	resource.Observed
	// Phase is the VM's state in one word.
	Phase string `json:"phase,omitempty" enum:"pending,starting,running,paused,migrating,stopping,stopped,crashed,unknown,deleting"`
	// Disks and NICs are the volumes and ports that it has, in the order of its disks and NICs.
	Disks []DiskStatus `json:"disks,omitempty"`
	NICs  []NICStatus  `json:"nics,omitempty"`
	// InstanceID is the instance that is the VM.
	InstanceID resource.ID `json:"instanceID,omitempty"`
	// HostID is where it is, or was when it last ran.
	HostID resource.ID `json:"hostID,omitempty"`
	// Epoch is the ownership's; it only rises.
	Epoch int64 `json:"epoch"`
	// UID is the user that its QEMU runs as, on every host; unique in the cloud.
	UID int64 `json:"uid,omitempty"`
	// Boot counts the boots that were asked for; BootToken is the token that the last of them was asked for with.
	Boot      int64  `json:"boot,omitempty"`
	BootToken string `json:"bootToken,omitempty"`
	// EndedBoot is the last boot that is used up, and EndedWhy how it ended, until the next one is requested.
	EndedBoot int64  `json:"endedBoot,omitempty"`
	EndedWhy  string `json:"endedWhy,omitempty"`
	// Crashes counts the crashes in boot CrashBoot; RetryAt is when the next start is due.
	Crashes   int64     `json:"crashes,omitempty"`
	CrashBoot int64     `json:"crashBoot,omitempty"`
	RetryAt   time.Time `json:"retryAt,omitzero"`
	// CrashMessage is how the last of these crashes went, in words.
	CrashMessage string `json:"crashMessage,omitempty"`
	// Addresses are its IP addresses.
	Addresses []string `json:"addresses,omitempty"`
	// Accelerator is how its instructions are run: kvm or tcg.
	Accelerator host.Accelerator `json:"accelerator,omitempty"`
	// StartedAt is when the running instance was started.
	StartedAt time.Time `json:"startedAt,omitzero"`
	// Devices are its disks and NICs at their addresses, which the platform gives once: the guest finds each
	// of them where it was, whatever else comes and goes.
	Devices []Device `json:"devices,omitempty"`
	// OperationID is the operation that has the VM in its hands.
	OperationID resource.ID `json:"operationID,omitempty"`
}

// Hostname is what the guest of a VM is told to be called, and what DNS calls it.
func Hostname(vm *VM) string { return cmp.Or(vm.Spec.Hostname, vm.Name) }

// VM is a virtual machine, as the user wants it.
type VM = resource.Record[VMSpec, VMStatus]

// VMs is the kind.
var VMs = resource.Define("vm", "vms", resource.Options[VMSpec, VMStatus]{
	Doc: "A virtual machine.", Scope: resource.InProject,
	// User data may carry passwords: who may only look does not see them.
	Guards: map[string]resource.Sight{"spec.userData": resource.Writer, "status.uid": resource.Operator, "status.hostID": resource.Operator},
	Counts: map[string]func(*VM) int64{
		"vms":       resource.One[VMSpec, VMStatus],
		"cpus":      func(v *VM) int64 { return v.Spec.CPUs },
		"memoryMiB": func(v *VM) int64 { return v.Spec.MemoryMiB },
	},
	Refs: func(v *VM) []resource.Ref {
		return []resource.Ref{
			{Kind: "instance", Project: v.Project, ID: v.Status.InstanceID},
			{Kind: "operation", Project: v.Project, ID: v.Status.OperationID},
			host.Ref(v.Status.HostID),
		}
	},
	Needs: func(v *VM) []resource.Need {
		out := []resource.Need{
			{Ref: resource.Ref{Kind: "image", Project: v.Project, ID: v.Spec.ImageID}, Tie: resource.Following}, // its content stays
			{Ref: host.Ref(v.Spec.HostID), Tie: resource.Following},
			{Ref: poolRef(v.Spec.PoolID)},
		}
		for _, d := range v.Status.Disks {
			out = append(out, resource.Need{Ref: resource.Ref{Kind: "volume", Project: v.Project, ID: d.VolumeID}, Tie: resource.Alone})
		}
		for _, n := range v.Status.NICs {
			out = append(out, resource.Need{Ref: resource.Ref{Kind: "port", Project: v.Project, ID: n.PortID}, Tie: resource.Alone})
		}
		out = append(out, placement.RuleNeeds(v.Project, v.Spec.AffinityRuleIDs)...)
		return append(out, network.GroupNeeds(v.Project, v.Spec.SecurityGroupIDs)...)
	},
	Takes: func(v *VM) []string {
		if v.Status.UID == 0 {
			return nil
		}
		return []string{uidWord(v.Status.UID)}
	},
})
