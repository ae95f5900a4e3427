package onhost

import (
	"context"
	"io"
	"net"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
)

// State is what a guest is doing.
type State string

// The states.
const (
	Absent   State = ""         // nothing is known of it here
	Running  State = "running"  //
	Paused   State = "paused"   // also just started and not yet let go
	Incoming State = "incoming" // waits for memory, or is receiving it
	Received State = "received" // all memory is here; its disks are not open yet
	Sent     State = "sent"     // all memory is sent; its disks are not open any more
	Off      State = "off"      // the guest has powered itself off; QEMU still lives
	Crashed  State = "crashed"  // the guest has panicked; QEMU still lives
	Silent   State = "silent"   // QEMU lives and does not answer; Problem says more
	Ended    State = "ended"    // QEMU is gone; Exit says how
)

// Alive reports whether there is a QEMU process.
func (s State) Alive() bool { return s != Absent && s != Ended }

// TransferState is how far memory that is being sent has got.
type TransferState string

// The states of a transfer.
const (
	NoTransfer       TransferState = ""
	TransferActive   TransferState = "active"
	TransferDone     TransferState = "done"
	TransferFailed   TransferState = "failed"
	TransferCanceled TransferState = "cancelled"
)

// Transfer is the last attempt to send a guest's memory.
type Transfer struct {
	OperationID resource.ID
	State       TransferState
	Error       string
	// DowntimeMillis and TotalMillis are QEMU's own figures.
	DowntimeMillis, TotalMillis int64
}

// Guest is what a hypervisor knows of an instance.
type Guest struct {
	ID    resource.ID
	Epoch int64
	State State
	PID   int
	// StartedAt and EndedAt frame QEMU's life.
	StartedAt, EndedAt time.Time
	// Exit and ExitMessage say how it ended; they are set in the state Ended.
	Exit        compute.Exit
	ExitMessage string
	// AskedAt is when the guest was first asked to power off, Asks how often.
	AskedAt time.Time
	Asks    int
	// Transfer is the last attempt to send its memory.
	Transfer Transfer
	// Problem says why a guest was paused by nobody (a full disk), or why it is silent.
	Problem string
}

// Kin tells, without asking any guest, which guests of a VM run here, by whatever instance.
type Kin interface {
	OfVM(vmID resource.ID) []Guest
}

// Hypervisor runs guests on this host. Everything may be repeated.
type Hypervisor interface {
	// Ensure starts the VM, paused, or waiting for memory, or adopts it when it is there
	// already; then it only raises the epoch. An epoch that is lower than the one kept is refused
	// with fault.Conflict. A guest that has ended is not started again: fault.Precondition. A disk
	// that is in use elsewhere is fault.Conflict too. When a start fails, List shows an ended guest.
	Ensure(ctx context.Context, m VMConfig) error
	// List tells of every guest, alive or ended and not yet removed. It is complete, or an error; a
	// guest that does not answer is listed as silent, so that it does not hide the others.
	List(ctx context.Context) ([]Guest, error)
	// Look tells of one guest; its state is Absent when there is none.
	Look(ctx context.Context, id resource.ID) (Guest, error)
	// Pause holds a guest, Resume lets it run: after a start, a pause, or a transfer.
	Pause(ctx context.Context, id resource.ID) error
	Resume(ctx context.Context, id resource.ID) error
	// Ask asks the guest to power itself off. It may not listen.
	Ask(ctx context.Context, id resource.ID) error
	// Kill ends QEMU and returns when it is gone. How the guest ended is kept: a guest
	// that is Off has powered itself off, one that ran was forced.
	Kill(ctx context.Context, id resource.ID) error
	// Remove forgets a guest, and ends it where it lives.
	Remove(ctx context.Context, id resource.ID) error
}

// Migrator is a hypervisor that can move guests.
type Migrator interface {
	// Send begins to send the guest's memory; for a transfer that has begun already, or has ended,
	// it does nothing. A guest stands still when everything is sent.
	Send(ctx context.Context, id resource.ID, to compute.Outgoing) error
	// Cancel ends a transfer that is under way; the guest goes on.
	Cancel(ctx context.Context, id resource.ID) error
	// AcceptStream hands memory to a guest that waits for it, and returns when the stream has ended.
	AcceptStream(ctx context.Context, id resource.ID, conn net.Conn) error
}

// Grower is a hypervisor that can grow the disks of a guest that lives. Nobody else may: QEMU
// has their files open.
type Grower interface {
	// Grow makes the disk of a volume at least so large. The guest sees it at once. One that is large
	// enough is left alone.
	Grow(ctx context.Context, id, volumeID resource.ID, sizeMiB int64) error
}

// Limiter is a hypervisor that holds the disks of its guests to limits: from their start, and changed while
// they live.
type Limiter interface {
	// Limit holds the disk of a volume to limits. One that is held to them already is left alone.
	Limit(ctx context.Context, id, volumeID resource.ID, l compute.DiskLimits) error
}

// PluggedState is how far a device is plugged in.
type PluggedState string

// The states of a device that a guest has, in part or in full.
const (
	PluggedWhole   PluggedState = "whole"   // the guest has it
	PluggedHalf    PluggedState = "half"    // the guest does not have it, and QEMU still has open what is behind it
	PluggedLeaving PluggedState = "leaving" // the guest has it, and was asked to give it up
)

// Plugged is a disk or a NIC that a guest has.
type Plugged struct {
	Kind  compute.DeviceKind
	ID    resource.ID
	State PluggedState
	// AskedAt is when the guest was first asked to give it up, Asks how often; a daemon that was started since
	// does not know.
	AskedAt time.Time
	Asks    int
}

// Plugger is a hypervisor that can give disks and NICs to a guest that lives, and take them away.
type Plugger interface {
	// Plugged tells of the disks and NICs that a guest has. It is complete, or an error.
	Plugged(ctx context.Context, id resource.ID) ([]Plugged, error)
	// AttachDisk and AttachNIC give a guest a device at its address. One that it has is left alone, one that is
	// there by half is made whole.
	AttachDisk(ctx context.Context, id resource.ID, d Disk) error
	AttachNIC(ctx context.Context, id resource.ID, n NIC) error
	// Detach asks the guest to give a device up; it may not listen, and is asked again by asking again. Of a
	// device that the guest has given up it closes what is behind. What is absent is removed with success.
	Detach(ctx context.Context, id resource.ID, kind compute.DeviceKind, deviceID resource.ID) error
}

// Dial opens the way to the target's agent, which hands it to AcceptStream.
type Dial func(ctx context.Context, to compute.Outgoing) (net.Conn, error)

// Console is a hypervisor whose guests have a serial line and a screen.
type Console interface {
	// Console attaches a viewer to the serial line. Several may watch and type; each first gets
	// the latest of what was written before.
	Console(ctx context.Context, id resource.ID) (io.ReadWriteCloser, error)
	// Display attaches a viewer, who speaks VNC, to the screen.
	Display(ctx context.Context, id resource.ID) (io.ReadWriteCloser, error)
}

// Logger is a hypervisor that keeps what guests say on their serial line, by VM: a log outlives
// the instance, the daemon and the host's restart.
type Logger interface {
	// Log reads a log. One that is followed ends with the guest, others at their end.
	Log(ctx context.Context, vmID resource.ID, options compute.LogOptions) (io.ReadCloser, error)
	// Logged lists the VMs of which a log is kept here.
	Logged() ([]resource.ID, error)
	// RemoveLog forgets the log of a VM.
	RemoveLog(vmID resource.ID) error
}

// Screenshotter is a hypervisor that can show the guest's screen as a PNG.
type Screenshotter interface {
	Screenshot(ctx context.Context, id resource.ID) ([]byte, error)
}

// Insight is what the agent inside a guest tells.
type Insight struct {
	// Answers is false where no agent answers, which is normal.
	Answers   bool
	Addresses []string
}

// Insider is a hypervisor that can ask inside the guest.
type Insider interface {
	Inside(ctx context.Context, id resource.ID) Insight
}

// GuestMemory is what is known of the memory of a guest, in bytes.
type GuestMemory struct {
	// Given is what the guest has: its memory less what its balloon holds.
	Given int64
	// Answers says that a balloon driver lives in the guest. Without one nothing of what follows is known but
	// what its process holds, and the balloon stays as it is.
	Answers bool
	// Available is what of Given its programs could take without the guest having to swap: free, or cache.
	Available int64
	// SwappedIn and SwappedOut are what the guest has read from its own swap and written there since it booted.
	SwappedIn, SwappedOut int64
	// Resident is what its process holds of the host's memory, whether it answers or not, Swapped what of it the
	// host has swapped, and Shared what of it is one with pages of the same content.
	Resident, Swapped, Shared int64
}

// Ballooner is a hypervisor that can take memory from a guest that runs, and give it back.
type Ballooner interface {
	// Memory tells of a guest's memory.
	Memory(ctx context.Context, id resource.ID) (GuestMemory, error)
	// SetMemory asks the guest to have so many bytes of its memory and to leave the rest to the host. It
	// takes its time, and may have to stop short of it.
	SetMemory(ctx context.Context, id resource.ID, bytes int64) error
}

// MemoryGrower is a hypervisor that can give memory to a guest that lives, where it was started for that.
type MemoryGrower interface {
	// GrowMemory gives a guest so much memory altogether. The guest takes it piece by piece, if it can.
	GrowMemory(ctx context.Context, id resource.ID, mib int64) error
	// GrownMemory is what the guest has of it now, in MiB.
	GrownMemory(ctx context.Context, id resource.ID) (int64, error)
}

// CPUGrower is a hypervisor that can give virtual CPUs to a guest that lives, where it was started for that.
type CPUGrower interface {
	// GrowCPUs gives a guest so many altogether. One that has them, or more, is left alone.
	GrowCPUs(ctx context.Context, id resource.ID, cpus int64) error
}

// GroupOf is the control group that an instance starts in.
func GroupOf(id resource.ID) string { return "vm-" + string(id) }

// Grouper is a hypervisor whose guests lie in control groups, and can be put into another.
type Grouper interface {
	// Grouped names the control group of each guest that lives, without asking any.
	Grouped() map[resource.ID]string
	// Group puts a guest into a group, which it makes, and removes the one that it was in.
	Group(ctx context.Context, id resource.ID, name string) error
}
