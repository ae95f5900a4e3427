package compute_test

import (
	"strings"
	"testing"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/observe"
)

func TestACrashIsToldAsWhatItIs(t *testing.T) {
	for policy, want := range map[compute.RestartPolicy]struct {
		kind fault.Kind
		text string
	}{
		compute.OnFailure: {fault.Unavailable, "by its restart policy (on-failure) it is started again soon (unavailable: wait and retry)"},
		compute.Never:     {fault.Precondition, "by its restart policy (never) it is not started again: virga vm start web"},
	} {
		w, _ := newWorld(t)
		specs := store.Specs(store.NewRegistry(), compute.VMs, "test")
		change := func(f func(*compute.VMSpec)) {
			b := w.db.Begin()
			specs.Set(b, w.record(), f)
			if err := w.db.Commit(t.Context(), b); err != nil {
				t.Fatal(err)
			}
		}
		// The first boot is ended by us, and the VM is stopped: that is how it ended.
		change(func(s *compute.VMSpec) {
			s.Power, s.KillInstanceID, s.RestartPolicy = compute.Stopped, w.record().Status.InstanceID, policy
		})
		for range 20 {
			w.settle()
		}
		if vm := w.record(); vm.Status.Phase != compute.PhaseStopped || vm.Status.EndedWhy != string(compute.ExitForced) {
			t.Fatalf("stopped: %+v", vm.Status)
		}
		change(func(s *compute.VMSpec) { s.Power, s.BootToken = compute.Running, "second" })
		for range 20 {
			w.settle()
		}
		vm := w.record()
		if vm.Status.Phase != compute.PhaseRunning || vm.Status.EndedWhy != "" {
			t.Fatalf("started again: %+v", vm.Status)
		}
		// The second is killed from outside.
		b := w.db.Begin()
		w.instances.Set(b, store.Find(w.db.Snapshot(), compute.Instances, vm.Status.InstanceID), func(s *compute.InstanceStatus) {
			s.Phase, s.Exit, s.ExitMessage = compute.InstanceStopped, compute.ExitCrashed, "QEMU was killed by signal 9 (killed)"
		})
		if err := w.db.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		if err := w.loop(t.Context(), w.vm); err != nil {
			t.Fatal(err)
		}
		vm = w.record()
		if vm.Status.Phase != compute.PhaseCrashed || len(vm.Status.Problems) != 1 || vm.Status.Problems[0].Kind != string(want.kind) {
			t.Errorf("crashed with policy %s: %+v", policy, vm.Status)
		}
		text := ""
		for _, l := range observe.Explain(w.db.Snapshot(), w.db.Catalog(), vm, w.db.Now(), resource.Operator, compute.Remarks()) {
			text += l.Text + "\n"
		}
		if !strings.Contains(text, "QEMU was killed by signal 9") || !strings.Contains(text, want.text) ||
			strings.Contains(text, "forced") || strings.Contains(text, "bug") {
			t.Errorf("explained:\n%s", text)
		}
	}
}
