package compute_test

import (
	"strings"
	"testing"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/observe"
)

func TestAVMWhoseGuestDoesNotTakeItsMemoryIsToldWhatThatMeans(t *testing.T) {
	w, _ := newWorld(t)
	all := store.Find(w.db.Snapshot(), compute.Instances, w.record().Status.InstanceID).Spec.MemoryMiB
	for has, said := range map[int64]bool{0: false, all: false, all - 64: true} {
		b := w.db.Begin()
		w.instances.Set(b, store.Find(w.db.Snapshot(), compute.Instances, w.record().Status.InstanceID), func(s *compute.InstanceStatus) { s.MemoryMiB = has })
		if err := w.db.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, l := range observe.Explain(w.db.Snapshot(), w.db.Catalog(), w.record(), w.db.Now(), resource.Reader, compute.Remarks()) {
			text += l.Text + "\n"
		}
		if strings.Contains(text, "it needs a driver (virtio_mem in Linux)") != said {
			t.Errorf("of %d MiB it has %d: %s", all, has, text)
		}
	}
}

func TestAVMWithoutABalloonDriverIsToldWhatThatMeans(t *testing.T) {
	w, _ := newWorld(t)
	for driver, said := range map[string]bool{"": false, "yes": false, "no": true} {
		b := w.db.Begin()
		w.instances.Set(b, store.Find(w.db.Snapshot(), compute.Instances, w.record().Status.InstanceID), func(s *compute.InstanceStatus) { s.BalloonDriver = driver })
		if err := w.db.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		text := ""
		for _, l := range observe.Explain(w.db.Snapshot(), w.db.Catalog(), w.record(), w.db.Now(), resource.Reader, compute.Remarks()) {
			text += l.Text + "\n"
		}
		if strings.Contains(text, "no balloon driver") != said {
			t.Errorf("driver %q: %s", driver, text)
		}
	}
}
