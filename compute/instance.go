package compute

import (
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// AgentHolder holds what an agent has made on its host until the agent has undone it.
const AgentHolder = "agent"

// Run is the desired state of an instance.
type Run string

// The desired powers.
const (
	RunRunning  Run = "running"
	RunPaused   Run = "paused"
	RunIncoming Run = "incoming" // started paused, waiting for a migration's memory
	RunStopped  Run = "stopped"  // ask the guest, wait, then force
	RunKilled   Run = "killed"   // at once
)

// InstanceDisk is a disk of an instance.
type InstanceDisk struct {
	// AttachmentID and VolumeID are the disk.
	AttachmentID resource.ID `json:"attachmentID"`
	VolumeID     resource.ID `json:"volumeID"`
	// Model is what the guest sees, Bus and Slot where.
	Model string `json:"model"`
	Bus   Bus    `json:"bus"`
	Slot  int64  `json:"slot"`
	// Queues is how many it has; 0: those of the default I/O profile.
	Queues int64 `json:"queues,omitempty"`
	// BootIndex is its place among the disks that are booted from, from 1; 0: it is not.
	BootIndex int64 `json:"bootIndex,omitempty"`
	// SizeMiB is how large the guest shall see it; its agent grows it while the guest lives.
	SizeMiB int64 `json:"sizeMiB,omitempty"`
	// Limits are the most that it does; its agent changes them while the guest lives.
	Limits DiskLimits `json:"limits,omitzero"`
}

// InstanceNIC is a NIC of an instance.
type InstanceNIC struct {
	// PortBindingID and PortID are the port.
	PortBindingID resource.ID `json:"portBindingID"`
	PortID        resource.ID `json:"portID"`
	// MAC is its hardware address.
	MAC string `json:"mac"`
	// MTU in bytes.
	MTU int64 `json:"mtu"`
	// Model is what the guest sees, Bus and Slot where.
	Model string `json:"model"`
	Bus   Bus    `json:"bus"`
	Slot  int64  `json:"slot"`
	// Queues is how many it has; 0: those of the default I/O profile.
	Queues int64 `json:"queues,omitempty"`
}

// Outgoing tells a source where its memory goes.
type Outgoing struct {
	// OperationID is the migration that wants it: one attempt.
	OperationID resource.ID `json:"operationID"`
	// InstanceID is the target.
	InstanceID resource.ID `json:"instanceID"`
	// HostID is the target's host, and Address its agent, host:port.
	HostID  resource.ID `json:"hostID"`
	Address string      `json:"address"`
	// Token is the one that the target was told to expect.
	Token string `json:"token"`
}

// Incoming tells a target whose memory it takes, and from nobody else.
type Incoming struct {
	// HostID is the source's host: its certificate must name it.
	HostID resource.ID `json:"hostID"`
	// Token is of this one attempt.
	Token string `json:"token"`
}

// InstanceSpec is one QEMU on one host.
type InstanceSpec struct {
	// VMID is the VM that it runs; VMName and Hostname are its names.
	VMID     resource.ID `json:"vmID"`
	VMName   string      `json:"vmName"`
	Hostname string      `json:"hostname"`
	// HostID is where it runs.
	HostID resource.ID `json:"hostID"`
	// Boot is the VM's boot that it belongs to.
	Boot int64 `json:"boot"`
	// Epoch is the ownership's; an agent refuses one that is lower than it has seen.
	Epoch int64 `json:"epoch"`
	// Run is the desired state.
	Run Run `json:"run" enum:"running,paused,incoming,stopped,killed"`
	// StopTimeoutSeconds is how long the guest may take to stop.
	StopTimeoutSeconds int64 `json:"stopTimeoutSeconds"`
	// CPUs, MemoryMiB are the VM's size.
	CPUs      int64 `json:"cpus"`
	MemoryMiB int64 `json:"memoryMiB"`
	// BootCPUs is how many it had when its guest booted, and MaxCPUs what CPUs may become while the guest lives;
	// 0: CPUs stays as it is. Both are fixed for the life of the instance and its successors in a migration.
	BootCPUs int64 `json:"bootCPUs,omitempty"`
	MaxCPUs  int64 `json:"maxCPUs,omitempty"`
	// BootMemoryMiB is what it had when its guest booted, and MaxMemoryMiB what MemoryMiB may become while the guest
	// lives; 0: MemoryMiB stays as it is. Both are fixed for the life of the instance and its successors in a migration.
	BootMemoryMiB int64 `json:"bootMemoryMiB,omitempty"`
	MaxMemoryMiB  int64 `json:"maxMemoryMiB,omitempty"`
	// CPUPolicy is what it gets of its host's processors; it may change while the VM runs.
	CPUPolicy
	// MemoryPolicy is what it gets of its host's memory; it may change while the VM runs.
	MemoryPolicy
	// PoolID is the resource pool that it is in; empty: in none. It may change while the VM runs.
	PoolID resource.ID `json:"poolID,omitempty"`
	// NUMA are the memory nodes that the guest sees, and which of the host's each is bound to; empty: it sees
	// one, which is not bound.
	NUMA []host.NUMAPart `json:"numa,omitempty"`
	// MachineType and CPUModel are fixed for the life of the instance and its successors in a migration.
	MachineType string `json:"machineType"`
	CPUModel    string `json:"cpuModel"`
	// Accelerator is how the guest's instructions are run.
	Accelerator host.Accelerator `json:"accelerator"`
	// UID is the user that QEMU runs as.
	UID int64 `json:"uid,omitempty"`
	// RootPorts is how many PCIe root ports it has, for as long as it and its successors in a migration live.
	RootPorts int64 `json:"rootPorts"`
	// Hardware is what the guest finds besides.
	Hardware
	// Disks and NICs in order.
	Disks []InstanceDisk `json:"disks,omitempty"`
	NICs  []InstanceNIC  `json:"nics,omitempty"`
	// SSHKeys and UserData are for the seed and the metadata service.
	SSHKeys  []string `json:"sshKeys,omitempty"`
	UserData []byte   `json:"userData,omitempty"`
	// Outgoing asks for the memory to be sent; the instance then waits, stopped, for what is decided.
	Outgoing *Outgoing `json:"outgoing,omitempty"`
	// Incoming says, while run is incoming, where the memory comes from.
	Incoming *Incoming `json:"incoming,omitempty"`
}

// The phases of an instance, as its agent sees them.
const (
	InstanceWaiting  = "waiting"  // for disks and ports
	InstanceStarting = "starting" // QEMU is being started
	InstanceRunning  = "running"
	InstancePaused   = "paused"
	InstanceIncoming = "incoming" // ready to receive
	InstanceReceived = "received" // all memory is here, paused
	InstanceSending  = "sending"  // memory is on its way; the guest runs
	InstanceSent     = "sent"     // all memory is sent; the guest is stopped here
	InstanceStopping = "stopping"
	InstanceStopped  = "stopped" // QEMU has ended; Exit says how
	InstanceUnknown  = "unknown" // the agent has not looked yet
)

// Exit is how a QEMU process ended.
type Exit string

// The ends.
const (
	ExitPoweredOff Exit = "powered-off" // the guest did it, asked or not
	ExitForced     Exit = "forced"      // we did it
	ExitCrashed    Exit = "crashed"     // QEMU died, or the guest panicked
	ExitFailed     Exit = "failed"      // it could not be started
	ExitLost       Exit = "lost"        // it was gone when the agent looked, and nobody saw how
)

// InstanceDevice is a disk or NIC that a guest has.
type InstanceDevice struct {
	// Kind is what it is, ID its volume or port.
	Kind DeviceKind  `json:"kind" enum:"disk,nic"`
	ID   resource.ID `json:"id"`
	// State is how far it is attached: attaching, attached, detaching.
	State DeviceState `json:"state" enum:"attaching,attached,detaching"`
}

// InstanceStatus is what the agent sees.
type InstanceStatus struct {
	resource.Observed
	// Phase is its state in one word.
	Phase string `json:"phase,omitempty" enum:"waiting,starting,running,paused,incoming,received,sending,sent,stopping,stopped,unknown"`
	// Exit and ExitMessage say how it ended.
	Exit        Exit   `json:"exit,omitempty"`
	ExitMessage string `json:"exitMessage,omitempty"`
	// StartedAt is when QEMU was started, EndedAt when it ended.
	StartedAt time.Time `json:"startedAt,omitzero"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	// PID is QEMU's process.
	PID int64 `json:"pid,omitempty"`
	// OutgoingID is the migration that Phase sending or sent speaks of; OutgoingError why it failed.
	OutgoingID    resource.ID `json:"outgoingID,omitempty"`
	OutgoingError string      `json:"outgoingError,omitempty"`
	// DowntimeMillis and TransferMillis are QEMU's own figures of the last migration out, in ms.
	DowntimeMillis int64 `json:"downtimeMillis,omitempty"`
	TransferMillis int64 `json:"transferMillis,omitempty"`
	// Devices are the disks and NICs that the guest has, and those that it is about to be given.
	Devices []InstanceDevice `json:"devices,omitempty"`
	// DevicesGeneration is the generation of the spec that they were looked at for; 0: nobody has looked yet.
	DevicesGeneration int64 `json:"devicesGeneration,omitempty"`
	// GuestAgent is "yes" when the guest's agent answers; GuestAddresses is what it told.
	GuestAgent     string   `json:"guestAgent,omitempty"`
	GuestAddresses []string `json:"guestAddresses,omitempty"`
	// MemoryMiB is what the guest has been given of its memory, in MiB, where that may grow while it runs.
	MemoryMiB int64 `json:"memoryMiB,omitempty"`
	// BalloonDriver is "yes" when the balloon driver in the guest answers, "no" when it should have by now.
	BalloonDriver string `json:"balloonDriver,omitempty" enum:"yes,no"`
}

// Instance is one QEMU on one host.
type Instance = resource.Record[InstanceSpec, InstanceStatus]

// Instances is the kind.
var Instances = resource.Define("instance", "instances", resource.Options[InstanceSpec, InstanceStatus]{
	Doc: "One run of a VM: a QEMU process on one host.", Scope: resource.InProject, Reach: resource.NamedHost,
	Guards: map[string]resource.Sight{"spec.userData": resource.Writer, "spec.uid": resource.Operator, "spec.hostID": resource.Operator,
		"spec.incoming": resource.Operator, "spec.outgoing": resource.Operator,
		"status.pid": resource.Operator, "status.exitMessage": resource.Operator, "status.outgoingError": resource.Operator},
	Needs: func(i *Instance) []resource.Need {
		return []resource.Need{
			{Ref: resource.Ref{Kind: "vm", Project: i.Project, ID: i.Spec.VMID}, Tie: resource.Following},
			{Ref: host.Ref(i.Spec.HostID), Tie: resource.Following},
		}
	},
	Refs: func(i *Instance) []resource.Ref {
		if i.Spec.Outgoing == nil {
			return nil
		}
		return []resource.Ref{{Kind: "operation", Project: i.Project, ID: i.Spec.Outgoing.OperationID}}
	},
})
