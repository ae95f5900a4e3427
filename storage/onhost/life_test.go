package onhost_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/fake"
)

// cloud is the server's storage loops and those of some hosts, on fake folders.
type cloud struct {
	*testing.T
	db       *store.DB
	now      time.Time
	loops    []*reconcile.Loop
	hosts    []resource.ID
	drivers  map[resource.ID]*fake.Driver
	world    *fake.World
	api      *httpapi.API // made when it is asked
	image    []byte
	fetches  int
	fetchErr error
	hearing  bool

	backends    *store.SpecWriter[storage.BackendSpec, storage.BackendStatus]
	datastores  *store.SpecWriter[storage.DatastoreSpec, storage.DatastoreStatus]
	volumes     *store.SpecWriter[storage.VolumeSpec, storage.VolumeStatus]
	snapshots   *store.SpecWriter[storage.VolumeSnapshotSpec, storage.VolumeSnapshotStatus]
	attachments *store.SpecWriter[storage.AttachmentSpec, storage.AttachmentStatus]
	lives       *store.SpecWriter[host.LivenessSpec, host.LivenessStatus]
	liveStatus  *store.StatusWriter[host.LivenessSpec, host.LivenessStatus]
}

func newCloud(t *testing.T, hosts int) *cloud {
	catalog := resource.NewCatalog(host.Hosts, host.Livenesses, storage.Backends, storage.Devices, storage.Datastores,
		storage.Volumes, storage.VolumeSnapshots, storage.Allocations, storage.ImageCopies, storage.Attachments)
	c := &cloud{T: t, db: store.NewDB(memory.New(), catalog), now: time.Unix(1_800_000_000, 0), drivers: map[resource.ID]*fake.Driver{}, image: []byte("content"), hearing: true}
	c.db.Now = func() time.Time { return c.now }
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.db.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	l := store.NewRegistry()
	c.backends, c.datastores, c.volumes = store.Specs(l, storage.Backends, "api"), store.Specs(l, storage.Datastores, "api"), store.Specs(l, storage.Volumes, "api")
	c.snapshots = store.Specs(l, storage.VolumeSnapshots, "api")
	c.attachments = store.Specs(l, storage.Attachments, "compute")
	c.lives, c.liveStatus = store.Specs(l, host.Livenesses, "host"), store.Statuses(l, host.Livenesses, "host")
	c.loops = storage.NewLoops(c.db, storage.Rights(l, "storage"), storage.Policy{})
	rights, world := onhost.Rights(l, "agent"), fake.NewWorld()
	c.world = world
	if err := l.Err(); err != nil {
		t.Fatal(err)
	}
	for range hosts {
		id := resource.NewID()
		c.hosts, c.drivers[id] = append(c.hosts, id), world.Host()
		c.drivers[id].Mount("/share", "share", 10_000)
		c.restartAgent(rights, id)
		c.commit(func(b *store.Batch) {
			r := &host.Liveness{Spec: host.LivenessSpec{HostID: id}, Status: host.LivenessStatus{State: host.Alive}}
			c.lives.Create(b, r)
		})
	}
	return c
}

func (c *cloud) restartAgent(w onhost.Writers, id resource.ID) {
	c.loops = append(c.loops, onhost.NewLoops(c.db, w, onhost.Options{HostID: id, Drivers: onhost.Drivers{storage.Folder: c.drivers[id]}, Current: func() error {
		if !c.hearing {
			return errors.New("the servers are silent")
		}
		return nil
	},
		Fetch: func(context.Context, string) (io.ReadCloser, int64, error) {
			c.fetches++
			return io.NopCloser(bytes.NewReader(c.image)), int64(len(c.image)), c.fetchErr
		}})...)
}

func (c *cloud) commit(change func(*store.Batch)) {
	c.Helper()
	b := c.db.Begin()
	change(b)
	if err := c.db.Commit(context.Background(), b); err != nil {
		c.Fatal(err)
	}
}

// settle steps all loops over all records until a whole round changes nothing.
func (c *cloud) settle() {
	c.Helper()
	for range 30 {
		before := c.db.Revision()
		for _, l := range c.loops {
			for x := range c.db.Snapshot().OfKind(l.Kind) {
				if _, err := reconcile.SafeStep(context.Background(), l, x.Head().ID); fault.Is(err, fault.Internal) && err != nil {
					c.Fatalf("%s: %v", l.Name, err)
				}
			}
		}
		if c.db.Revision() == before {
			return
		}
	}
	c.Fatal("it never comes to rest")
}

// share makes a storage backend and a datastore that all hosts reach.
func (c *cloud) share() *storage.Datastore {
	c.Helper()
	r := &storage.Backend{Spec: storage.BackendSpec{Type: storage.Folder, Path: "/share", HostIDs: c.hosts}}
	r.ID, r.Name = resource.NewID(), "share"
	d := &storage.Datastore{Spec: storage.DatastoreSpec{BackendID: r.ID}}
	d.Name = "main"
	c.commit(func(b *store.Batch) {
		c.backends.Create(b, r, storage.Holder)
		c.datastores.Create(b, d, storage.Holder)
	})
	c.settle()
	d = store.Find(c.db.Snapshot(), storage.Datastores, d.ID)
	if d.Status.Phase != storage.DatastoreReady || len(d.Status.HostIDs) != len(c.hosts) || d.Status.CapacityMiB != 10_000 || len(d.Status.Problems) > 0 {
		c.Fatalf("the datastore is %+v", d.Status)
	}
	return d
}

func (c *cloud) digest() string {
	sum := sha256.Sum256(c.image)
	return "sha256:" + hex.EncodeToString(sum[:])
}

func (c *cloud) newVolume(name string, spec storage.VolumeSpec) resource.ID {
	c.Helper()
	v := &storage.Volume{Spec: spec}
	v.Name, v.Project = name, "p"
	c.commit(func(b *store.Batch) { c.volumes.Create(b, v, storage.Holder) })
	c.settle()
	return v.ID
}

func (c *cloud) volume(id resource.ID) *storage.Volume {
	return store.Find(c.db.Snapshot(), storage.Volumes, id)
}

func (c *cloud) attach(volume, on resource.ID, epoch int64) resource.ID {
	c.Helper()
	a := &storage.Attachment{Spec: storage.AttachmentSpec{VolumeID: volume, HostID: on, Epoch: epoch, UID: 1000}}
	a.Project = "p"
	c.commit(func(b *store.Batch) { c.attachments.Create(b, a, storage.AgentHolder) })
	c.settle()
	return a.ID
}

func (c *cloud) attachment(id resource.ID) *storage.Attachment {
	return store.Find(c.db.Snapshot(), storage.Attachments, id)
}

func (c *cloud) lose(id resource.ID) {
	c.Helper()
	for _, l := range store.Referring(c.db.Snapshot(), host.Livenesses, id) {
		c.commit(func(b *store.Batch) {
			c.liveStatus.Set(b, l, func(s *host.LivenessStatus) { s.State = host.Lost })
		})
	}
	c.settle()
}

func TestAVolumeLivesFromItsFirstUseToItsEnd(t *testing.T) {
	c := newCloud(t, 2)
	d := c.share()
	id := c.newVolume("disk", storage.VolumeSpec{SizeMiB: 100, Base: &storage.Base{Digest: c.digest(), VirtualMiB: 50}})
	if v := c.volume(id); v.Status.Phase != storage.VolumeUnbound || len(v.Status.Problems) > 0 {
		t.Fatalf("before its first use it is %+v", v.Status)
	}
	one := c.attach(id, c.hosts[1], 1)
	v, a := c.volume(id), c.attachment(one)
	if v.Status.Phase != storage.VolumeReady || v.Status.DatastoreID != d.ID || a.Status.Phase != storage.AttachmentReady || a.Status.Source.Path == "" || c.fetches != 1 {
		t.Fatalf("in use: %+v, %+v, %d fetches", v.Status, a.Status, c.fetches)
	}
	al := store.Find(c.db.Snapshot(), storage.Allocations, v.Status.AllocationID)
	if al.Spec.OwnerHostID != c.hosts[1] || len(al.Spec.HostIDs) != 1 {
		t.Fatalf("the allocation is %+v", al.Spec)
	}
	c.commit(func(b *store.Batch) { c.volumes.Set(b, v, func(s *storage.VolumeSpec) { s.SizeMiB = 200 }) })
	c.settle()
	if c.world.SizeMiB(id) != 100 {
		t.Fatal("a file that a QEMU process has open was grown behind its back")
	}
	wantProblem(t, c.volume(id).Status.Observed, fault.Unavailable, "it has 100 MiB of 200: the VM that has it open grows it")
	c.world.Grow(id, 200) // by QEMU
	c.settle()
	if v = c.volume(id); v.Status.SizeMiB != 200 || len(v.Status.Problems) > 0 {
		t.Fatalf("grown: %+v", v.Status)
	}
	c.commit(func(b *store.Batch) { c.volumes.Set(b, v, func(s *storage.VolumeSpec) { s.SizeMiB = 300 }) })
	c.settle()
	c.commit(func(b *store.Batch) { c.attachments.Delete(b, c.attachment(one)) })
	c.settle()
	if v = c.volume(id); v.Status.SizeMiB != 300 || c.world.SizeMiB(id) != 300 || len(v.Status.Problems) > 0 {
		t.Fatalf("when nobody has it open any more: %+v", v.Status)
	}
	one = c.attach(id, c.hosts[1], 2)
	c.commit(func(b *store.Batch) { c.volumes.Delete(b, c.volume(id)) })
	c.settle()
	if v = c.volume(id); v == nil || v.Status.Phase != storage.VolumeDeleting || store.Find(c.db.Snapshot(), storage.Allocations, al.ID).Deleting != nil {
		t.Fatalf("deleted while in use: %+v", v)
	}
	c.commit(func(b *store.Batch) { c.attachments.Delete(b, c.attachment(one)) })
	c.settle()
	if c.volume(id) != nil || c.attachment(one) != nil || store.Find(c.db.Snapshot(), storage.Allocations, al.ID) != nil {
		t.Fatal("something is left of it")
	}
	if n := len(store.Every(c.db.Snapshot(), storage.ImageCopies)); n != 1 {
		t.Fatalf("%d copies of the image right after", n)
	}
	c.now = c.now.Add(11 * time.Minute)
	c.settle()
	if n := len(store.Every(c.db.Snapshot(), storage.ImageCopies)); n != 0 {
		t.Fatalf("%d copies of the image after ten minutes", n)
	}
}

func TestAnAttachmentOfThePastIsRefusedAfterTheAgentRestarted(t *testing.T) {
	c := newCloud(t, 2)
	c.share()
	id := c.newVolume("disk", storage.VolumeSpec{SizeMiB: 100})
	source := c.attach(id, c.hosts[0], 1)
	target := c.attach(id, c.hosts[1], 2)
	if c.attachment(source).Status.Phase != storage.AttachmentReady || c.attachment(target).Status.Phase != storage.AttachmentReady {
		t.Fatal("while a VM moves, both have its disk open")
	}
	c.restartAgent(onhost.Rights(store.NewRegistry(), "agent"), c.hosts[0])
	c.loops = c.loops[len(c.loops)-5:]
	c.settle()
	if a := c.attachment(source); a.Status.Phase != storage.AttachmentWaiting || a.Status.Source.Type != "" || !strings.Contains(a.Status.Problems[0].Message, "epoch 1 is over") {
		t.Fatalf("the owner of the past has %+v", a.Status)
	}
}

func TestAnOwnerHostThatIsLostIsReplaced(t *testing.T) {
	c := newCloud(t, 2)
	c.share()
	id := c.newVolume("disk", storage.VolumeSpec{SizeMiB: 100, Base: &storage.Base{Digest: c.digest(), VirtualMiB: 50}})
	c.attach(id, c.hosts[0], 1)
	c.lose(c.hosts[0])
	for _, al := range store.Every(c.db.Snapshot(), storage.Allocations) {
		if al.Spec.OwnerHostID != c.hosts[1] {
			t.Errorf("the allocation's owner host is %s", al.Spec.OwnerHostID)
		}
	}
	for _, copied := range store.Every(c.db.Snapshot(), storage.ImageCopies) {
		if copied.Spec.OwnerHostID != c.hosts[1] {
			t.Errorf("the copy's owner host is %s", copied.Spec.OwnerHostID)
		}
	}
	c.lose(c.hosts[1])
	for _, d := range store.Every(c.db.Snapshot(), storage.Datastores) {
		if d.Status.Phase != storage.DatastoreUnreachable {
			t.Errorf("with all hosts lost the datastore is %s", d.Status.Phase)
		}
	}
}

func TestTroubleIsTold(t *testing.T) {
	c := newCloud(t, 1)
	d := c.share()
	full := c.newVolume("huge", storage.VolumeSpec{SizeMiB: 20_001, DatastoreID: d.ID})
	wantProblem(t, c.volume(full).Status.Observed, fault.Exhausted, "has promised 0 MiB of 20000")

	c.drivers[c.hosts[0]].Fail("EnsureVolume", fault.New(fault.Exhausted, "make it: no space is left"))
	id := c.newVolume("disk", storage.VolumeSpec{SizeMiB: 100, DatastoreID: d.ID})
	wantProblem(t, c.volume(id).Status.Observed, fault.Exhausted, "no space is left")
	if c.volume(id).Status.Phase != storage.VolumeFailed {
		t.Errorf("it is %s", c.volume(id).Status.Phase)
	}
	c.drivers[c.hosts[0]].Fail("EnsureVolume", nil)
	c.settle()
	if v := c.volume(id); v.Status.Phase != storage.VolumeReady || len(v.Status.Problems) > 0 {
		t.Errorf("afterwards it is %+v", v.Status)
	}

	c.fetchErr = errors.New("cut off")
	c.fetchErr = fault.New(fault.Unavailable, "the server is not there")
	imaged := c.newVolume("imaged", storage.VolumeSpec{SizeMiB: 100, DatastoreID: d.ID, Base: &storage.Base{Digest: c.digest(), VirtualMiB: 50}})
	wantProblem(t, c.volume(imaged).Status.Observed, fault.Unavailable, "its image: the server is not there")
	c.fetchErr = nil
	c.settle()

	c.drivers[c.hosts[0]].Unmount("/share")
	c.settle()
	if c.drivers[c.hosts[0]].Mount("/share", "share", 0); c.volume(imaged) == nil {
		t.Error("a volume vanished with its mount")
	}
	c.settle()
	if v := c.volume(imaged); v.Status.Phase != storage.VolumeReady || len(v.Status.Problems) > 0 {
		t.Errorf("mounted again: %+v", v.Status)
	}
}

func TestWhatHasNoRecordIsToldAndLeftAlone(t *testing.T) {
	c := newCloud(t, 1)
	d := c.share()
	stray := resource.NewID()
	_, err := c.drivers[c.hosts[0]].EnsureVolume(t.Context(), onhost.Place{Path: "/share", Identity: d.Status.Identity}, onhost.Volume{ID: stray, SizeMiB: 16})
	if err != nil {
		t.Fatal(err)
	}
	c.settle()
	device := store.Every(c.db.Snapshot(), storage.Devices)[0]
	wantProblem(t, device.Status.Observed, fault.Precondition, string(stray))
	c.commit(func(b *store.Batch) {
		c.datastores.Delete(b, store.Find(c.db.Snapshot(), storage.Datastores, d.ID))
		c.backends.Delete(b, store.Find(c.db.Snapshot(), storage.Backends, d.Spec.BackendID))
	})
	c.settle()
	for x := range c.db.Snapshot().OfKind("device") {
		t.Errorf("left: %v", x.Head().Ref())
	}
	for x := range c.db.Snapshot().OfKind("storagebackend") {
		t.Errorf("left: %v", x.Head().Ref())
	}
	place := onhost.Place{Path: "/share", Identity: d.Status.Identity}
	if _, err := c.drivers[c.hosts[0]].List(t.Context(), place); err != nil {
		t.Errorf("a folder in which something lies has lost its identity: %v", err)
	}
}

func TestAFolderWhoseStorageIsDeletedIsLeft(t *testing.T) {
	c := newCloud(t, 2)
	d := c.share()
	scan := func(host int) error {
		_, err := c.drivers[c.hosts[host]].Scan(t.Context(), "/share", false)
		return err
	}
	r := func() *storage.Backend { return store.Find(c.db.Snapshot(), storage.Backends, d.Spec.BackendID) }
	c.commit(func(b *store.Batch) {
		c.datastores.Delete(b, store.Find(c.db.Snapshot(), storage.Datastores, d.ID))
		c.backends.Set(b, r(), func(s *storage.BackendSpec) { s.HostIDs = c.hosts[:1] })
	})
	c.settle()
	if err := scan(0); err != nil {
		t.Fatalf("a host that left took the identity from the others: %v", err)
	}
	c.commit(func(b *store.Batch) { c.backends.Delete(b, r()) })
	c.settle()
	if err := scan(0); !fault.Is(err, fault.Unavailable) || len(store.Every(c.db.Snapshot(), storage.Devices)) > 0 {
		t.Errorf("after the end of its storage: %v", err)
	}
}

func wantProblem(t *testing.T, o resource.Observed, kind fault.Kind, text string) {
	t.Helper()
	if len(o.Problems) != 1 || o.Problems[0].Kind != string(kind) || !strings.Contains(o.Problems[0].Message, text) {
		t.Errorf("problems are %+v, want %s: %s", o.Problems, kind, text)
	}
}

// A copy of an image that nobody needed is being removed when a volume asks for it: the volume is made from the next one.
func TestAVolumeIsNotMadeFromACopyThatGoes(t *testing.T) {
	c := newCloud(t, 1)
	d := c.share()
	spec := storage.VolumeSpec{SizeMiB: 100, DatastoreID: d.ID, Base: &storage.Base{Digest: c.digest(), VirtualMiB: 50}}
	first := c.newVolume("first", spec)
	c.commit(func(b *store.Batch) { c.volumes.Delete(b, c.volume(first)) })
	c.settle()
	c.drivers[c.hosts[0]].Fail("RemoveImage", fault.New(fault.Unavailable, "the share hangs"))
	c.now = c.now.Add(11 * time.Minute)
	c.settle()
	if all := store.Every(c.db.Snapshot(), storage.ImageCopies); len(all) != 1 || all[0].Deleting == nil {
		t.Fatalf("the copies are %+v", all)
	}
	id := c.newVolume("second", spec)
	if c.world.SizeMiB(id) != 0 || c.volume(id).Status.Phase == storage.VolumeReady {
		t.Fatal("it was made from a copy that goes")
	}
	wantProblem(t, c.volume(id).Status.Observed, fault.Unavailable, "is being removed, and is fetched again")
	c.drivers[c.hosts[0]].Fail("RemoveImage", nil)
	c.settle()
	if v := c.volume(id); v.Status.Phase != storage.VolumeReady || c.fetches != 2 || c.world.SizeMiB(id) != 100 {
		t.Errorf("afterwards it is %+v, and its image was fetched %d times", v.Status, c.fetches)
	}
}
