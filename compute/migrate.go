package compute

import (
	"cmp"
	"context"
	"crypto/rand"
	"slices"
	"time"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// Live migration, step by step, and what is true when we die there:
//
//	step      effect                                        after a crash
//	reserve   claim, instance (incoming), attachments,      again: the instance is found by its name;
//	          port bindings on the target, in one commit            or undone: all of it goes, source's epoch rises
//	receive   wait: the target is started paused and        again; or undone with reserve
//	          listens
//	transfer  the source sends its memory and stops;        again; or undone: the source goes on.
//	          the target has it all and is paused           The target never runs without the commit
//	switch    COMMIT: the VM is the target instance,   the transaction happened, or it did not
//	          epoch + 1; target: run, source: end and
//	          go; its ports live on the target
//	resume    wait: the target runs                         again
//	clean     when the source instance is gone, its attachments,    again
//	          port bindings and claim go
//
// Two running copies are impossible: the source's guest is stopped before the switch, and the
// target's is let go only by the record that the switch writes.

// MigrateType is the type of the operation.
const MigrateType = "vm.migrate"

// MigrateInput is what a migration is asked for with.
type MigrateInput struct {
	// HostID is the target; empty: placement chooses.
	HostID resource.ID `json:"hostID,omitempty"`
}

// lookAgain is how often a step that waits for records looks by itself.
const lookAgain = 500 * time.Millisecond

// receiveLimit is how long a target may take to open its disks, bind its ports and listen.
const receiveLimit = 5 * time.Minute

// Movable refuses a VM that cannot be moved now.
func Movable(vm *VM, target resource.ID) error {
	refuse := func(kind fault.Kind, why string) error {
		return fault.New(kind, "migrate VM %s: %s", vm.Name, why)
	}
	switch {
	case vm.Deleting != nil:
		return refuse(fault.Precondition, "it is being deleted")
	case vm.Status.Phase == PhaseMoving:
		return refuse(fault.Precondition, "it is being moved already; wait for that operation, or cancel it")
	case vm.Status.Phase == PhasePaused:
		return refuse(fault.Precondition, "it is paused, and only a running VM can be moved live; resume it first")
	case vm.Status.Phase != PhaseRunning:
		return refuse(fault.Precondition, "it is "+vm.Status.Phase+", and only a running VM can be moved live; start it first")
	case target != "" && target == vm.Status.HostID:
		return refuse(fault.Precondition, "it is on that host already")
	case vm.Spec.HostID != "" && target != vm.Spec.HostID:
		return refuse(fault.Precondition, "it is pinned to its host")
	}
	return nil
}

// seenParts are the memory nodes that an instance's guest has seen, and sees for the rest of its boot.
func seenParts(i *Instance) []host.NUMAPart {
	if len(i.Spec.NUMA) > 0 {
		return i.Spec.NUMA
	}
	return []host.NUMAPart{{Node: host.Unbound, CPUs: i.Spec.CPUs, MemoryMiB: i.Spec.booted()}}
}

func moving(snap *store.Snapshot, vm *VM, target resource.ID, why, machineType string) placement.Request {
	r := placing(snap, vm)
	r.Epoch, r.Why = vm.Status.Epoch+1, why
	r.OnHost, r.NotOn, r.MachineType = cmp.Or(target, r.OnHost), []resource.ID{vm.Status.HostID}, machineType
	return r
}

// Migration is the operation that moves a VM.
func (c *Controller) Migration() operation.Definition {
	return operation.Definition{
		Type: MigrateType, Doc: "Move a running VM to another host, without stopping it for longer than a blink.",
		Wakes: []resource.Kind{Instances.Kind, storage.Attachments.Kind, network.PortBindings.Kind},
		Steps: []operation.Step{
			{Name: "reserve", Doc: "claim capacity on the target and prepare disks and ports there", Do: c.reserve, Undo: c.unreserve},
			{Name: "receive", Doc: "start the target, paused, ready to receive", Do: c.receive},
			{Name: "transfer", Doc: "send the memory; the VM stands still at the end", Do: c.transfer, Undo: c.goOn},
			{Name: "switch", Doc: "the VM is now the one on the target", Commit: true, Do: c.switchOver},
			{Name: "resume", Doc: "the VM runs on the target", Do: c.resumed},
			{Name: "clean", Doc: "free what is left on the source", Do: c.clean},
		},
	}
}

// move is what all steps look at.
type move struct {
	snap           *store.Snapshot
	vm             *VM
	source, target *Instance
}

func targetName(op resource.ID) string { return "move-" + string(op) }

// look finds the two instances. Before the switch the VM is the source, after it the target.
func (c *Controller) look(r *operation.Run) (move, error) {
	m := move{snap: c.db.Snapshot()}
	var err error
	if m.vm, err = store.Need(m.snap, VMs, r.Operation.Spec.Target.ID); err != nil {
		return m, err
	}
	m.target = store.Named(m.snap, Instances, m.vm.Project, targetName(r.Operation.ID))
	for _, i := range store.Referring(m.snap, Instances, m.vm.ID) {
		if m.target == nil || i.ID != m.target.ID {
			m.source = i
		}
	}
	return m, nil
}

func (c *Controller) reserve(ctx context.Context, r *operation.Run) error {
	m, err := c.look(r)
	if err != nil || m.target != nil {
		return err
	}
	in, err := operation.Input[MigrateInput](r)
	if err != nil {
		return err
	}
	if err := Movable(m.vm, in.HostID); err != nil {
		return err
	}
	if m.source == nil || m.source.ID != m.vm.Status.InstanceID {
		if why := c.stuck(m.snap, m.vm); why != nil {
			return fault.New(fault.Precondition, "migrate VM %s: an earlier instance of it is still there: %w", m.vm.Name, why)
		}
		return fault.New(fault.Precondition, "migrate VM %s: an earlier instance of it is still being cleaned up; try again soon", m.vm.Name)
	}
	if err := unsettledDevices(m.vm, m.source); err != nil {
		return err
	}
	source, err := store.Need(m.snap, host.Hosts, m.source.Spec.HostID)
	if err != nil {
		return err
	}
	unfit, why := unfitHosts(m.snap, source, m.source, in.HostID)
	if in.HostID != "" && len(why) > 0 {
		return fault.New(fault.Precondition, "migrate VM %s: %s", m.vm.Name, why[0])
	}
	request := moving(m.snap, m.vm, in.HostID, "migration asked for by "+r.Operation.Spec.By, m.source.Spec.MachineType)
	request.NotOn = append(request.NotOn, unfit...)
	request.Parts = seenParts(m.source)
	err = c.placer.Place(ctx, request, func(b *store.Batch, on placement.Choice) error {
		_, err := c.newInstance(b, m.snap, m.vm, on.HostID, m.vm.Status.Epoch+1, targetName(r.Operation.ID), devicesOf(m.source), func(s *InstanceSpec) {
			s.Run, s.Boot, s.MachineType, s.CPUModel = RunIncoming, m.source.Spec.Boot, m.source.Spec.MachineType, m.source.Spec.CPUModel
			s.NUMA = on.NUMA
			s.Incoming = &Incoming{HostID: m.source.Spec.HostID, Token: rand.Text()}
			s.RootPorts, s.Hardware = m.source.Spec.RootPorts, m.source.Spec.Hardware
			s.BootCPUs, s.MaxCPUs = m.source.Spec.BootCPUs, m.source.Spec.MaxCPUs
			s.BootMemoryMiB, s.MaxMemoryMiB = m.source.Spec.BootMemoryMiB, m.source.Spec.MaxMemoryMiB
			s.CPUs, s.MemoryMiB, s.SSHKeys, s.UserData = m.source.Spec.CPUs, m.source.Spec.MemoryMiB, m.source.Spec.SSHKeys, m.source.Spec.UserData
		})
		c.put(b, m.snap, m.vm, PhaseMoving, nil, func(s *VMStatus) { s.OperationID = r.Operation.ID })
		r.Done(b)
		return err
	})
	return otherwise(err, m.vm, why)
}

// unreserve removes everything on the target. Then the source's epoch rises above the target's, so
// that whatever may be left there is refused for ever.
func (c *Controller) unreserve(ctx context.Context, r *operation.Run) error {
	m, err := c.look(r)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	b := c.db.Begin()
	gone := m.target == nil || host.StateOf(m.snap, m.target.Spec.HostID) == host.Lost
	if m.target != nil {
		c.w.Instances.Set(b, m.target, func(s *InstanceSpec) { s.Run = RunKilled })
		c.w.Instances.Delete(b, m.target)
	} else {
		c.deleteLeftovers(b, m.snap, m.vm)
		gone = gone && b.Empty() && !leftOver(m.snap, m.vm)
	}
	if !gone {
		if err := c.db.Commit(ctx, b); err != nil {
			return err
		}
		return operation.NotYet(lookAgain, "the target has not let go of everything yet")
	}
	c.placer.Release(b, m.vm.Ref(), m.vm.Status.HostID)
	if m.vm.Status.OperationID == r.Operation.ID {
		c.raise(b, m)
	}
	return c.db.Commit(ctx, b)
}

// leftOver reports whether anything of an instance that is gone still waits for its agent. A host
// that is lost is not waited for: its agent cleans up when it comes back.
func leftOver(snap *store.Snapshot, vm *VM) bool {
	for _, a := range store.Referring(snap, storage.Attachments, vm.ID) {
		if store.Find(snap, Instances, a.Spec.InstanceID) == nil && host.StateOf(snap, a.Spec.HostID) != host.Lost {
			return true
		}
	}
	for _, p := range store.Referring(snap, network.PortBindings, vm.ID) {
		if store.Find(snap, Instances, p.Spec.InstanceID) == nil && host.StateOf(snap, p.Spec.HostID) != host.Lost {
			return true
		}
	}
	return false
}

// raise gives the VM that stays where it is an epoch above the one of the attempt.
func (c *Controller) raise(b *store.Batch, m move) {
	epoch := m.vm.Status.Epoch + 2
	c.w.VMStatuses.Set(b, m.vm, func(s *VMStatus) { s.Epoch, s.OperationID = epoch, "" })
	i := m.source
	if i == nil || i.ID != m.vm.Status.InstanceID {
		return
	}
	c.raiseInstance(b, m.snap, i, epoch)
}

// raiseInstance gives an instance, and what is behind its devices, a higher epoch.
func (c *Controller) raiseInstance(b *store.Batch, snap *store.Snapshot, i *Instance, epoch int64) {
	c.w.Instances.Set(b, i, func(s *InstanceSpec) { s.Epoch = epoch })
	for _, a := range store.Referring(snap, storage.Attachments, i.ID) {
		c.w.Attachments.Set(b, a, func(s *storage.AttachmentSpec) { s.Epoch = epoch })
	}
	for _, p := range store.Referring(snap, network.PortBindings, i.ID) {
		c.w.PortBindings.Set(b, p, func(s *network.PortBindingSpec) { s.Epoch = epoch })
	}
}

// healthy says why an attempt has become hopeless; nil while there is hope.
func (m move) healthy() error {
	refuse := func(why string) error { return fault.New(fault.Precondition, "migrate VM %s: %s", m.vm.Name, why) }
	switch {
	case m.target == nil || m.target.Deleting != nil:
		return refuse("its instance on the target is gone")
	case m.source == nil || m.source.Deleting != nil:
		return refuse("its instance on the source is gone")
	case m.vm.Deleting != nil:
		return refuse("it is being deleted")
	case m.vm.Spec.Power == Stopped || Boot(m.vm) > m.source.Spec.Boot:
		return refuse("it was told to stop meanwhile")
	case m.target.Status.Phase == InstanceStopped:
		return refuse("the target ended: " + m.target.Status.ExitMessage)
	case m.source.Status.Phase == InstanceStopped:
		return refuse("the VM ended meanwhile")
	case host.StateOf(m.snap, m.target.Spec.HostID) == host.Lost:
		return m.unreachable("target", m.target)
	case host.StateOf(m.snap, m.source.Spec.HostID) == host.Lost:
		return m.unreachable("source", m.source)
	}
	return nil
}

func (m move) unreachable(end string, i *Instance) error {
	return fault.New(fault.Precondition, "migrate VM %s: %s host %s is unreachable", m.vm.Name, end, host.NameOf(m.snap, i.Spec.HostID)).
		ForTenants("migrate VM %s: its %s host is unreachable; wait, or ask an operator", m.vm.Name, end)
}

func (c *Controller) receive(_ context.Context, r *operation.Run) error {
	m, err := c.look(r)
	if err != nil {
		return err
	}
	if err := m.healthy(); err != nil {
		return err
	}
	if m.target.Status.Phase == InstanceIncoming || m.target.Status.Phase == InstanceReceived {
		return nil
	}
	why := ""
	if len(m.target.Status.Problems) > 0 {
		why = ": " + m.target.Status.Problems[0].Message
	}
	// The VM is in our hands: whatever else is specified of it waits, so this must end.
	if c.db.Now().Sub(r.Operation.Status.StartedAt) > receiveLimit {
		return fault.New(fault.Precondition, "migrate VM %s: the target was not ready to receive within %s%s", m.vm.Name, receiveLimit, why)
	}
	return operation.NotYet(lookAgain, "the target does not listen yet%s", why)
}

func (c *Controller) transfer(ctx context.Context, r *operation.Run) error {
	m, err := c.look(r)
	if err != nil {
		return err
	}
	if err := m.healthy(); err != nil {
		return err
	}
	s := m.source.Status
	switch {
	case s.OutgoingID == r.Operation.ID && s.OutgoingError != "":
		return fault.New(fault.Precondition, "migrate VM %s: sending its memory failed: %s", m.vm.Name, s.OutgoingError).
			ForTenants("migrate VM %s: sending its memory failed; try again, or ask an operator", m.vm.Name)
	case s.OutgoingID == r.Operation.ID && s.Phase == InstanceSent && m.target.Status.Phase == InstanceReceived:
		return nil
	}
	if m.target.Spec.Incoming == nil {
		return fault.New(fault.Precondition, "migrate VM %s: its target was made by another version and expects nobody; try again", m.vm.Name)
	}
	if !slices.Equal(devicesOf(m.source), devicesOf(m.target)) {
		return fault.New(fault.Precondition, "migrate VM %s: its devices were changed meanwhile; try again", m.vm.Name)
	}
	address := ""
	if h := store.Find(m.snap, host.Hosts, m.target.Spec.HostID); h != nil {
		address = h.Status.Address
	}
	b := c.db.Begin()
	c.w.Instances.Set(b, m.source, func(s *InstanceSpec) {
		s.Outgoing = &Outgoing{OperationID: r.Operation.ID, InstanceID: m.target.ID, HostID: m.target.Spec.HostID, Address: address, Token: m.target.Spec.Incoming.Token}
	})
	if err := c.db.Commit(ctx, b); err != nil {
		return err
	}
	return operation.NotYet(lookAgain, "the memory is on its way")
}

// goOn undoes transfer: the source's guest runs on. A source whose host is lost is not waited for.
func (c *Controller) goOn(ctx context.Context, r *operation.Run) error {
	m, err := c.look(r)
	if fault.Is(err, fault.NotFound) || m.source == nil {
		return nil
	}
	b := c.db.Begin()
	c.w.Instances.Set(b, m.source, func(s *InstanceSpec) { s.Outgoing = nil })
	if err := c.db.Commit(ctx, b); err != nil {
		return err
	}
	lost := host.StateOf(m.snap, m.source.Spec.HostID) == host.Lost
	if p := m.source.Status.Phase; lost || m.source.Spec.Outgoing == nil && p != InstanceSending && p != InstanceSent {
		return nil
	}
	return operation.NotYet(lookAgain, "the source does not run on yet")
}

// switchOver is the point of no return: its writes and the journal are one transaction.
func (c *Controller) switchOver(_ context.Context, r *operation.Run) error {
	m, err := c.look(r)
	if err != nil {
		return err
	}
	if err := m.healthy(); err != nil {
		return err
	}
	if m.vm.Status.InstanceID != m.source.ID || m.source.Status.Phase != InstanceSent || m.target.Status.Phase != InstanceReceived {
		return fault.New(fault.Precondition, "migrate VM %s: it is not ready to be switched over", m.vm.Name)
	}
	c.w.VMStatuses.Set(r.Batch, m.vm, func(s *VMStatus) {
		s.InstanceID, s.HostID, s.Epoch = m.target.ID, m.target.Spec.HostID, m.target.Spec.Epoch
	})
	c.w.Instances.Set(r.Batch, m.target, func(s *InstanceSpec) { s.Run, s.Incoming = RunRunning, nil })
	c.w.Instances.Set(r.Batch, m.source, func(s *InstanceSpec) { s.Run = RunKilled })
	c.w.Instances.Delete(r.Batch, m.source)
	for _, p := range store.Referring(m.snap, network.PortBindings, m.source.ID) {
		c.w.PortBindings.Set(r.Batch, p, func(s *network.PortBindingSpec) { s.Left = true })
	}
	c.events.Record(r.Batch, m.vm.Ref(), m.vm.Name, "info", "migrated", "the VM moved from host "+host.NameOf(m.snap, m.source.Spec.HostID)+" to host "+
		host.NameOf(m.snap, m.target.Spec.HostID), r.Operation.Spec.By, "the VM moved to another host")
	return nil
}

// resumed waits for the target. If it ended instead, or its host is lost, the VM loop will say what
// follows.
func (c *Controller) resumed(_ context.Context, r *operation.Run) error {
	m, err := c.look(r)
	if fault.Is(err, fault.NotFound) || m.target == nil {
		return nil
	}
	lost := host.StateOf(m.snap, m.target.Spec.HostID) == host.Lost
	if p := m.target.Status.Phase; lost || p == InstanceRunning || p == InstancePaused || p == InstanceStopped {
		return nil
	}
	return operation.NotYet(lookAgain, "the target does not run yet")
}

// clean frees what the VM had on the source. A source host that is lost is not waited for.
func (c *Controller) clean(ctx context.Context, r *operation.Run) error {
	m, err := c.look(r)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	b := c.db.Begin()
	waiting := false
	if m.source != nil {
		waiting = host.StateOf(m.snap, m.source.Spec.HostID) != host.Lost
	} else {
		c.deleteLeftovers(b, m.snap, m.vm)
		waiting = !b.Empty() || leftOver(m.snap, m.vm)
	}
	if err := c.db.Commit(ctx, b); err != nil {
		return err
	}
	if waiting {
		return operation.NotYet(lookAgain, "the source has not let go of everything yet")
	}
	c.placer.Release(r.Batch, m.vm.Ref(), m.vm.Status.HostID)
	c.arrived(r, m)
	return nil
}

// arrived gives the VM out of the operation's hands, in the phase in which it is.
func (c *Controller) arrived(r *operation.Run, m move) {
	vm, i := m.vm, m.target
	if vm.Status.OperationID != r.Operation.ID {
		return
	}
	if i == nil || i.ID != vm.Status.InstanceID || i.Deleting != nil || i.Status.Phase != InstanceRunning || vm.Deleting != nil {
		c.w.VMStatuses.Set(r.Batch, vm, func(s *VMStatus) { s.OperationID = "" }) // the VM loop says what follows
		return
	}
	c.put(r.Batch, m.snap, vm, phaseOf(i, wantedRun(vm, i)), nil, func(s *VMStatus) { s.StartedAt, s.OperationID = i.Status.StartedAt, "" })
}
