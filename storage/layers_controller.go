package storage

import (
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// layers decides what the layers of a volume shall be: one more for each new snapshot, one on the snapshot
// that it goes back to, and none that nobody needs; and which request to go back is carried out. While
// somebody uses the volume its chain stays as it is. The snapshots are told in the same commit.
func (c *Controller) layers(b *store.Batch, snap *store.Snapshot, v *Volume, a *Allocation, using []resource.ID) (Chain, string) {
	chain, reverted, named, free := a.Spec.Chain(), v.Status.RevertToken, map[string]bool{}, len(using) == 0
	for _, s := range store.Referring(snap, VolumeSnapshots, v.ID) {
		if s.Deleting != nil {
			store.Release(b, s, Holder)
			continue
		}
		store.Hold(b, s, Holder)
		layer := s.Status.LayerID
		if layer == "" && free && a.Status.Phase == Ready {
			layer = chain.Active
			chain = chain.On(layer, NewLayerID())
		}
		named[layer] = true
		c.tellSnapshot(b, snap, v, a, s, chain, layer)
	}
	if Reverting(v) && free {
		if s := store.Find(snap, VolumeSnapshots, v.Spec.Revert.SnapshotID); s != nil && named[s.Status.LayerID] && chain.Find(s.Status.LayerID) != nil {
			chain = chain.On(s.Status.LayerID, NewLayerID())
			reverted = v.Spec.Revert.Token
		}
	}
	if free {
		chain = chain.Tidy(func(id string) bool { return named[id] })
	}
	if !slices.Equal(chain.Layers, a.Spec.Layers) {
		b.InTurn(v.Ref(), snap) // nobody has begun to use it since
	}
	return chain, reverted
}

// tellSnapshot writes what became of a snapshot: it is ready when nobody can write to its layer any more.
func (c *Controller) tellSnapshot(b *store.Batch, snap *store.Snapshot, v *Volume, a *Allocation, s *VolumeSnapshot, chain Chain, layer string) {
	why := ""
	if layer == "" {
		why = "it is taken as soon as no VM has volume " + v.Name + " open"
	}
	c.w.VolumeSnapshots.Set(b, s, func(t *VolumeSnapshotStatus) {
		t.Observed = c.observed(t.Observed, s.Generation, kindIf(fault.Unavailable, why), why)
		if t.LayerID == "" && layer != "" {
			t.LayerID, t.SizeMiB, t.TakenAt = layer, a.Status.SizeMiB, c.db.Now().UTC()
		}
		if t.Phase != SnapshotReady {
			t.Phase = SnapshotPending
			if above := chain.Above(layer); layer != "" && made(a, above) && !written(snap, v.ID, layer) {
				t.Phase = SnapshotReady
			}
		}
	})
}

// made reports whether one of some layers lies on the storage.
func made(a *Allocation, layers []string) bool {
	there := Chain{Layers: a.Status.Layers}
	for _, id := range layers {
		if there.Find(id) != nil {
			return true
		}
	}
	return false
}

// written reports whether a layer may still be open to somebody who writes: one who does not say yet what is
// open may have it.
func written(snap *store.Snapshot, volumeID resource.ID, layer string) bool {
	for _, at := range store.Referring(snap, Attachments, volumeID) {
		if open := at.Status.Source.Layer; open == "" || open == layer {
			return true
		}
	}
	return false
}

// revertTrouble says why a volume does not go back to a snapshot; empty: nothing is in the way. A snapshot that is
// gone was lost with records that were restored from a backup: it is not deleted while its volume goes back to it.
func revertTrouble(snap *store.Snapshot, v *Volume, reverted string) string {
	if v.Spec.Revert == nil || v.Spec.Revert.Token == reverted || store.Find(snap, VolumeSnapshots, v.Spec.Revert.SnapshotID) != nil {
		return ""
	}
	return "it cannot go back to snapshot " + string(v.Spec.Revert.SnapshotID) + ", which is gone; revert it to another one"
}

// layersOf adds to what the layers shall be the space that they take, as their host has seen it.
func layersOf(c Chain, a *Allocation) []Layer {
	there := Chain{Layers: a.Status.Layers}
	out := make([]Layer, len(c.Layers))
	for i, l := range c.Layers {
		out[i] = l
		if seen := there.Find(l.ID); seen != nil {
			out[i].UsedMiB = seen.UsedMiB
		}
	}
	return out
}
