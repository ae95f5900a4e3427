package onhost_test

import (
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// snapshot asks for one, and gives it when all have done what they do.
func (c *cloud) snapshot(name, volume string) *storage.VolumeSnapshot {
	c.Helper()
	c.ask("POST", "projects/p/volumesnapshots", `{"name":"`+name+`","spec":{"volumeID":"`+volume+`"}}`, "", name)
	c.settle()
	return c.snapshotNamed(name)
}

func (c *cloud) snapshotNamed(name string) *storage.VolumeSnapshot {
	return store.Named(c.db.Snapshot(), storage.VolumeSnapshots, "p", name)
}

func (c *cloud) revert(volume, snapshot string) {
	c.Helper()
	c.ask("POST", "projects/p/volumes/"+volume+"/revert", `{"snapshotID":"`+snapshot+`"}`, "", volume)
}

// laid are the layers that lie on the storage, each behind the one that it builds on.
func (c *cloud) laid(id resource.ID) string {
	var out []string
	for _, a := range store.Referring(c.db.Snapshot(), storage.Allocations, id) {
		for _, l := range a.Status.Layers {
			out = append(out, l.ParentID+">"+l.ID)
		}
	}
	return strings.Join(out, " ")
}

func TestASnapshotIsTakenGoneBackToAndDeleted(t *testing.T) {
	c := newCloud(t, 2)
	id := c.newVolume("disk", storage.VolumeSpec{SizeMiB: 100, DatastoreID: c.share().ID})
	first := c.volume(id).Status.ActiveLayer
	one := c.snapshot("one", "disk")
	second := c.volume(id).Status.ActiveLayer
	if one.Status.Phase != storage.SnapshotReady || one.Status.LayerID != first || one.Status.SizeMiB != 100 || second == first || c.laid(id) != ">"+first+" "+first+">"+second {
		t.Fatalf("taken: %+v, active %s, there %s", one.Status, second, c.laid(id))
	}
	two := c.snapshot("two", "disk")
	third := c.volume(id).Status.ActiveLayer
	c.revert("disk", "one")
	c.ready("projects/p/volumes/disk", fault.Unavailable, "not ready")
	c.ask("POST", "projects/p/volumes/disk/revert", `{"snapshotID":"two"}`, fault.Conflict, "goes back to a snapshot already")
	c.ask("DELETE", "projects/p/volumesnapshots/one", "", fault.Conflict, "volume disk goes back to it")
	c.settle()
	c.ready("projects/p/volumes/disk", "", "ready")
	fourth := c.volume(id).Status.ActiveLayer
	if want := ">" + first + " " + first + ">" + second + " " + first + ">" + fourth; c.laid(id) != want || two.Status.LayerID != second {
		t.Fatalf("gone back there is %s, want %s: the layer that was written to before, %s, goes", c.laid(id), want, third)
	}
	c.revert("disk", "two")
	c.settle()
	fifth := c.volume(id).Status.ActiveLayer
	c.ask("DELETE", "projects/p/volumesnapshots/one", "", "", "one")
	c.settle()
	if want := ">" + second + " " + second + ">" + fifth; c.laid(id) != want || c.snapshotNamed("one") != nil {
		t.Errorf("deleted below another there is %s, want %s", c.laid(id), want)
	}
	c.ask("DELETE", "projects/p/volumes/disk", "", fault.Precondition, "volumesnapshot two; delete that first")
	c.ask("DELETE", "projects/p/volumesnapshots/two", "", "", "two")
	c.settle()
	if c.laid(id) != ">"+fifth {
		t.Errorf("without a snapshot there is %s, want %s alone", c.laid(id), fifth)
	}
	c.ask("DELETE", "projects/p/volumes/disk", "", "", "disk")
	c.settle()
	if c.volume(id) != nil {
		t.Error("the volume is left")
	}
}

func TestWhatIsInUseKeepsItsLayers(t *testing.T) {
	c := newCloud(t, 2)
	id := c.newVolume("disk", storage.VolumeSpec{SizeMiB: 100, DatastoreID: c.share().ID})
	one := c.snapshot("one", "disk")
	use := c.attach(id, c.hosts[0], 1)
	before := c.laid(id)
	c.ask("POST", "projects/p/volumesnapshots", `{"name":"two","spec":{"volumeID":"disk"}}`, fault.Precondition, "a VM has volume disk open; stop that VM first")
	c.ask("POST", "projects/p/volumes/disk/revert", `{"snapshotID":"one"}`, fault.Precondition, "stop that VM first")
	c.ask("DELETE", "projects/p/volumesnapshots/one", "", "", "one")
	c.settle()
	if c.laid(id) != before || c.attachment(use).Status.Source.Layer != c.volume(id).Status.ActiveLayer {
		t.Errorf("a chain that is in use became %s", c.laid(id))
	}
	c.ask("POST", "projects/p/volumes/disk/revert", `{"snapshotID":"`+string(one.ID)+`"}`, fault.NotFound, "it has no snapshot")
	c.commit(func(b *store.Batch) { c.attachments.Delete(b, c.attachment(use)) })
	c.settle()
	if active := c.volume(id).Status.ActiveLayer; c.laid(id) != ">"+active {
		t.Errorf("when nobody uses it any more there is %s", c.laid(id))
	}
	// who asked while nobody had it open, and was too late, gets it later and is told
	snap := &storage.VolumeSnapshot{Spec: storage.VolumeSnapshotSpec{VolumeID: id}}
	snap.Name, snap.Project = "late", "p"
	use = c.attach(id, c.hosts[0], 2)
	c.commit(func(b *store.Batch) { c.snapshots.Create(b, snap, storage.Holder) })
	c.settle()
	wantProblem(t, c.snapshotNamed("late").Status.Observed, fault.Unavailable, "as soon as no VM has volume disk open")
	c.commit(func(b *store.Batch) { c.attachments.Delete(b, c.attachment(use)) })
	c.settle()
	if late := c.snapshotNamed("late"); late.Status.Phase != storage.SnapshotReady || len(late.Status.Problems) > 0 {
		t.Errorf("and then: %+v", late.Status)
	}
}

// The chain of a volume changes and somebody begins to use it at one moment: one of the two commits fails.
func TestLayersDoNotChangeUnderWhoJustOpensThem(t *testing.T) {
	c := newCloud(t, 1)
	id := c.newVolume("disk", storage.VolumeSpec{SizeMiB: 100, DatastoreID: c.share().ID})
	c.snapshot("one", "disk")
	snap := c.db.Snapshot()
	a := &storage.Attachment{Spec: storage.AttachmentSpec{VolumeID: id, HostID: c.hosts[0], Epoch: 1, UID: 1000}}
	a.Project = "p"
	late := c.db.Begin()
	c.attachments.Create(late, a, storage.AgentHolder)
	late.InTurn(c.volume(id).Ref(), snap) // as compute does
	c.revert("disk", "one")
	c.settle()
	if err := c.db.Commit(t.Context(), late); !fault.Is(err, fault.Conflict) {
		t.Errorf("who opens what has gone back meanwhile: %v", err)
	}
}

func TestASnapshotStaysWhatItIs(t *testing.T) {
	c := newCloud(t, 1)
	d := c.share()
	c.newVolume("disk", storage.VolumeSpec{SizeMiB: 100, DatastoreID: d.ID})
	c.newVolume("other", storage.VolumeSpec{SizeMiB: 100, DatastoreID: d.ID})
	c.newVolume("unbound", storage.VolumeSpec{SizeMiB: 100})
	c.snapshot("one", "disk")
	c.ask("PATCH", "projects/p/volumesnapshots/one", `{"spec":{"volumeID":"other"}}`, fault.Invalid, "it stays what it is")
	c.ask("POST", "projects/p/volumes/other/revert", `{"snapshotID":"one"}`, fault.NotFound, "it has no snapshot")
	c.ask("POST", "projects/p/volumesnapshots", `{"name":"none","spec":{"volumeID":"unbound"}}`, fault.Precondition, "volume unbound is unbound")
	c.ask("POST", "projects/p/volumesnapshots", `{"name":"one","spec":{"volumeID":"disk"}}`, fault.Exists, "one")
	v := store.Named(c.db.Snapshot(), storage.Volumes, "p", "disk")
	c.commit(func(b *store.Batch) {
		c.volumes.Set(b, v, func(s *storage.VolumeSpec) { s.Revert = &storage.Revert{SnapshotID: "gone", Token: "t"} })
	})
	c.settle()
	wantProblem(t, c.volume(v.ID).Status.Observed, fault.NotFound, "which is gone; revert it to another one")
}
