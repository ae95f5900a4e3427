package sim

import (
	"fmt"
	"strconv"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// snapshotVerb: snapshot take one of web, snapshot revert one of web, snapshot delete one; as the API does.
func snapshotVerb(t *teller, a args) error {
	name, vm := a.word(1), ""
	if len(a.words) > 3 {
		vm = a.word(3)
	}
	front := t.c.server.Front
	switch a.word(0) {
	case "take":
		return t.c.withVM(vm, func(s *store.Snapshot, b *store.Batch, vm *compute.VM) error {
			of := &compute.VMSnapshot{Meta: resource.Meta{Kind: compute.VMSnapshots.Kind, ID: resource.NewID(), Name: name, Project: project}, Spec: compute.VMSnapshotSpec{VMID: vm.ID}}
			if err := front.CreateSnapshot(s, b, of); err != nil {
				return err
			}
			front.VMSnapshots.Create(b, of)
			return nil
		})
	case "revert":
		return t.c.withVM(vm, func(s *store.Snapshot, b *store.Batch, vm *compute.VM) error {
			return front.RevertVM(s, b, vm, &compute.VMRevertRequest{SnapshotID: resource.ID(name)})
		})
	case "delete":
		return t.c.request(func(s *store.Snapshot, b *store.Batch) error {
			of := store.Named(s, compute.VMSnapshots, project, name)
			if of == nil {
				return fault.New(fault.NotFound, "no snapshot %s", name)
			}
			front.VMSnapshots.Delete(b, of)
			store.DeleteOwned(b, s, of.ID)
			return nil
		})
	}
	return fmt.Errorf("a snapshot cannot %q", a.word(0))
}

// holdsSnapshot: snapshot one ready|pending|gone.
func (c *Cluster) holdsSnapshot(name, state string) (bool, string) {
	s := store.Named(c.all.Snapshot(), compute.VMSnapshots, project, name)
	if s == nil {
		return state == "gone", "gone"
	}
	return s.Status.Phase == state, fmt.Sprintf("%+v", s.Status)
}

// holdsLayers: layers web-disk0 2: that many shall be there, and are, and it goes back to nothing.
func (c *Cluster) holdsLayers(name, count string) (bool, string) {
	v := store.Named(c.all.Snapshot(), storage.Volumes, project, name)
	if v == nil {
		return false, "no such volume"
	}
	for _, a := range store.Referring(c.all.Snapshot(), storage.Allocations, v.ID) {
		same := len(a.Spec.Layers) == len(a.Status.Layers)
		for _, l := range a.Spec.Layers {
			there := storage.Chain{Layers: a.Status.Layers}.Find(l.ID)
			same = same && there != nil && there.ParentID == l.ParentID
		}
		return same && strconv.Itoa(len(a.Spec.Layers)) == count && !storage.Reverting(v), fmt.Sprintf("%+v, there %+v, goes back: %v", a.Spec.Layers, a.Status.Layers, storage.Reverting(v))
	}
	return false, "it has no place"
}

// judgeLayers: a guest writes to the active layer of its disks, and never sees another in its place while it runs.
func (c *Cluster) judgeLayers(snap *store.Snapshot, g seenGuest) {
	for _, d := range g.vm.Disks {
		for _, a := range store.Referring(snap, storage.Allocations, d.ID) {
			if d.Source.Layer != a.Spec.ActiveLayer {
				c.fail("the guest of VM %s writes to layer %s of volume %s, and %s is its active one", g.vm.Name, d.Source.Layer, d.ID, a.Spec.ActiveLayer)
			}
		}
	}
}
