package onhost_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/storage"
)

// ready asks the API whether a record is as specified, as those do who wait.
func (c *cloud) ready(path string, want fault.Kind, text string) {
	c.Helper()
	c.ask("GET", path+"?wait=ready&timeout=0s", "", want, text)
}

// ask sends a request to the API.
func (c *cloud) ask(method, path, body string, want fault.Kind, text string) {
	c.Helper()
	if c.api == nil {
		c.api = httpapi.New(c.db, httpapi.Options{Authenticate: func(*http.Request) (httpapi.Caller, error) {
			return httpapi.Caller{User: "root", Right: httpapi.Admin}, nil
		}})
		storage.Register(c.api, storage.APIRights{Backends: c.backends, Datastores: c.datastores, Volumes: c.volumes, VolumeSnapshots: c.snapshots})
	}
	answer := httptest.NewRecorder()
	request := httptest.NewRequest(method, "/v1/"+path, strings.NewReader(body))
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	c.api.ServeHTTP(answer, request)
	status := answer.Code
	if want != "" {
		status = want.HTTPStatus()
	} else if status >= 300 {
		status = http.StatusOK
	}
	if answer.Code != status || !strings.Contains(answer.Body.String(), text) {
		c.Errorf("%s: %d %s, want %d %q", path, answer.Code, answer.Body, status, text)
	}
}

func TestStorageIsReadyWhenEachHostHasFoundIt(t *testing.T) {
	c := newCloud(t, 2)
	servers, agents := c.loops[:4], c.loops[4:]
	r := &storage.Backend{Spec: storage.BackendSpec{Type: storage.Folder, Path: "/nope", HostIDs: c.hosts}}
	r.ID, r.Name = resource.NewID(), "nas"
	d := &storage.Datastore{Spec: storage.DatastoreSpec{BackendID: r.ID}}
	d.Name = "main"
	c.commit(func(b *store.Batch) {
		c.backends.Create(b, r, storage.Holder)
		c.datastores.Create(b, d, storage.Holder)
	})
	c.ready("storagebackends/nas", fault.Unavailable, "not ready")

	// Only the server has looked: nothing is wrong with what is merely young.
	c.loops = servers
	c.settle()
	c.ready("storagebackends/nas", fault.Unavailable, "not ready")
	c.ready("datastores/main", fault.Unavailable, "not ready")
	young := store.Find(c.db.Snapshot(), storage.Datastores, d.ID)
	if young.Status.Phase != storage.DatastoreStarting || len(young.Status.Problems) > 0 {
		t.Errorf("before a host has looked the datastore is %+v", young.Status)
	}

	c.drivers[c.hosts[0]].Mount("/nope", "nas", 1000)
	c.loops = append(c.loops, agents[:5]...)
	c.settle()
	c.ready("storagebackends/nas", fault.Unavailable, "not ready")
	c.ready("datastores/main", "", "ready")

	// The second host finds no such folder: who waits is told at once what to do.
	c.loops = append(servers, agents...)
	c.settle()
	c.ready("storagebackends/nas", fault.Precondition, "folder /nope is not there; make it, or mount the share")
	c.drivers[c.hosts[1]].Mount("/nope", "nas", 1000)
	c.settle()
	c.ready("storagebackends/nas", "", "deviceIDs")

	// A host that is added has not looked yet.
	more := resource.NewID()
	c.commit(func(b *store.Batch) {
		c.backends.Set(b, store.Find(c.db.Snapshot(), storage.Backends, r.ID), func(s *storage.BackendSpec) { s.HostIDs = append(c.hosts, more) })
	})
	c.ready("storagebackends/nas", fault.Unavailable, "not ready")
	c.settle()
	c.ready("storagebackends/nas", fault.Unavailable, "not ready")
}

func TestADatastoreThatNobodyFoundSaysWhy(t *testing.T) {
	c := newCloud(t, 1)
	r := &storage.Backend{Spec: storage.BackendSpec{Type: storage.Folder, Path: "/nope", HostIDs: c.hosts}}
	r.ID, r.Name = resource.NewID(), "nas"
	d := &storage.Datastore{Spec: storage.DatastoreSpec{BackendID: r.ID}}
	d.Name = "main"
	c.commit(func(b *store.Batch) {
		c.backends.Create(b, r, storage.Holder)
		c.datastores.Create(b, d, storage.Holder)
	})
	c.settle()
	c.ready("datastores/main", fault.Precondition, "no living host has found it: folder /nope is not there; make it")
	c.drivers[c.hosts[0]].Mount("/nope", "nas", 1000)
	c.settle()
	c.ready("datastores/main", "", "ready")

	// One whose only host dies before it has looked is not young for ever.
	late := &storage.Backend{Spec: storage.BackendSpec{Type: storage.Folder, Path: "/late", HostIDs: []resource.ID{resource.NewID()}}}
	late.ID, late.Name = resource.NewID(), "late"
	on := &storage.Datastore{Spec: storage.DatastoreSpec{BackendID: late.ID}}
	on.Name = "late"
	life := &host.Liveness{Spec: host.LivenessSpec{HostID: late.Spec.HostIDs[0]}}
	c.commit(func(b *store.Batch) {
		c.backends.Create(b, late, storage.Holder)
		c.datastores.Create(b, on, storage.Holder)
		c.lives.Create(b, life)
	})
	c.settle()
	if now := store.Find(c.db.Snapshot(), storage.Datastores, on.ID); now.Status.Phase != storage.DatastoreStarting {
		t.Errorf("it is %s", now.Status.Phase)
	}
	c.lose(life.Spec.HostID)
	now := store.Find(c.db.Snapshot(), storage.Datastores, on.ID)
	wantProblem(t, now.Status.Observed, fault.Unavailable, "no living host has found it")
}

func TestAVolumeIsReadyWhenItHasReallyGrown(t *testing.T) {
	c := newCloud(t, 1)
	d := c.share()
	id := c.newVolume("disk", storage.VolumeSpec{SizeMiB: 100, DatastoreID: d.ID})
	path := "projects/p/volumes/disk"
	c.ready(path, "", `"sizeMiB":100`)
	grow := func(size int64) {
		c.commit(func(b *store.Batch) { c.volumes.Set(b, c.volume(id), func(s *storage.VolumeSpec) { s.SizeMiB = size }) })
	}

	// nobody has it open
	all := c.loops
	grow(200)
	c.ready(path, fault.Unavailable, "not ready")
	c.loops = all[:4] // the server has admitted it, no host has acted
	c.settle()
	c.ready(path, fault.Unavailable, "it has 100 MiB of 200: it grows at once")
	c.loops = all
	c.settle()
	c.ready(path, "", `"sizeMiB":200`)

	// a VM has it open: only its QEMU makes it larger
	c.attach(id, c.hosts[0], 1)
	c.ready(path, "", `"sizeMiB":200`)
	grow(300)
	c.settle()
	c.ready(path, fault.Unavailable, "it has 200 MiB of 300: the VM that has it open grows it")
	c.world.Grow(id, 300)
	c.settle()
	c.ready(path, "", `"sizeMiB":300`)

	// growth that its datastore does not admit will not come
	grow(30_000)
	c.settle()
	c.ready(path, fault.Exhausted, "grow it: ")
}
