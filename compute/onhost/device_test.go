package onhost_test

import (
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// disk makes an attachment of an instance on host A, open or not.
func (w *world) disk(id, volumeID resource.ID, slot int64, open bool) compute.InstanceDisk {
	a := &storage.Attachment{Meta: resource.Meta{ID: resource.NewID(), Project: "p"}, Spec: storage.AttachmentSpec{InstanceID: id, VolumeID: volumeID, HostID: w.hostA}}
	if open {
		a.Status = storage.AttachmentStatus{Phase: storage.AttachmentReady, Source: storage.InFile("/ds/"+string(volumeID), "qcow2")}
	}
	w.commit(func(b *store.Batch) { w.attachments.Create(b, a) })
	return compute.InstanceDisk{AttachmentID: a.ID, VolumeID: volumeID, Bus: compute.PCIe, Slot: slot}
}

func (w *world) port(id, portID resource.ID, slot int64) compute.InstanceNIC {
	p := &network.PortBinding{Meta: resource.Meta{ID: resource.NewID(), Project: "p"}, Spec: network.PortBindingSpec{InstanceID: id, PortID: portID, HostID: w.hostA}}
	p.Status = network.PortBindingStatus{Phase: network.PortBindingReady, Device: "tap-" + string(portID)}
	w.commit(func(b *store.Batch) { w.bindings.Create(b, p) })
	return compute.InstanceNIC{PortBindingID: p.ID, PortID: portID, MAC: "52:54:00:00:00:01", MTU: 1400, Bus: compute.PCIe, Slot: slot}
}

// states are the devices of an instance's status, and of its guest.
func (w *world) states(id resource.ID) (said, guest string) {
	var a, b []string
	for _, d := range w.get(id).Status.Devices {
		a = append(a, string(d.ID)+" "+string(d.State))
	}
	m, _ := w.hvA.VM(id)
	for _, d := range m.Disks {
		b = append(b, string(d.ID))
	}
	for _, n := range m.NICs {
		b = append(b, string(n.ID))
	}
	return strings.Join(a, ", "), strings.Join(b, ", ")
}

func (w *world) expectDevices(id resource.ID, said, guest string) {
	w.t.Helper()
	w.expect(id, compute.InstanceRunning)
	a, b := w.states(id)
	if i := w.get(id); a != said || b != guest || i.Status.DevicesGeneration != i.Generation {
		w.t.Fatalf("the status says %q, and should say %q; the guest has %q, and should have %q; generation %d of %d", a, said, b, guest, i.Status.DevicesGeneration, i.Generation)
	}
}

func TestDevicesComeAndGoWhileTheGuestRuns(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunRunning)
	root := w.disk(id, "root", 0, true)
	w.specify(id, func(s *compute.InstanceSpec) { s.RootPorts, s.Disks = 8, []compute.InstanceDisk{root} })
	w.expectDevices(id, "root attached", "root")
	started := w.get(id).Status.PID

	data, nic := w.disk(id, "data", 1, true), w.port(id, "port", 2)
	w.specify(id, func(s *compute.InstanceSpec) {
		s.Disks, s.NICs = []compute.InstanceDisk{root, data}, []compute.InstanceNIC{nic}
	})
	w.expectDevices(id, "data attached, root attached, port attached", "root, data, port")
	if m, _ := w.hvA.VM(id); m.Disks[1].Slot != 1 || m.NICs[0].Slot != 2 || m.NICs[0].Device != "tap-port" || m.Disks[1].BootIndex > 0 {
		t.Fatalf("%+v", m)
	}
	w.quiescent()
	w.specify(id, func(s *compute.InstanceSpec) { s.Disks = []compute.InstanceDisk{root} })
	w.expectDevices(id, "root attached, port attached", "root, port")
	w.quiescent()
	if i := w.get(id); i.Status.PID != started || len(i.Status.Problems) != 0 {
		t.Fatalf("%+v", i.Status)
	}
}

// It is told which devices a guest is about to have before it has them: a device that fails to come stays in
// the status, and so does one whose guest does not give it up.
func TestADeviceThatDoesNotComeOrGoIsToldAndTriedAgain(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunRunning)
	root := w.disk(id, "root", 0, true)
	w.specify(id, func(s *compute.InstanceSpec) { s.RootPorts, s.Disks = 8, []compute.InstanceDisk{root} })
	w.expectDevices(id, "root attached", "root")

	wrong := w.disk(id, "data", 0, true) // where the other is
	w.specify(id, func(s *compute.InstanceSpec) { s.Disks = []compute.InstanceDisk{root, wrong} })
	w.expectDevices(id, "root attached, data attaching", "root")
	if p := w.get(id).Status.Problems; len(p) != 1 || !strings.Contains(p[0].Message, "attach disk data: ") || !strings.Contains(p[0].Message, "slot 0 is taken") {
		t.Fatalf("%+v", p)
	}
	w.quiescent()
	w.specify(id, func(s *compute.InstanceSpec) { s.Disks[1].Slot = 1 })
	w.expectDevices(id, "data attached, root attached", "root, data")
	if p := w.get(id).Status.Problems; len(p) != 0 {
		t.Fatalf("%+v", p)
	}

	w.hvA.Clings(id, true)
	w.specify(id, func(s *compute.InstanceSpec) { s.Disks = s.Disks[:1] })
	w.expectDevices(id, "data detaching, root attached", "root, data")
	if p := w.get(id).Status.Problems; len(p) != 0 {
		t.Fatalf("a guest that was just asked: %+v", p)
	}
	w.quiescent()
	w.now = w.now.Add(11 * time.Second)
	w.must(w.step(id))
	w.now = w.now.Add(time.Second)
	w.expectDevices(id, "data detaching, root attached", "root, data")
	if p := w.get(id).Status.Problems; len(p) != 1 || p[0].Kind != string(fault.Precondition) || !strings.Contains(p[0].Message, "to give up disk data and has not") {
		t.Fatalf("%+v", p)
	}
	w.quiescent()
	w.hvA.Clings(id, false)
	w.expectDevices(id, "root attached", "root")
	if p := w.get(id).Status.Problems; len(p) != 0 {
		t.Fatalf("%+v", p)
	}
	w.quiescent()
}

func TestADeviceWaitsForWhatIsBehindIt(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunRunning)
	w.specify(id, func(s *compute.InstanceSpec) { s.RootPorts = 8 })
	w.expectDevices(id, "", "")
	data := w.disk(id, "data", 1, false)
	w.specify(id, func(s *compute.InstanceSpec) { s.Disks = []compute.InstanceDisk{data} })
	w.expectDevices(id, "", "")
	w.now = w.now.Add(time.Minute)
	w.expectDevices(id, "", "")
	if p := w.get(id).Status.Problems; len(p) != 1 || !strings.Contains(p[0].Message, "disk data cannot be attached yet: volume data is not open on this host yet") {
		t.Fatalf("%+v", p)
	}
	w.quiescent()
	w.commit(func(b *store.Batch) {
		w.opened.Set(b, store.Find(w.db.Snapshot(), storage.Attachments, data.AttachmentID), func(s *storage.AttachmentStatus) {
			s.Phase, s.Source = storage.AttachmentReady, storage.InFile("/ds/data", "qcow2")
		})
	})
	w.expectDevices(id, "data attached", "data")
	w.quiescent()
}

// What a daemon left half done is made whole, or closed; and while a guest moves nothing is done to it.
func TestTheNextDaemonEndsWhatWasHalfDone(t *testing.T) {
	w := newWorld(t)
	id := w.instance(w.hostA, compute.RunRunning)
	w.specify(id, func(s *compute.InstanceSpec) { s.RootPorts = 8 })
	w.expectDevices(id, "", "")
	w.hvA.HalfAttach(id, onhost.Disk{ID: "data"})
	w.hvA.HalfAttach(id, onhost.Disk{ID: "gone"})
	data := w.disk(id, "data", 1, true)
	w.specify(id, func(s *compute.InstanceSpec) { s.Disks = []compute.InstanceDisk{data} })
	w.expectDevices(id, "data attached", "data")
	all, err := w.hvA.Plugged(t.Context(), id)
	if err != nil || len(all) != 1 {
		t.Fatalf("%+v, %v", all, err)
	}

	w.specify(id, func(s *compute.InstanceSpec) {
		s.Disks, s.Outgoing = nil, &compute.Outgoing{OperationID: "op", InstanceID: "other", HostID: w.hostB}
	})
	w.must(w.step(id))
	if said, guest := w.states(id); said != "data attached" || guest != "data" {
		t.Fatalf("while it moves: %q, %q", said, guest)
	}
	w.specify(id, func(s *compute.InstanceSpec) { s.Outgoing = nil })
	w.lookUntil(id, compute.InstanceRunning)
	w.expectDevices(id, "", "")
	w.quiescent()
}
