package onhost_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/fake"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// world is a store, two hosts and a clock.
type world struct {
	t                        *testing.T
	db                       *store.DB
	now                      time.Time
	hostA, hostB             resource.ID
	hvA, hvB                 *fake.Hypervisor
	supervisorA, supervisorB *onhost.Supervisor
	instances                *store.SpecWriter[compute.InstanceSpec, compute.InstanceStatus]
	attachments              *store.SpecWriter[storage.AttachmentSpec, storage.AttachmentStatus]
	opened                   *store.StatusWriter[storage.AttachmentSpec, storage.AttachmentStatus]
	bindings                 *store.SpecWriter[network.PortBindingSpec, network.PortBindingStatus]
	bound                    *store.StatusWriter[network.PortBindingSpec, network.PortBindingStatus]
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), hostA: resource.NewID(), hostB: resource.NewID()}
	w.db = store.NewDB(memory.New(), resource.NewCatalog(compute.Instances, storage.Attachments, network.PortBindings))
	clock := func() time.Time { return w.now }
	w.db.Now = clock
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = w.db.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	l := store.NewRegistry()
	w.instances = store.Specs(l, compute.Instances, "test")
	w.attachments, w.opened = store.Specs(l, storage.Attachments, "test"), store.Statuses(l, storage.Attachments, "test")
	w.bindings, w.bound = store.Specs(l, network.PortBindings, "test"), store.Statuses(l, network.PortBindings, "test")
	statuses := store.Statuses(l, compute.Instances, "agent")
	w.hvA, w.hvB = fake.New(clock), fake.New(clock)
	w.hvA.Reach = func(compute.Outgoing) *fake.Hypervisor { return w.hvB }
	w.hvB.Reach = func(compute.Outgoing) *fake.Hypervisor { return w.hvA }
	profile := func() host.Profile {
		return host.Profile{Accelerator: host.TCG, MachineType: "pc-q35-7.2", Datapath: host.NetdevDatapath}
	}
	w.supervisorA = onhost.NewSupervisor(w.db, w.hostA, statuses, w.hvA, onhost.InstanceOptions{Profile: profile})
	w.supervisorB = onhost.NewSupervisor(w.db, w.hostB, statuses, w.hvB, onhost.InstanceOptions{Profile: profile})
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) commit(change func(*store.Batch)) {
	w.t.Helper()
	b := w.db.Begin()
	change(b)
	w.must(w.db.Commit(w.t.Context(), b))
}

// instance makes a record without disks and NICs.
func (w *world) instance(hostID resource.ID, run compute.Run) resource.ID {
	i := &compute.Instance{Meta: resource.Meta{ID: resource.NewID(), Project: "p"}}
	i.Spec = compute.InstanceSpec{VMID: resource.NewID(), VMName: "web", Hostname: "web", HostID: hostID, Boot: 1, Epoch: 1, Run: run, StopTimeoutSeconds: 30, CPUs: 1, MemoryMiB: 128}
	w.commit(func(b *store.Batch) { w.instances.Create(b, i, compute.AgentHolder) })
	return i.ID
}

func (w *world) get(id resource.ID) *compute.Instance {
	return store.Find(w.db.Snapshot(), compute.Instances, id)
}

func (w *world) specify(id resource.ID, change func(*compute.InstanceSpec)) {
	w.t.Helper()
	w.commit(func(b *store.Batch) { w.instances.Set(b, w.get(id), change) })
}

// step lets the agent of the instance's host look until nothing changes any more.
func (w *world) step(id resource.ID) error {
	i := w.get(id)
	if i == nil {
		return nil
	}
	k := w.supervisorA
	if i.Spec.HostID == w.hostB {
		k = w.supervisorB
	}
	for {
		before := w.db.Revision()
		if _, err := k.Step(w.t.Context(), id); err != nil {
			return err
		}
		if w.db.Revision() == before {
			return nil
		}
	}
}

func (w *world) expect(id resource.ID, phase string) *compute.Instance {
	w.t.Helper()
	w.must(w.step(id))
	i := w.get(id)
	if i == nil || i.Status.Phase != phase {
		w.t.Fatalf("the phase should be %q: %+v", phase, i)
	}
	return i
}

// quiescent is the end of each test: a full resync changes nothing.
func (w *world) quiescent() {
	w.t.Helper()
	before := w.db.Revision()
	for range 2 {
		for _, i := range store.Every(w.db.Snapshot(), compute.Instances) {
			_ = w.step(i.ID)
		}
	}
	if after := w.db.Revision(); after != before {
		w.t.Fatalf("a resync wrote: revision %d, then %d", before, after)
	}
}

func TestAnInstanceWaitsForItsDisksAndPortsAndThenRuns(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunRunning)
	a := &storage.Attachment{Meta: resource.Meta{ID: resource.NewID(), Project: "p"}, Spec: storage.AttachmentSpec{InstanceID: id, VolumeID: resource.NewID(), HostID: w.hostA}}
	p := &network.PortBinding{Meta: resource.Meta{ID: resource.NewID(), Project: "p"}, Spec: network.PortBindingSpec{InstanceID: id, PortID: resource.NewID(), HostID: w.hostA}}
	w.commit(func(b *store.Batch) { w.attachments.Create(b, a); w.bindings.Create(b, p) })
	w.specify(id, func(s *compute.InstanceSpec) {
		s.Disks = []compute.InstanceDisk{{AttachmentID: a.ID, VolumeID: a.Spec.VolumeID, BootIndex: 1}}
		s.NICs = []compute.InstanceNIC{{PortBindingID: p.ID, PortID: p.Spec.PortID, MAC: "52:54:00:00:00:01", MTU: 1442}}
	})
	w.expect(id, "") // that a new one waits is no news
	w.now = w.now.Add(time.Minute)
	if i := w.expect(id, compute.InstanceWaiting); len(i.Status.Problems) != 1 || !strings.Contains(i.Status.Problems[0].Message, "not open on this host") || !strings.Contains(i.Status.Problems[0].Message, "not bound on this host") {
		t.Fatalf("problems: %+v", i.Status.Problems)
	}
	w.commit(func(b *store.Batch) {
		w.opened.Set(b, store.Find(w.db.Snapshot(), storage.Attachments, a.ID), func(s *storage.AttachmentStatus) {
			s.Phase, s.Source = storage.AttachmentReady, storage.InFile("/ds/disk", "qcow2")
		})
		w.bound.Set(b, store.Find(w.db.Snapshot(), network.PortBindings, p.ID), func(s *network.PortBindingStatus) { s.Phase, s.Device = network.PortBindingReady, "tap1" })
	})
	i := w.expect(id, compute.InstanceRunning)
	if i.Status.PID == 0 || i.Status.StartedAt.IsZero() || len(i.Status.Problems) != 0 || i.Status.SeenGeneration != i.Generation {
		t.Fatalf("%+v", i.Status)
	}
	m, _ := w.hvA.VM(id)
	if m.Disks[0].Source.Path != "/ds/disk" || m.Disks[0].BootIndex != 1 || m.NICs[0].Device != "tap1" || m.NICs[0].VNetHdr || m.MachineType != "pc-q35-7.2" || m.Seed["meta-data"] == "" {
		t.Fatalf("%+v", m)
	}
	w.quiescent()
}

// TestADiskIsGrownUnderItsGuest: by QEMU, once for each desired size, also by the next daemon, and
// not while the guest moves. What fails is told once, and tried again.
func TestADiskIsGrownUnderItsGuest(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunRunning)
	a := &storage.Attachment{Meta: resource.Meta{ID: resource.NewID(), Project: "p"}, Spec: storage.AttachmentSpec{InstanceID: id, VolumeID: "v", HostID: w.hostA}}
	a.Status = storage.AttachmentStatus{Phase: storage.AttachmentReady, Source: storage.InFile("/ds/disk", "qcow2")}
	w.commit(func(b *store.Batch) { w.attachments.Create(b, a) })
	size, failing := int64(100), error(nil)
	w.hvA.SizeOf = func(onhost.Disk) int64 { return size }
	w.hvA.Resize = func(_ onhost.Disk, mib int64) error {
		if failing == nil {
			size = mib
		}
		return failing
	}
	specify := func(mib int64) {
		w.specify(id, func(s *compute.InstanceSpec) {
			s.Disks = []compute.InstanceDisk{{AttachmentID: a.ID, VolumeID: "v", SizeMiB: mib}}
		})
	}
	specify(100)
	w.expect(id, compute.InstanceRunning)
	specify(200)
	if w.expect(id, compute.InstanceRunning); size != 200 {
		t.Fatalf("it has %d MiB", size)
	}
	failing = fault.New(fault.Exhausted, "no space is left")
	specify(300)
	if i := w.expect(id, compute.InstanceRunning); len(i.Status.Problems) != 1 || !strings.Contains(i.Status.Problems[0].Message, "grow disk v to 300 MiB: no space is left") {
		t.Fatalf("%+v", i.Status.Problems)
	}
	w.quiescent()
	failing = nil
	if i := w.expect(id, compute.InstanceRunning); size != 300 || len(i.Status.Problems) != 0 {
		t.Fatalf("it has %d MiB, %+v", size, i.Status.Problems)
	}
	w.quiescent()

	// While it moves it keeps its size; when that is called off it grows.
	w.specify(id, func(s *compute.InstanceSpec) {
		s.Disks[0].SizeMiB = 400
		s.Outgoing = &compute.Outgoing{OperationID: "op", InstanceID: "other", HostID: w.hostB}
	})
	w.must(w.step(id))
	if size != 300 {
		t.Fatalf("it grew to %d while it moved", size)
	}
	w.specify(id, func(s *compute.InstanceSpec) { s.Outgoing = nil })
	w.lookUntil(id, compute.InstanceRunning)
	if w.must(w.step(id)); size != 400 {
		t.Fatalf("it has %d MiB", size)
	}
}

func TestDisksAreHeldToTheLimitsOfTheirRecord(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunRunning)
	a := &storage.Attachment{Meta: resource.Meta{ID: resource.NewID(), Project: "p"}, Spec: storage.AttachmentSpec{InstanceID: id, VolumeID: "v", HostID: w.hostA}}
	a.Status = storage.AttachmentStatus{Phase: storage.AttachmentReady, Source: storage.InFile("/ds/disk", "qcow2")}
	w.commit(func(b *store.Batch) { w.attachments.Create(b, a) })
	specify := func(iops int64) {
		w.specify(id, func(s *compute.InstanceSpec) {
			s.Disks = []compute.InstanceDisk{{AttachmentID: a.ID, VolumeID: "v", Limits: compute.DiskLimits{Total: compute.DiskRate{IOPS: iops}}}}
		})
	}
	held := func(iops int64) {
		t.Helper()
		if m, _ := w.hvA.VM(id); m.Disks[0].Limits.Total.IOPS != iops {
			t.Fatalf("the disk is held to %+v, and should be to %d", m.Disks[0].Limits, iops)
		}
		w.quiescent()
	}
	for _, iops := range []int64{500, 20, 0, 70} { // the first at its start
		specify(iops)
		w.expect(id, compute.InstanceRunning)
		held(iops)
	}
	w.specify(id, func(s *compute.InstanceSpec) {
		s.Disks[0].Limits.Total.IOPS = 9
		s.Outgoing = &compute.Outgoing{OperationID: "op", InstanceID: "other", HostID: w.hostB}
	})
	w.must(w.step(id))
	if m, _ := w.hvA.VM(id); m.Disks[0].Limits.Total.IOPS != 70 {
		t.Fatalf("limits were changed while the guest moved: %+v", m.Disks[0].Limits)
	}
}

func TestAnInstanceIsPausedAndGoesOn(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunPaused)
	w.expect(id, compute.InstancePaused)
	w.specify(id, func(s *compute.InstanceSpec) { s.Run = compute.RunRunning })
	w.expect(id, compute.InstanceRunning)
	w.specify(id, func(s *compute.InstanceSpec) { s.Run = compute.RunPaused })
	w.expect(id, compute.InstancePaused)
	w.quiescent()
}

func TestAGuestIsAskedAgainAndForcedInTheEnd(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunRunning)
	w.expect(id, compute.InstanceRunning)
	w.specify(id, func(s *compute.InstanceSpec) { s.Run = compute.RunStopped })
	w.expect(id, compute.InstanceStopping)
	w.now = w.now.Add(11 * time.Second)
	w.expect(id, compute.InstanceStopping)
	if g, _ := w.hvA.Look(t.Context(), id); g.Asks != 2 {
		t.Fatalf("asked %d times", g.Asks)
	}
	w.now = w.now.Add(20 * time.Second)
	if i := w.expect(id, compute.InstanceStopped); i.Status.Exit != compute.ExitForced || i.Status.PID != 0 {
		t.Fatalf("%+v", i.Status)
	}
	w.quiescent()
}

func TestAGuestThatListensHasPoweredItselfOff(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunPaused)
	w.expect(id, compute.InstancePaused)
	w.specify(id, func(s *compute.InstanceSpec) { s.Run = compute.RunStopped })
	w.expect(id, compute.InstanceStopping) // a paused guest goes on, so that it can listen
	w.hvA.PowerOff(id)
	if i := w.expect(id, compute.InstanceStopped); i.Status.Exit != compute.ExitPoweredOff || i.Status.EndedAt.IsZero() {
		t.Fatalf("%+v", i.Status)
	}
	w.quiescent()
}

func TestHowAnInstanceEndsIsReported(t *testing.T) {
	w := newWorld(t)
	for exit, end := range map[compute.Exit]func(resource.ID){
		compute.ExitCrashed:    w.hvA.Crash,
		compute.ExitPoweredOff: w.hvA.PowerOff,
		compute.ExitForced:     func(id resource.ID) { w.specify(id, func(s *compute.InstanceSpec) { s.Run = compute.RunKilled }) },
		compute.ExitLost:       func(id resource.ID) { w.must(w.hvA.Remove(t.Context(), id)) },
	} {
		id := w.instance(w.hostA, compute.RunRunning)
		w.expect(id, compute.InstanceRunning)
		end(id)
		if i := w.expect(id, compute.InstanceStopped); i.Status.Exit != exit {
			t.Fatalf("exit %s, and should be %s", i.Status.Exit, exit)
		}
		w.specify(id, func(s *compute.InstanceSpec) { s.Run = compute.RunRunning })
		w.expect(id, compute.InstanceStopped) // it is one run, and it is over
	}
	id := w.instance(w.hostA, compute.RunRunning)
	w.hvA.FailNextStart(fault.New(fault.Conflict, "a disk is in use elsewhere"))
	if i := w.expect(id, compute.InstanceStopped); i.Status.Exit != compute.ExitFailed || !strings.Contains(i.Status.ExitMessage, "in use elsewhere") {
		t.Fatalf("%+v", i.Status)
	}
	w.quiescent()
}

func TestNothingIsDoneBeforeTheFirstCompleteList(t *testing.T) {
	w := newWorld(t)
	w.hvA.FailList(errors.New("a folder cannot be read"))
	id := w.instance(w.hostA, compute.RunRunning)
	if err := w.step(id); err == nil {
		t.Fatal("a step went on without an inventory")
	}
	if i := w.get(id); i.Status.Phase != "" || w.supervisorA.Inventoried() {
		t.Fatalf("%+v", i.Status)
	}
	w.hvA.FailList(nil)
	w.expect(id, compute.InstanceRunning)
	w.quiescent()
}

func TestAHostWithoutInstancesIsInventoriedToo(t *testing.T) {
	if w := newWorld(t); !w.supervisorA.Inventoried() {
		t.Fatal("nobody looks where no instance is")
	}
}

func TestADeletedInstanceIsUndoneAndLetGo(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunRunning)
	w.expect(id, compute.InstanceRunning)
	w.commit(func(b *store.Batch) { w.instances.Delete(b, w.get(id)) })
	w.must(w.step(id))
	if i := w.get(id); i != nil {
		t.Fatalf("still there: %+v", i)
	}
	if all, _ := w.hvA.List(t.Context()); len(all) != 0 {
		t.Fatalf("still there: %+v", all)
	}
	w.quiescent()
}

func TestARecordWithALowerEpochIsRefused(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunRunning)
	w.expect(id, compute.InstanceRunning)
	w.must(w.hvA.Ensure(t.Context(), onhost.VMConfig{ID: id, Epoch: 7}))
	w.specify(id, func(s *compute.InstanceSpec) { s.Run = compute.RunKilled })
	if err := w.step(id); !fault.Is(err, fault.Conflict) {
		t.Fatalf("%v", err)
	}
	if g, _ := w.hvA.Look(t.Context(), id); g.State != onhost.Running {
		t.Fatalf("%+v", g)
	}
	w.quiescent()
}

// moving starts a VM on A with a target on B, and asks A to send.
func moving(w *world) (source, target, op resource.ID) {
	source, target, op = w.instance(w.hostA, compute.RunRunning), w.instance(w.hostB, compute.RunIncoming), resource.NewID()
	w.expect(source, compute.InstanceRunning)
	w.expect(target, compute.InstanceIncoming)
	w.specify(source, func(s *compute.InstanceSpec) {
		s.Outgoing = &compute.Outgoing{OperationID: op, InstanceID: target, Address: "b:1"}
	})
	return source, target, op
}

func (w *world) lookUntil(id resource.ID, phase string) *compute.Instance {
	w.t.Helper()
	for range 10 {
		w.must(w.step(id))
		if i := w.get(id); i.Status.Phase == phase {
			return i
		}
	}
	w.t.Fatalf("the phase should become %q: %+v", phase, w.get(id).Status)
	return nil
}

func TestAMigrationEndsWithBothStoppedAndThenOnlyTheTargetRuns(t *testing.T) {
	w := newWorld(t)
	source, target, op := moving(w)
	i := w.lookUntil(source, compute.InstanceSent)
	if i.Status.OutgoingID != op || i.Status.TransferMillis != 500 || i.Status.DowntimeMillis != 50 {
		t.Fatalf("%+v", i.Status)
	}
	w.expect(target, compute.InstanceReceived)
	w.quiescent()
	w.commit(func(b *store.Batch) {
		w.instances.Set(b, w.get(target), func(s *compute.InstanceSpec) { s.Run, s.Epoch = compute.RunRunning, 2 })
		w.instances.Set(b, w.get(source), func(s *compute.InstanceSpec) { s.Run = compute.RunKilled })
	})
	w.expect(target, compute.InstanceRunning)
	w.expect(source, compute.InstanceStopped)
	if g, _ := w.hvB.Look(t.Context(), target); g.Epoch != 2 {
		t.Fatalf("%+v", g)
	}
	w.quiescent()
}

func TestAMigrationThatIsCalledOffLetsTheSourceGoOn(t *testing.T) {
	w := newWorld(t)
	source, target, _ := moving(w)
	w.lookUntil(source, compute.InstanceSent)
	w.specify(source, func(s *compute.InstanceSpec) { s.Outgoing = nil })
	w.specify(target, func(s *compute.InstanceSpec) { s.Run = compute.RunKilled })
	w.expect(source, compute.InstanceRunning)
	w.expect(target, compute.InstanceStopped)
	w.quiescent()
}

func TestATransferThatFailsLeavesTheSourceRunningAndSaysWhy(t *testing.T) {
	w := newWorld(t)
	w.hvA.FailSends(errors.New("the line is cut"))
	source, target, op := moving(w)
	w.lookUntil(source, compute.InstanceRunning)
	if i := w.get(source); i.Status.OutgoingID != op || i.Status.OutgoingError != "the line is cut" {
		t.Fatalf("%+v", i.Status)
	}
	w.expect(target, compute.InstanceIncoming)
	w.specify(source, func(s *compute.InstanceSpec) { s.Outgoing = nil })
	if i := w.expect(source, compute.InstanceRunning); i.Status.OutgoingError != "" {
		t.Fatalf("%+v", i.Status)
	}
	w.quiescent()
}

func TestATransferIsCancelledWhenItsRequestIsTakenBack(t *testing.T) {
	w := newWorld(t)
	w.hvA.TransferSteps = 100
	source, _, _ := moving(w)
	w.must(func() error { _, err := w.supervisorA.Step(t.Context(), source); return err }())
	if i := w.get(source); i.Status.Phase != compute.InstanceSending {
		t.Fatalf("%+v", i.Status)
	}
	w.specify(source, func(s *compute.InstanceSpec) { s.Outgoing = nil })
	w.expect(source, compute.InstanceRunning)
	w.quiescent()
}

func TestAGuestWithoutARecordIsEndedOnlyWhenItWasMissedTwice(t *testing.T) {
	w := newWorld(t)
	synced := false
	s := onhost.NewSweeper(reconcile.Knowledge{DB: w.db, Current: func() error {
		if !synced {
			return errors.New("the servers are silent")
		}
		return nil
	}}, w.hvA)
	known := w.instance(w.hostA, compute.RunRunning)
	w.expect(known, compute.InstanceRunning)
	w.must(w.hvA.Ensure(t.Context(), onhost.VMConfig{ID: resource.NewID(), Epoch: 1}))
	count := func(wanted int) {
		t.Helper()
		w.must(s.Sweep(t.Context()))
		if all, _ := w.hvA.List(t.Context()); len(all) != wanted {
			t.Fatalf("%d guests, and should be %d", len(all), wanted)
		}
	}
	count(2)
	w.now = w.now.Add(time.Hour)
	count(2) // the servers are unreachable
	synced = true
	count(2)
	w.now = w.now.Add(time.Minute)
	count(2)
	w.now = w.now.Add(2 * time.Minute)
	count(1)
	w.quiescent()
}

// talkative is a hypervisor whose guests have an agent inside.
type talkative struct {
	*fake.Hypervisor
	insight onhost.Insight
	asked   int
}

func (h *talkative) Inside(context.Context, resource.ID) onhost.Insight {
	h.asked++
	return h.insight
}

func TestWhatTheGuestsAgentTellsIsReportedAndItIsNotAskedTooOften(t *testing.T) {
	w := newWorld(t)
	hv := &talkative{Hypervisor: w.hvA, insight: onhost.Insight{Answers: true, Addresses: []string{"fe80::1", "10.0.0.5", "10.0.0.5"}}}
	w.supervisorA = onhost.NewSupervisor(w.db, w.hostA, store.Statuses(store.NewRegistry(), compute.Instances, "agent"), hv, onhost.InstanceOptions{
		Profile: func() host.Profile { return host.Profile{Accelerator: host.TCG, MachineType: "pc-q35-7.2"} },
	})
	id := w.instance(w.hostA, compute.RunRunning)
	i := w.expect(id, compute.InstanceRunning)
	if i.Status.GuestAgent != "yes" || strings.Join(i.Status.GuestAddresses, " ") != "10.0.0.5 fe80::1" {
		t.Fatalf("%+v", i.Status)
	}
	w.quiescent()
	if hv.asked != 1 {
		t.Fatalf("asked %d times", hv.asked)
	}
	w.now, hv.insight = w.now.Add(time.Minute), onhost.Insight{}
	if i := w.expect(id, compute.InstanceRunning); i.Status.GuestAgent != "" || len(i.Status.GuestAddresses) != 0 {
		t.Fatalf("%+v", i.Status)
	}
	w.quiescent()
}

func TestAGuestWithoutABalloonDriverIsNoticedWhenItHadTheTimeToBoot(t *testing.T) {
	w := newWorld(t)
	hv := &talkative{Hypervisor: w.hvA}
	w.supervisorA = onhost.NewSupervisor(w.db, w.hostA, store.Statuses(store.NewRegistry(), compute.Instances, "agent"), hv, onhost.InstanceOptions{
		Profile: func() host.Profile { return host.Profile{Accelerator: host.TCG, MachineType: "pc-q35-7.2"} },
	})
	id := w.instance(w.hostA, compute.RunRunning)
	expect := func(uses int64, later time.Duration, driver string) {
		t.Helper()
		w.hvA.Uses(id, uses)
		w.now = w.now.Add(later)
		if i := w.expect(id, compute.InstanceRunning); i.Status.BalloonDriver != driver {
			t.Fatalf("the balloon driver is %q, want %q", i.Status.BalloonDriver, driver)
		}
		w.quiescent()
	}
	w.expect(id, compute.InstanceRunning)
	expect(-1, time.Minute, "")
	expect(-1, 3*time.Minute, "no")
	expect(1<<20, time.Minute, "yes")
	w.hvA.Crash(id)
	if i := w.expect(id, compute.InstanceStopped); i.Status.BalloonDriver != "" {
		t.Fatalf("of a guest that ended: %q", i.Status.BalloonDriver)
	}
}

// helpless is a hypervisor whose QEMU cannot be started.
type helpless struct{ *fake.Hypervisor }

func (helpless) Ensure(context.Context, onhost.VMConfig) error {
	return fault.New(fault.Precondition, "find QEMU: it is not on this host")
}

func TestAStartThatFailsAgainInTheSameWayWritesNothing(t *testing.T) {
	w := newWorld(t)
	w.supervisorA = onhost.NewSupervisor(w.db, w.hostA, store.Statuses(store.NewRegistry(), compute.Instances, "agent"), helpless{w.hvA}, onhost.InstanceOptions{
		Profile: func() host.Profile { return host.Profile{Accelerator: host.TCG, MachineType: "pc-q35-7.2"} },
	})
	id := w.instance(w.hostA, compute.RunRunning)
	var revision int64
	for try := range 3 {
		if _, err := w.supervisorA.Step(t.Context(), id); !fault.Is(err, fault.Precondition) {
			t.Fatalf("got %v", err)
		}
		// A write would wake the loop at once, again and again.
		if try > 0 && w.db.Revision() != revision {
			t.Errorf("try %d has written something", try)
		}
		revision = w.db.Revision()
	}
	if i := w.get(id); i.Status.Phase != "" || len(i.Status.Problems) != 1 {
		t.Errorf("got %+v", i.Status)
	}
}

// Records were restored from a backup that is older than a guest: a second one beside it would write to
// the same disks.
func TestInstanceIsNotStartedBesideAGuestOfItsVMWithoutARecord(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunRunning)
	vmID := w.get(id).Spec.VMID
	unknown := resource.NewID()
	w.must(w.hvA.Ensure(t.Context(), onhost.VMConfig{ID: unknown, VMID: vmID, Epoch: 9}))
	if err := w.step(id); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), string(unknown)) {
		t.Fatalf("it says %v", err)
	}
	if g, err := w.hvA.Look(t.Context(), id); err != nil || g.State != onhost.Absent {
		t.Fatalf("a second guest is %s: %v", g.State, err)
	}
	w.must(w.hvA.Remove(t.Context(), unknown))
	w.expect(id, compute.InstanceRunning)
	w.quiescent()
}
