package storage

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
)

// shop is a cloud of storage without anybody who works in it.
type shop struct {
	*testing.T
	*Controller
	specs   APIRights
	volumes *store.SpecWriter[VolumeSpec, VolumeStatus]
	devices *store.SpecWriter[DeviceSpec, DeviceStatus]
}

func newShop(t *testing.T) *shop {
	l := store.NewRegistry()
	s := &shop{T: t, specs: NewAPIRights(l), devices: store.Specs(l, Devices, "test")}
	s.volumes = s.specs.Volumes
	db := store.NewDB(memory.New(), resource.NewCatalog(append(slices.Clone(Nouns), host.Nouns...)...))
	db.Inline = true
	db.Now = func() time.Time { return time.Unix(1_700_000_000, 0) }
	s.Controller = &Controller{db: db, w: Rights(l, "test"), policy: Policy{}.orDefault(), unused: map[resource.ID]time.Time{}, unfit: map[resource.ID]struct{}{}}
	return s
}

func (s *shop) do(fill func(b *store.Batch)) {
	s.Helper()
	b := s.db.Begin()
	fill(b)
	if err := s.db.Commit(s.Context(), b); err != nil {
		s.Fatal(err)
	}
}

func (s *shop) datastore(name string, hosts ...resource.ID) *Datastore {
	s.Helper()
	r := &Backend{Meta: resource.Meta{Name: name}, Spec: BackendSpec{HostIDs: hosts}}
	d := &Datastore{Meta: resource.Meta{Name: name}}
	s.do(func(b *store.Batch) {
		s.specs.Backends.Create(b, r)
		d.Spec.BackendID = r.ID
		s.specs.Datastores.Create(b, d)
	})
	return d
}

func (s *shop) volume1(name string, spec VolumeSpec) resource.ID {
	s.Helper()
	v := &Volume{Meta: resource.Meta{Name: name}, Spec: spec}
	s.do(func(b *store.Batch) { s.volumes.Create(b, v) })
	s.step(v.ID)
	return v.ID
}

func (s *shop) step(id resource.ID) {
	s.Helper()
	if _, err := s.volume(s.Context(), id); err != nil {
		s.Fatal(err)
	}
}

// A change of a datastore calls the volumes that wait for one, not all that have no place: the disks of VMs that
// were never started have none, and want none.
func TestADatastoreCallsThoseWhoWaitForOne(t *testing.T) {
	s := newShop(t)
	d := s.datastore("d", "h1")
	for i := range 50 {
		s.volume1(fmt.Sprint("idle", i), VolumeSpec{SizeMiB: 1})
	}
	if called := s.volumesMoved(s.now(d)); len(called) != 0 {
		t.Errorf("%d volumes that wait for nothing are called", len(called))
	}
	waits := s.volume1("waits", VolumeSpec{SizeMiB: 1, DatastoreID: d.ID})
	if called := s.volumesMoved(s.now(d)); !slices.Equal(called, []resource.ID{waits}) {
		t.Errorf("called are %v, and %s waits", called, waits)
	}
	s.do(func(b *store.Batch) {
		s.w.Datastores.Set(b, s.now(d), func(st *DatastoreStatus) {
			st.Phase, st.HostIDs, st.CapacityMiB, st.FreeMiB = DatastoreReady, []resource.ID{"h1"}, 1000, 1000
		})
	})
	s.step(waits)
	if v := store.Find(s.db.Snapshot(), Volumes, waits); v.Status.AllocationID == "" {
		t.Fatalf("it has no place: %+v", v.Status)
	}
	if called := s.volumesMoved(s.now(d)); len(called) != 0 {
		t.Errorf("%v are called, and nobody waits", called)
	}
	lost := resource.Copy(s.now(d))
	lost.Status.Phase = DatastoreUnreachable
	if called := s.volumesMoved(lost); !slices.Equal(called, []resource.ID{waits}) {
		t.Errorf("called are %v, and %s lies on what is out of reach", called, waits)
	}
}

func (s *shop) now(d *Datastore) *Datastore { return store.Find(s.db.Snapshot(), Datastores, d.ID) }

// What is heard of a host calls the datastores that it reaches or shall reach.
func TestAHostCallsItsOwnDatastores(t *testing.T) {
	s := newShop(t)
	mine, found := s.datastore("mine", "h1"), s.datastore("found", "h2")
	for i := range 50 {
		s.datastore(fmt.Sprint("other", i), resource.ID(fmt.Sprint("x", i)))
	}
	s.do(func(b *store.Batch) {
		s.devices.Create(b, &Device{Spec: DeviceSpec{BackendID: found.Spec.BackendID, HostID: "h1", Identity: "i"}})
	})
	if got, want := sorted(s.datastoresOf("h1")), sorted([]resource.ID{mine.ID, found.ID}); !slices.Equal(got, want) {
		t.Errorf("called are %v, want %v", got, want)
	}
}
