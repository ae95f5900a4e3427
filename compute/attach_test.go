package compute_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// obedient guests have what their record says, and keep what they cling to.
type obedient struct{ clings map[resource.ID]bool }

func (o obedient) devices(i *compute.Instance) []compute.InstanceDevice {
	var out []compute.InstanceDevice
	had := map[resource.ID]bool{}
	for _, d := range i.Spec.Disks {
		out = append(out, compute.InstanceDevice{Kind: compute.DiskDevice, ID: d.VolumeID, State: compute.DeviceAttached})
		had[d.VolumeID] = true
	}
	for _, n := range i.Spec.NICs {
		out = append(out, compute.InstanceDevice{Kind: compute.NICDevice, ID: n.PortID, State: compute.DeviceAttached})
	}
	for _, d := range i.Status.Devices {
		if o.clings[d.ID] && !had[d.ID] {
			out = append(out, compute.InstanceDevice{Kind: d.Kind, ID: d.ID, State: compute.DeviceDetaching})
		}
	}
	return out
}

// wish gives the VM these disks, as the API does.
func (w *world) wish(disks ...resource.ID) {
	w.t.Helper()
	b := w.db.Begin()
	w.vms.Set(b, w.record(), func(s *compute.VMSpec) {
		s.Disks = nil
		for _, id := range disks {
			s.Disks = append(s.Disks, compute.Disk{Name: string(id), VolumeID: id, Model: compute.VirtioBlk})
		}
	})
	w.vmStatuses.Set(b, w.record(), func(s *compute.VMStatus) {
		s.Disks = nil
		for _, id := range disks {
			s.Disks = append(s.Disks, compute.DiskStatus{Name: string(id), VolumeID: id, Model: compute.VirtioBlk})
		}
	})
	if err := w.db.Commit(w.t.Context(), b); err != nil {
		w.t.Fatal(err)
	}
}

// picture is the VM's devices, and the attachments that there are.
func (w *world) picture(rounds int) string {
	w.t.Helper()
	for range rounds {
		w.settle()
	}
	vm, out := w.record(), []string{}
	for _, d := range vm.Status.Devices {
		out = append(out, fmt.Sprintf("%s@%d %s", d.ID, d.Slot, d.State))
	}
	i := store.Find(w.db.Snapshot(), compute.Instances, vm.Status.InstanceID)
	text := strings.Join(out, ", ") + " | attachments"
	for _, a := range store.Every(w.db.Snapshot(), storage.Attachments) {
		text += " " + string(a.Spec.VolumeID)
		if a.Deleting == nil && a.Spec.Epoch != i.Spec.Epoch {
			w.t.Errorf("attachment of %s has epoch %d, the instance %d", a.Spec.VolumeID, a.Spec.Epoch, i.Spec.Epoch)
		}
	}
	if i.Spec.Epoch != vm.Status.Epoch {
		w.t.Errorf("the VM has epoch %d, its instance %d", vm.Status.Epoch, i.Spec.Epoch)
	}
	return text
}

func (w *world) expectPicture(want string) {
	w.t.Helper()
	if got := w.picture(6); got != want {
		w.t.Fatalf("got  %s\nwant %s\nproblems %+v", got, want, w.record().Status.Problems)
	}
	before := w.db.Revision()
	if w.picture(2); w.db.Revision() != before {
		w.t.Fatal("a second look wrote")
	}
}

// A volume that is attached to a VM that runs gets an epoch above its last owner's; one that is detached is
// held until the guest has really let go, and its address is nobody else's until then.
func TestVolumeIsReleasedOnlyWhenTheGuestHasLetGo(t *testing.T) {
	w, migration := newWorld(t)
	o := obedient{map[resource.ID]bool{}}
	w.devices = o.devices
	w.expectPicture("v@0 attached, p@1 attached | attachments v")
	first := w.record().Status.Epoch
	w.volume("data")
	w.volume("more")
	w.wish("v", "data")
	w.expectPicture("v@0 attached, data@2 attached, p@1 attached | attachments v data")
	if now := w.record().Status.Epoch; now <= first {
		t.Fatalf("the epoch was %d, and is %d", first, now)
	}

	o.clings["data"] = true
	w.wish("v", "more")
	w.expectPicture("v@0 attached, more@3 attached, p@1 attached, data@2 detaching | attachments v data more")
	r := &operation.Run{Operation: &operation.Operation{Meta: resource.Meta{ID: "op"}}}
	r.Operation.Spec.Target, r.Operation.Spec.Input = w.record().Ref(), []byte(`{}`)
	if err := migration.Definition.Steps[0].Do(t.Context(), r); err == nil || !strings.Contains(err.Error(), "disk data is being detached") {
		t.Fatalf("a migration meanwhile: %v", err)
	}
	w.wish("v", "more", "data") // it shall stay after all
	w.expectPicture("v@0 attached, more@3 attached, data@2 attached, p@1 attached | attachments v data more")
	w.wish("v", "more")
	w.expectPicture("v@0 attached, more@3 attached, p@1 attached, data@2 detaching | attachments v data more")
	o.clings["data"] = false
	w.expectPicture("v@0 attached, more@3 attached, p@1 attached | attachments v more")
	w.wish("v", "data") // both are free: the lowest slot
	w.expectPicture("v@0 attached, data@2 attached, p@1 attached | attachments v data")
}

// Limits of a disk reach the guest that runs, and the next one.
func TestLimitsOfADiskReachItsInstance(t *testing.T) {
	w, _ := newWorld(t)
	o := obedient{map[resource.ID]bool{}}
	w.devices = o.devices
	w.expectPicture("v@0 attached, p@1 attached | attachments v")
	limit := func(iops int64) {
		t.Helper()
		b := w.db.Begin()
		w.vms.Set(b, w.record(), func(s *compute.VMSpec) {
			s.Disks = []compute.Disk{{Name: "v", VolumeID: "v", Model: compute.VirtioBlk, Limits: compute.DiskLimits{Total: compute.DiskRate{IOPS: iops}}}}
		})
		w.vmStatuses.Set(b, w.record(), func(s *compute.VMStatus) {
			s.Disks = []compute.DiskStatus{{Name: "v", VolumeID: "v", Model: compute.VirtioBlk}}
		})
		if err := w.db.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		w.picture(4)
		i := store.Find(w.db.Snapshot(), compute.Instances, w.record().Status.InstanceID)
		if i.Spec.Disks[0].Limits.Total.IOPS != iops {
			t.Fatalf("the instance has %+v, and should have %d", i.Spec.Disks[0], iops)
		}
	}
	for _, iops := range []int64{500, 30, 0} {
		limit(iops)
	}
}

// volume makes one that is on the shared datastore.
func (w *world) volume(id resource.ID) {
	w.t.Helper()
	b := w.db.Begin()
	v := &storage.Volume{Meta: resource.Meta{ID: id, Name: string(id), Project: "default"}, Status: storage.VolumeStatus{Phase: storage.VolumeReady, DatastoreID: "d"}}
	w.volumeSpecs.Create(b, v)
	if err := w.db.Commit(context.Background(), b); err != nil {
		w.t.Fatal(err)
	}
}
