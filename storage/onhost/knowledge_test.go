package onhost_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
)

func TestVolumeThatIsMissingIsAnErrorUntilItsFileComesBack(t *testing.T) {
	for name, base := range map[string]*storage.Base{"made from an image": {VirtualMiB: 50}, "empty": nil} {
		t.Run(name, func(t *testing.T) {
			c := newCloud(t, 1)
			d := c.share()
			if base != nil {
				base.Digest = c.digest()
			}
			id := c.newVolume("data", storage.VolumeSpec{SizeMiB: 100, DatastoreID: d.ID, Base: base})
			restore := c.world.Lose(id)
			c.settle()
			wantProblem(t, c.volume(id).Status.Observed, fault.Precondition, "volume "+string(id)+": it was made, and its file")
			if c.world.SizeMiB(id) != 0 {
				t.Fatal("a new file was made in the place of the one that is missing")
			}
			at := c.attach(id, c.hosts[0], 1)
			if a := c.attachment(at); a.Status.Phase == storage.AttachmentReady {
				t.Fatalf("a volume that is missing was opened: %+v", a.Status)
			}
			restore()
			c.settle()
			if v, a := c.volume(id), c.attachment(at); v.Status.Phase != storage.VolumeReady || len(v.Status.Problems) > 0 || a.Status.Phase != storage.AttachmentReady {
				t.Errorf("after its file came back: %+v, %+v", v.Status, a.Status)
			}
		})
	}
}

func TestOwnerHostThatIsReplacedHasALowerEpoch(t *testing.T) {
	c := newCloud(t, 2)
	c.share()
	id := c.newVolume("disk", storage.VolumeSpec{SizeMiB: 100, Base: &storage.Base{Digest: c.digest(), VirtualMiB: 50}})
	c.attach(id, c.hosts[0], 1)
	epochs := func() (out []int64) {
		for _, al := range store.Every(c.db.Snapshot(), storage.Allocations) {
			out = append(out, al.Spec.Epoch)
		}
		for _, copied := range store.Every(c.db.Snapshot(), storage.ImageCopies) {
			out = append(out, copied.Spec.Epoch)
		}
		return out
	}
	before := epochs()
	c.lose(c.hosts[0])
	for i, epoch := range epochs() {
		if epoch <= before[i] {
			t.Errorf("with another owner host the epoch is %d, before it was %d", epoch, before[i])
		}
	}
}

func TestHostThatDoesNotHearItsServersRemovesNothing(t *testing.T) {
	c := newCloud(t, 1)
	d := c.share()
	id := c.newVolume("disk", storage.VolumeSpec{SizeMiB: 100, DatastoreID: d.ID, Base: &storage.Base{Digest: c.digest(), VirtualMiB: 50}})
	c.hearing = false
	c.commit(func(b *store.Batch) { c.volumes.Delete(b, c.volume(id)) })
	c.settle()
	if c.volume(id) == nil || c.world.SizeMiB(id) == 0 {
		t.Fatal("a file was removed by a host that does not hear its servers")
	}
	c.hearing = true
	c.settle()
	c.now = c.now.Add(11 * time.Minute)
	c.hearing = false
	c.settle()
	if copies := store.Every(c.db.Snapshot(), storage.ImageCopies); c.volume(id) != nil || len(copies) != 1 || copies[0].Deleting == nil {
		t.Fatalf("the volume is %+v, the copies are %+v", c.volume(id), copies)
	}
	c.hearing = true
	c.settle()
	if copies := store.Every(c.db.Snapshot(), storage.ImageCopies); len(copies) != 0 {
		t.Fatalf("left: %+v", copies)
	}
}

// After a restore of records from a backup the storage knows epochs that the records do not.
func TestEpochOfTheStorageRaisesThatOfARestoredRecord(t *testing.T) {
	c := newCloud(t, 1)
	d := c.share()
	spec := storage.VolumeSpec{SizeMiB: 100, DatastoreID: d.ID, Base: &storage.Base{Digest: c.digest(), VirtualMiB: 50}}
	id := c.newVolume("disk", spec)
	const past = 1_000_000 // of the life that is forgotten
	at := onhost.Place{Path: "/share", Identity: d.Status.Identity}
	if _, err := c.drivers[c.hosts[0]].EnsureVolume(t.Context(), at, onhost.Volume{ID: id, SizeMiB: 100, Epoch: past}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.drivers[c.hosts[0]].EnsureImage(t.Context(), at, onhost.Image{Digest: c.digest(), Epoch: past}, nil); err != nil {
		t.Fatal(err)
	}
	c.settle()
	for _, al := range store.Every(c.db.Snapshot(), storage.Allocations) {
		if al.Spec.Epoch <= past || len(al.Status.Problems) > 0 {
			t.Errorf("the allocation has epoch %d, and %+v", al.Spec.Epoch, al.Status)
		}
	}
	for _, copied := range store.Every(c.db.Snapshot(), storage.ImageCopies) {
		if copied.Spec.Epoch <= past || len(copied.Status.Problems) > 0 {
			t.Errorf("the copy has epoch %d, and %+v", copied.Spec.Epoch, copied.Status)
		}
	}
	if v := c.volume(id); v.Status.Phase != storage.VolumeReady || len(v.Status.Problems) > 0 {
		t.Errorf("the volume is %+v", v.Status)
	}
}

func TestAHostWithoutADriverForABackendSaysSo(t *testing.T) {
	c := newCloud(t, 1)
	mine := onhost.Drivers{storage.Folder: c.drivers[c.hosts[0]]}
	if d, err := mine.Of(storage.Folder); err != nil || d == nil {
		t.Errorf("a folder: %v, %v", d, err)
	}
	if _, err := mine.Of("tape"); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), `no driver for storage backends of type "tape"`) {
		t.Errorf("a tape: %v", err)
	}
}

func TestADatastoreReportsWhatItsVolumesCan(t *testing.T) {
	c := newCloud(t, 2)
	if d := c.share(); !slices.Equal(d.Status.Abilities, []storage.Ability{storage.CanClone, storage.CanGrow, storage.CanSnapshot}) {
		t.Errorf("it can %v", d.Status.Abilities)
	}
}
