// Package compute runs virtual machines.
//
//	noun       spec written by   status written by     states
//	Image      API               image loop            waiting, importing, ready, failed
//	VM         API               VM loop               see below
//	VMSnapshot API               VM snapshot loop    pending, ready
//	Pool       API               pool spreader         none
//	Instance   VM loop, migrate  the host's agent      see below
//
// A VM is what the user wants. An Instance is one QEMU process on one host. A Migration is one
// attempt to move a VM, kept as an operation. While a VM moves there are two Instances, and nobody
// has to guess which one is the VM: VM.Status.InstanceID names it, and only the one commit
// of a migration changes it.
//
// The desired power: Spec.Power says running, paused or stopped. Status.Boot counts the boots that
// were asked for, each by another Spec.BootToken. An instance belongs to one boot; a guest that powers
// itself off has used its boot up and stays stopped until somebody asks for the next one: by start or
// restart, or by a request that says power: running. A guest that crashes is started again within the
// same boot by Spec.RestartPolicy, with growing pauses.
//
// Devices have addresses: Status.Devices gives each disk and NIC a bus and a slot once, before it is made,
// and both ends of a migration build the same. A slot of bus pcie is a root port; those are made when a VM
// boots, with some to spare. The seed has a port of its own above them all.
//
// Invariants: at most one running Instance of a VM; inside a migration two, of which one is
// paused. An Instance's epoch is above all that were given before it, to whichever VM: its disks
// may come from another one. No effect on a host without a record that names it; nothing on a host
// is destroyed before the agent's first full inventory.
package compute
