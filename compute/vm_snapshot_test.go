package compute_test

import (
	"strings"
	"testing"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// darkroom is an office whose storage the test plays.
type darkroom struct {
	*office
	volumes *store.StatusWriter[storage.VolumeSpec, storage.VolumeStatus]
	taken   *store.StatusWriter[storage.VolumeSnapshotSpec, storage.VolumeSnapshotStatus]
	own     *store.StatusWriter[compute.VMSnapshotSpec, compute.VMSnapshotStatus]
	uses    *store.SpecWriter[storage.AttachmentSpec, storage.AttachmentStatus]
}

func newDarkroom(t *testing.T) *darkroom {
	o := withParts(t)
	d := &darkroom{o, store.Statuses(o.rights, storage.Volumes, "storage"), store.Statuses(o.rights, storage.VolumeSnapshots, "storage"),
		store.Statuses(o.rights, compute.VMSnapshots, "compute"), store.Specs(o.rights, storage.Attachments, "compute")}
	fast := store.Statuses(o.rights, storage.Datastores, "storage")
	o.ask(201, "POST", "vms", `{"name":"web","spec":{"power":"stopped","disks":[{"sizeMiB":64},{"volumeID":"data"}],"nics":[]}}`, nil)
	d.commit(func(b *store.Batch) {
		store1 := store.Named(o.db.Snapshot(), storage.Datastores, "", "fast")
		fast.Set(b, store1, func(s *storage.DatastoreStatus) {
			s.Phase, s.Abilities = storage.DatastoreReady, []storage.Ability{storage.CanSnapshot}
		})
		for _, v := range store.Every(o.db.Snapshot(), storage.Volumes) {
			d.volumes.Set(b, v, func(s *storage.VolumeStatus) { s.Phase, s.DatastoreID = storage.VolumeReady, store1.ID })
		}
	})
	return d
}

func (d *darkroom) commit(change func(*store.Batch)) {
	d.Helper()
	b := d.db.Begin()
	change(b)
	if err := d.db.Commit(d.Context(), b); err != nil {
		d.Fatal(err)
	}
}

// look lets the loop look at a snapshot of a VM, twice, and gives its phase and problem.
func (d *darkroom) look(name string) string {
	d.Helper()
	s := func() *compute.VMSnapshot { return store.Named(d.db.Snapshot(), compute.VMSnapshots, "p", name) }
	loop := compute.NewController(d.db, compute.Writers{VMSnapshots: d.own}, nil, nil).SnapshotLoop()
	var revision int64
	for range 2 {
		revision = d.db.Revision()
		if _, err := loop.Step(d.Context(), s().ID); err != nil {
			d.Fatal(err)
		}
	}
	if d.db.Revision() != revision {
		d.Errorf("a second look has changed something")
	}
	out := s().Status.Phase
	for _, p := range s().Status.Problems {
		out += ": " + p.Message
	}
	return out
}

// take plays the storage that takes the snapshot of a disk.
func (d *darkroom) take(name string) {
	d.Helper()
	d.commit(func(b *store.Batch) {
		d.taken.Set(b, store.Named(d.db.Snapshot(), storage.VolumeSnapshots, "p", name), func(s *storage.VolumeSnapshotStatus) {
			s.Phase, s.LayerID = storage.SnapshotReady, "aa"
		})
	})
}

func (d *darkroom) refused(status int, method, path, body, words string) {
	d.Helper()
	if said := d.ask(status, method, path, body, nil); !strings.Contains(said, words) {
		d.Errorf("%s %s: %s, want %q", method, path, said, words)
	}
}

func (d *darkroom) reverting() (out []string) {
	for _, v := range store.Every(d.db.Snapshot(), storage.Volumes) {
		if storage.Reverting(v) {
			s := store.Find(d.db.Snapshot(), storage.VolumeSnapshots, v.Spec.Revert.SnapshotID)
			out = append(out, v.Name+" to "+s.Name)
		}
	}
	return out
}

func TestASnapshotOfAVMIsOneOfEachDisk(t *testing.T) {
	d := newDarkroom(t)
	var s compute.VMSnapshot
	d.ask(201, "POST", "vmsnapshots", `{"name":"monday","spec":{"vmID":"web"}}`, &s)
	if len(s.Status.Disks) != 2 || s.Status.Disks[0].Name != "disk0" || s.Owner == nil || s.Owner.Kind != "vm" {
		t.Fatalf("it is %s", spec(s))
	}
	if got := d.look("monday"); got != "pending: disk disk0 is not taken yet" {
		t.Errorf("at first it is %s", got)
	}
	d.refused(409, "POST", "vms/web/revert", `{"snapshotID":"monday"}`, "is not ready")
	d.take("monday-disk0")
	if got := d.look("monday"); got != "pending: disk disk1 is not taken yet" {
		t.Errorf("with one disk it is %s", got)
	}
	d.take("monday-disk1")
	if got := d.look("monday"); got != "ready" {
		t.Errorf("with both disks it is %s", got)
	}
	d.ask(202, "POST", "vms/web/revert", `{"snapshotID":"monday"}`, nil)
	if got := strings.Join(d.reverting(), ", "); got != "data to monday-disk1, web-disk0 to monday-disk0" && got != "web-disk0 to monday-disk0, data to monday-disk1" {
		t.Errorf("reverted are %s", got)
	}
	d.refused(409, "POST", "vms/web/revert", `{"snapshotID":"monday"}`, "already")
}

func TestAPartOfASnapshotOfAVMIsNotDeletedAlone(t *testing.T) {
	d := newDarkroom(t)
	d.ask(201, "POST", "vmsnapshots", `{"name":"monday","spec":{"vmID":"web"}}`, nil)
	d.refused(409, "DELETE", "volumesnapshots/monday-disk0", "", "it is a part of vmsnapshot monday; delete that")
	d.refused(422, "PATCH", "vmsnapshots/monday", `{"spec":{"vmID":"web2"}}`, "")
	d.ask(204, "DELETE", "vmsnapshots/monday", "", nil)
	for _, s := range store.Every(d.db.Snapshot(), storage.VolumeSnapshots) {
		if s.Deleting == nil {
			t.Errorf("snapshot %s stays", s.Name)
		}
	}
}

func TestSnapshotsGoWithTheirVM(t *testing.T) {
	d := newDarkroom(t)
	d.ask(201, "POST", "vmsnapshots", `{"name":"monday","spec":{"vmID":"web"}}`, nil)
	d.ask(202, "DELETE", "vms/web", "", nil)
	for _, s := range store.Every(d.db.Snapshot(), storage.VolumeSnapshots) {
		if s.Deleting == nil {
			t.Errorf("snapshot %s stays", s.Name)
		}
	}
	if v := store.Named(d.db.Snapshot(), storage.Volumes, "p", "data"); v.Deleting != nil {
		t.Error("a volume that was there before its VM goes with it")
	}
}

func TestAVMWhoseDisksAreInUseIsRefusedInWhole(t *testing.T) {
	d := newDarkroom(t)
	d.ask(201, "POST", "vmsnapshots", `{"name":"monday","spec":{"vmID":"web"}}`, nil)
	d.take("monday-disk0")
	d.take("monday-disk1")
	data := store.Named(d.db.Snapshot(), storage.Volumes, "p", "data")
	d.commit(func(b *store.Batch) {
		a := &storage.Attachment{Spec: storage.AttachmentSpec{VolumeID: data.ID, HostID: "h1"}}
		a.ID, a.Name, a.Project = resource.NewID(), "use", "p"
		d.uses.Create(b, a)
	})
	d.refused(409, "POST", "vmsnapshots", `{"name":"tuesday","spec":{"vmID":"web"}}`, "a VM has volume data open; stop that VM first")
	d.refused(409, "POST", "vms/web/revert", `{"snapshotID":"monday"}`, "a VM has it open")
	if n := len(store.Every(d.db.Snapshot(), storage.VolumeSnapshots)); n != 2 || len(d.reverting()) > 0 {
		t.Errorf("half of it is done: %d snapshots of disks, %v go back", n, d.reverting())
	}
	d.refused(404, "POST", "vms/web/revert", `{"snapshotID":"never"}`, "it has no snapshot never")
}

func TestAVMWaitsWhileADiskIsKeptOrGoesBack(t *testing.T) {
	d := newDarkroom(t)
	data := func() *storage.Volume { return store.Named(d.db.Snapshot(), storage.Volumes, "p", "data") }
	expect := func(want string) {
		t.Helper()
		if got := storage.Changing(d.db.Snapshot(), data()); got != want {
			t.Errorf("it waits until it %q, want %q", got, want)
		}
	}
	expect("")
	d.ask(201, "POST", "vmsnapshots", `{"name":"monday","spec":{"vmID":"web"}}`, nil)
	expect("has been kept as snapshot monday-disk1")
	d.take("monday-disk0")
	d.take("monday-disk1")
	expect("")
	d.ask(202, "POST", "vms/web/revert", `{"snapshotID":"monday"}`, nil)
	expect("has gone back to its snapshot")
	d.commit(func(b *store.Batch) {
		d.volumes.Set(b, data(), func(s *storage.VolumeStatus) { s.RevertToken = data().Spec.Revert.Token })
	})
	expect("")
}
