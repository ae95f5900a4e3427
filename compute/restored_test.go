package compute_test

import (
	"testing"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// Records were restored, and the disk's file knows an epoch that they do not.
func TestRestoredVMGetsAnEpochAboveItsDisks(t *testing.T) {
	w, _ := newWorld(t)
	const onDisk = 1_000_000
	b := w.db.Begin()
	old := store.Find(w.db.Snapshot(), compute.Instances, w.record().Status.InstanceID)
	w.instances.Set(b, old, func(s *compute.InstanceStatus) { *s = compute.InstanceStatus{Phase: compute.InstanceWaiting} })
	for _, a := range store.Referring(w.db.Snapshot(), storage.Attachments, old.ID) {
		w.volumes.Set(b, a, func(s *storage.AttachmentStatus) { s.Phase, s.HighestEpoch = storage.AttachmentWaiting, onDisk })
	}
	if err := w.db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		w.settle()
	}
	vm := w.record()
	now := store.Find(w.db.Snapshot(), compute.Instances, vm.Status.InstanceID)
	if now == nil || now.ID == old.ID || now.Spec.Epoch <= onDisk || vm.Status.Phase != compute.PhaseRunning || len(vm.Status.Problems) != 0 {
		t.Fatalf("the VM is %+v, its instance %+v", vm.Status, now)
	}
	for _, a := range store.Every(w.db.Snapshot(), storage.Attachments) {
		if a.Spec.Epoch != now.Spec.Epoch {
			t.Errorf("an attachment of epoch %d is left beside %d", a.Spec.Epoch, now.Spec.Epoch)
		}
	}
}
