package image

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

func TestContentIsCollectedWhenNobodyNeedsIt(t *testing.T) {
	s := newServer(t)
	kept := func() int {
		files, _ := filepath.Glob(filepath.Join(s.Importer.Blobs.folder, "sha256-*"))
		return len(files)
	}
	commit := func(change func(*store.Batch)) {
		t.Helper()
		b := s.db.Begin()
		change(b)
		if err := s.db.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		s.settle()
	}
	l := store.NewRegistry()
	volumes, copies := store.Specs(l, storage.Volumes, "api"), store.Specs(l, storage.ImageCopies, "s")
	commit(func(b *store.Batch) {
		store.Specs(l, storage.Datastores, "api").Create(b, &storage.Datastore{Meta: resource.Meta{Name: "d"}})
	})
	id := s.create(compute.ImageSource{Type: compute.Build, Recipe: "small"})
	digest := s.find(id).Status.Digest
	if digest == "" || kept() != 1 {
		t.Fatalf("%+v, %d files", s.find(id).Status, kept())
	}

	// Its image keeps it, however old; then a disk; then a copy that may be fetched again.
	later := func(d time.Duration) { s.now = s.now.Add(d); s.settle() }
	later(24 * time.Hour)
	v := &storage.Volume{Meta: resource.Meta{Name: "disk", Project: "p"}, Spec: storage.VolumeSpec{Base: &storage.Base{Digest: digest}}}
	commit(func(b *store.Batch) { volumes.Create(b, v) })
	s.delete(id)
	goneImage := func() {
		t.Helper()
		if _, err := reconcile.SafeStep(context.Background(), s.Loop(), id); err != nil {
			t.Fatal(err)
		}
	}
	goneImage()
	later(24 * time.Hour)
	if kept() != 1 {
		t.Fatal("content that a disk is backed by is gone")
	}
	c := &storage.ImageCopy{Meta: resource.Meta{Name: "copy"}, Spec: storage.ImageCopySpec{Digest: digest}}
	commit(func(b *store.Batch) {
		copies.Create(b, c)
		volumes.Delete(b, store.Find(s.db.Snapshot(), storage.Volumes, v.ID))
	})
	later(24 * time.Hour)
	if kept() != 1 {
		t.Fatal("content that a copy is made of is gone")
	}
	commit(func(b *store.Batch) { copies.Delete(b, store.Find(s.db.Snapshot(), storage.ImageCopies, c.ID)) })
	later(sweepEvery)
	if kept() != 0 {
		t.Error("content that nobody needs stays for ever")
	}

	// Young content that no record names yet may be about to be named; half an import keeps all.
	id = s.create(compute.ImageSource{Type: compute.Build, Recipe: "small"})
	path, _ := s.Importer.Blobs.path(s.find(id).Status.Digest)
	now := s.now
	if err := os.Chtimes(path, now, now); err != nil {
		t.Fatal(err)
	}
	s.delete(id)
	goneImage()
	later(blobsStay - time.Minute)
	if kept() != 1 {
		t.Error("young content is gone")
	}
	later(sweepEvery)
	if kept() != 0 {
		t.Error("content that is no longer young stays")
	}
}
