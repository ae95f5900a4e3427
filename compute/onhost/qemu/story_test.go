package qemu

import (
	"context"
	"os"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// directBoot boots the test's kernel instead of a disk.
type directBoot struct {
	*Driver
	t *testing.T
}

func (d directBoot) Ensure(ctx context.Context, m onhost.VMConfig) error {
	k := vm(d.t, "")
	m.Kernel, m.Initrd, m.Append = k.Kernel, k.Initrd, k.Append
	return d.Driver.Ensure(ctx, m)
}

// story is two hosts' loops on one store, with real guests.
type story struct {
	t           *testing.T
	db          *store.DB
	specs       *store.SpecWriter[compute.InstanceSpec, compute.InstanceStatus]
	supervisors map[resource.ID]*onhost.Supervisor
}

func (s *story) commit(change func(*store.Batch)) {
	s.t.Helper()
	b := s.db.Begin()
	change(b)
	must(s.t, s.db.Commit(s.t.Context(), b))
}

func (s *story) get(id resource.ID) *compute.Instance {
	return store.Find(s.db.Snapshot(), compute.Instances, id)
}

func (s *story) specify(id resource.ID, change func(*compute.InstanceSpec)) {
	s.t.Helper()
	s.commit(func(b *store.Batch) { s.specs.Set(b, s.get(id), change) })
}

// until steps the loops until the instance is in the phase, or is gone for "".
func (s *story) until(id resource.ID, phase string) *compute.Instance {
	s.t.Helper()
	for end := time.Now().Add(60 * time.Second); ; time.Sleep(30 * time.Millisecond) {
		i := s.get(id)
		if i == nil && phase == "" {
			return nil
		}
		if _, err := s.supervisors[i.Spec.HostID].Step(s.t.Context(), id); err != nil {
			s.t.Logf("step: %v", err)
		}
		if i = s.get(id); i != nil && i.Status.Phase == phase {
			return i
		}
		if time.Now().After(end) {
			s.t.Fatalf("the phase should become %q: %+v", phase, i.Status)
		}
	}
}

func TestRecordsAloneStartMoveStopAndRemoveAGuest(t *testing.T) {
	source, target, m, twin := pair(t)
	hostA, hostB := resource.NewID(), resource.NewID()
	s := &story{t: t, db: store.NewDB(memory.New(), resource.NewCatalog(compute.Instances, storage.Attachments, network.PortBindings))}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { _ = s.db.Run(ctx); close(done) }()
	t.Cleanup(func() { cancel(); <-done })
	l := store.NewRegistry()
	s.specs = store.Specs(l, compute.Instances, "test")
	attach, opened := store.Specs(l, storage.Attachments, "test"), store.Statuses(l, storage.Attachments, "test")
	statuses := store.Statuses(l, compute.Instances, "agent")
	o := onhost.InstanceOptions{Screen: onhost.NoScreen, Profile: func() host.Profile {
		return host.Profile{Accelerator: host.TCG, MachineType: "pc-q35-7.2"}
	}}
	s.supervisors = map[resource.ID]*onhost.Supervisor{
		hostA: onhost.NewSupervisor(s.db, hostA, statuses, directBoot{source, t}, o),
		hostB: onhost.NewSupervisor(s.db, hostB, statuses, directBoot{target, t}, o),
	}
	instance := func(id, hostID resource.ID, run compute.Run) {
		a := &storage.Attachment{Meta: resource.Meta{ID: resource.NewID(), Project: "p"}, Spec: storage.AttachmentSpec{InstanceID: id, VolumeID: resource.NewID(), HostID: hostID}}
		i := &compute.Instance{Meta: resource.Meta{ID: id, Project: "p"}, Spec: compute.InstanceSpec{
			VMID: m.VMID, VMName: "web", Hostname: "web", HostID: hostID, Boot: 1, Epoch: 1, Run: run, StopTimeoutSeconds: 40, CPUs: 1, MemoryMiB: 128,
			CPUModel: "qemu64", UID: m.UID, RootPorts: m.RootPorts, Disks: []compute.InstanceDisk{{Bus: compute.PCIe, AttachmentID: a.ID, VolumeID: a.Spec.VolumeID}},
		}}
		s.commit(func(b *store.Batch) { s.specs.Create(b, i, compute.AgentHolder); attach.Create(b, a) })
		s.commit(func(b *store.Batch) {
			opened.Set(b, store.Find(s.db.Snapshot(), storage.Attachments, a.ID), func(st *storage.AttachmentStatus) {
				st.Phase, st.Source = storage.AttachmentReady, storage.InFile(m.Disks[0].Source.Path, "qcow2")
			})
		})
	}
	instance(m.ID, hostA, compute.RunRunning)
	s.until(m.ID, compute.InstanceRunning)
	console(t, source, m.ID).until("UP ")

	instance(twin.ID, hostB, compute.RunIncoming)
	s.until(twin.ID, compute.InstanceIncoming)
	s.specify(m.ID, func(i *compute.InstanceSpec) {
		i.Outgoing = &compute.Outgoing{OperationID: resource.NewID(), InstanceID: twin.ID, Address: "pipe"}
	})
	s.until(m.ID, compute.InstanceSent)
	s.until(twin.ID, compute.InstanceReceived)
	s.commit(func(b *store.Batch) { // the point of no return
		s.specs.Set(b, s.get(twin.ID), func(i *compute.InstanceSpec) { i.Run, i.Epoch = compute.RunRunning, 2 })
		s.specs.Set(b, s.get(m.ID), func(i *compute.InstanceSpec) { i.Run = compute.RunKilled })
	})
	s.until(twin.ID, compute.InstanceRunning)
	s.until(m.ID, compute.InstanceStopped)
	there := console(t, target, twin.ID)
	there.say("echo alive$((4+4))")
	there.until("alive8")

	s.specify(twin.ID, func(i *compute.InstanceSpec) { i.Run = compute.RunStopped })
	if i := s.until(twin.ID, compute.InstanceStopped); i.Status.Exit != compute.ExitPoweredOff {
		t.Fatalf("%+v", i.Status)
	}
	before := s.db.Revision()
	for id, hostID := range map[resource.ID]resource.ID{m.ID: hostA, twin.ID: hostB} {
		_, err := s.supervisors[hostID].Step(t.Context(), id)
		must(t, err)
	}
	if after := s.db.Revision(); after != before {
		t.Fatalf("a resync wrote: revision %d, then %d", before, after)
	}
	for id, d := range map[resource.ID]*Driver{m.ID: source, twin.ID: target} {
		s.commit(func(b *store.Batch) { s.specs.Delete(b, s.get(id)) })
		s.until(id, "")
		if left, _ := os.ReadDir(d.cfg.RunDir); len(left) != 0 {
			t.Fatalf("left behind: %v", left)
		}
	}
}
