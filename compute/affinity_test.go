package compute_test

import (
	"slices"
	"testing"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// A VM that runs is put into a rule and taken out of it: its claim says so, and it stays where it is.
func TestTheClaimOfAVMFollowsItsAffinityRules(t *testing.T) {
	w, _ := newWorld(t)
	rules := placement.NewRuleWriters(w.registry)
	b := w.db.Begin()
	r := &placement.AffinityRule{Meta: resource.Meta{ID: "apart", Name: "apart", Project: "default"}}
	placement.DefaultRule(&r.Spec)
	rules.Specs.Create(b, r)
	other := &placement.AffinityRule{Meta: resource.Meta{ID: "foreign", Name: "foreign", Project: "another"}}
	rules.Specs.Create(b, other)
	if err := w.db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	front := &compute.Front{VMs: w.vms, Placer: placement.NewGate(w.db, w.claims)}
	change := func(ids ...resource.ID) error {
		b, vm := w.db.Begin(), w.record()
		spec := vm.Spec
		spec.AffinityRuleIDs = ids
		if err := front.Change(w.db.Snapshot(), b, vm, &spec, func(...string) bool { return false }); err != nil {
			return err
		}
		w.vms.Set(b, vm, func(s *compute.VMSpec) { s.AffinityRuleIDs = ids })
		return w.db.Commit(t.Context(), b)
	}
	claimed := func() []resource.ID {
		all := store.Referring(w.db.Snapshot(), placement.Claims, w.vm)
		if len(all) != 1 {
			t.Fatalf("there are %d claims", len(all))
		}
		return all[0].Spec.AffinityRuleIDs
	}
	before := w.record().Status.HostID
	for _, ids := range [][]resource.ID{{"apart"}, nil} {
		if err := change(ids...); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			w.settle()
		}
		if got := claimed(); !slices.Equal(got, ids) || w.record().Status.HostID != before {
			t.Errorf("the claim names %v, and should name %v; the VM is on %s", got, ids, w.record().Status.HostID)
		}
	}
	for _, ids := range [][]resource.ID{{"foreign"}, {"none"}} {
		if err := change(ids...); !fault.Is(err, fault.NotFound) {
			t.Errorf("rule %v: %v", ids, err)
		}
	}
	if err := change("apart", "apart"); !fault.Is(err, fault.Invalid) {
		t.Errorf("a rule twice: %v", err)
	}
}
