package compute

import (
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Each pair is judged by the same picture, in which the pool has what either asks for, but not what both do.
func TestOfTwoWhoTakeTheLastOfAPoolAtOnceOneIsTurnedBack(t *testing.T) {
	type ask = func(*poolWorld, *store.Snapshot, *store.Batch) error
	vm := func(id resource.ID, mhz int64) ask {
		return func(w *poolWorld, snap *store.Snapshot, b *store.Batch) error {
			vm := &VM{Meta: resource.Meta{ID: id, Name: string(id), Project: "p"}, Spec: VMSpec{PoolID: "gold", Power: Running}}
			vm.Spec.CPUReservationMHz = mhz
			w.vms.Create(b, vm)
			return admitVM(snap, b, nil, vm)
		}
	}
	starts := func(w *poolWorld, snap *store.Snapshot, b *store.Batch) error {
		old := store.Find(snap, VMs, "off")
		after := *old
		after.Spec.Power = Running
		w.vms.Set(b, old, func(s *VMSpec) { s.Power = Running })
		return admitVM(snap, b, old, &after)
	}
	pool := func(id, parent resource.ID, mhz int64) ask {
		return func(w *poolWorld, snap *store.Snapshot, b *store.Batch) error {
			p := &Pool{Meta: resource.Meta{ID: id, Name: string(id)}, Spec: PoolSpec{ParentID: parent, CPUPolicy: CPUPolicy{CPUReservationMHz: mhz}}}
			err := createPool(snap, b, p)
			w.pools.Specs.Create(b, p)
			return err
		}
	}
	has := func(mhz int64) ask {
		return func(w *poolWorld, snap *store.Snapshot, b *store.Batch) error {
			old := store.Find(snap, Pools, "gold")
			spec := old.Spec
			spec.CPUReservationMHz = mhz
			w.pools.Specs.Set(b, old, func(s *PoolSpec) { *s = spec })
			return changePool(snap, b, old, &spec)
		}
	}
	for name, c := range map[string]struct {
		first, second ask
		turned        bool
	}{
		"two new VMs":                              {vm("a", 2000), vm("b", 2000), true},
		"a new VM and one that is started":         {vm("a", 2000), starts, true},
		"a VM and a pool in the pool":              {vm("a", 2000), pool("silver", "gold", 2000), true},
		"a VM, and the pool gives some away":       {vm("a", 2000), has(1000), true},
		"the pool gives some away, and a VM":       {has(1000), vm("a", 2000), true},
		"two pools of one cluster":                 {pool("one", "", 12000), pool("two", "", 12000), true},
		"VMs that reserve nothing":                 {vm("a", 0), vm("b", 0), false},
		"one that reserves, then one that doesn't": {vm("a", 2000), vm("b", 0), false},
		"pools that reserve nothing":               {pool("one", "", 0), pool("two", "", 0), false},
	} {
		t.Run(name, func(t *testing.T) {
			w := newPoolWorld(t)
			w.must(w.pool("gold", "", reserving(3000)))
			w.commit(func(_ *store.Snapshot, b *store.Batch) error {
				off := &VM{Meta: resource.Meta{ID: "off", Name: "off", Project: "p"}, Spec: VMSpec{PoolID: "gold", Power: Stopped}}
				off.Spec.CPUReservationMHz = 2000
				w.vms.Create(b, off)
				return nil
			})
			seen, first, second := w.db.Snapshot(), w.db.Begin(), w.db.Begin()
			w.must(c.first(w, seen, first))
			w.must(c.second(w, seen, second))
			w.must(w.db.Commit(t.Context(), first))
			if err := w.db.Commit(t.Context(), second); fault.Is(err, fault.Conflict) != c.turned || err != nil && !c.turned {
				t.Fatalf("the second: %v", err)
			}
			if !c.turned {
				return
			}
			// It looks again, as the API does, and is told why it cannot be.
			w.must(w.db.CatchUp(t.Context()))
			if err := c.second(w, w.db.Snapshot(), w.db.Begin()); !fault.Is(err, fault.Exhausted) && !fault.Is(err, fault.Precondition) {
				t.Errorf("the second, again: %v", err)
			}
		})
	}
}
