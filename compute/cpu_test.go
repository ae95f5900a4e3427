package compute_test

import (
	"strings"
	"testing"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func TestReservationOfARunningVMIsRaisedWhenItsHostHasIt(t *testing.T) {
	w, _ := newWorld(t)
	commit := func(fill func(*store.Batch)) {
		t.Helper()
		b := w.db.Begin()
		fill(b)
		if err := w.db.Commit(t.Context(), b); err != nil {
			t.Fatal(err)
		}
		w.settle()
	}
	wish := func(p compute.CPUPolicy) {
		t.Helper()
		commit(func(b *store.Batch) {
			w.vms.Set(b, w.record(), func(s *compute.VMSpec) { s.CPUPolicy = p })
		})
	}
	is := func(claimed, instance int64, problem string) {
		t.Helper()
		i := store.Find(w.db.Snapshot(), compute.Instances, w.record().Status.InstanceID)
		var claim *placement.Claim
		for _, c := range store.Referring(w.db.Snapshot(), placement.Claims, w.vm) {
			claim = c
		}
		said := ""
		if p := w.record().Status.Problems; len(p) > 0 {
			said = p[0].Message
		}
		if claim.Spec.CPUReservationMHz != claimed || i.Spec.CPUReservationMHz != instance || said == "" != (problem == "") || !strings.Contains(said, problem) {
			t.Errorf("claimed are %d MHz, the instance has %d, and it is said %q; want %d, %d, %q",
				claim.Spec.CPUReservationMHz, i.Spec.CPUReservationMHz, said, claimed, instance, problem)
		}
	}
	wish(compute.CPUPolicy{CPUReservationMHz: 2000})
	is(2000, 2000, "")
	other := &placement.Claim{Meta: resource.Meta{Name: "other", Project: "default"}, Spec: placement.ClaimSpec{
		Workload: resource.Ref{Kind: "volume", Project: "default", ID: "v"}, HostID: w.record().Status.HostID, Demand: placement.Demand{CPUReservationMHz: 17_000},
	}}
	commit(func(b *store.Batch) { w.claims.Create(b, other) })
	// Somebody was faster: what the API let pass is not to be had any more.
	wish(compute.CPUPolicy{CPUReservationMHz: 4000, CPUShares: 7})
	is(2000, 2000, "not enough CPU that nobody has reserved (needs 2000 MHz more; 1000 of 20000 MHz are free)")
	if i := store.Find(w.db.Snapshot(), compute.Instances, w.record().Status.InstanceID); i.Spec.CPUShares != 7 {
		t.Errorf("the rest of the policy waits as well: %+v", i.Spec.CPUPolicy)
	}
	commit(func(b *store.Batch) { w.claims.Delete(b, store.Find(w.db.Snapshot(), placement.Claims, other.ID)) })
	is(4000, 4000, "")
	wish(compute.CPUPolicy{})
	is(0, 0, "")
}
