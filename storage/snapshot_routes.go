package storage

import (
	"context"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// createSnapshot refuses one of a volume that is written to: what it would keep is of no one moment.
func createSnapshot(_ context.Context, c *httpapi.Call, s *VolumeSnapshot) error {
	v, err := store.Need(c.Snapshot, Volumes, s.Spec.VolumeID)
	if err == nil {
		err = Unused(c.Batch, c.Snapshot, v)
	}
	return fault.Wrap(err, "create snapshot %s", s.Name)
}

// Unused says why no snapshot of a volume can be taken now; nil: one can, and the commit is held to nobody's
// opening it at the same moment. Who comes later waits until it is taken.
func Unused(b *store.Batch, snap *store.Snapshot, v *Volume) error {
	if err := Snapshottable(snap, v); err != nil {
		return err
	}
	if len(store.Referring(snap, Attachments, v.ID)) > 0 {
		return fault.New(fault.Precondition, "a VM has volume %s open; stop that VM first", v.Name)
	}
	b.InTurn(v.Ref(), snap)
	return nil
}

// Snapshottable says why no snapshot of a volume can be taken; nil: one can.
func Snapshottable(snap *store.Snapshot, v *Volume) error {
	d := store.Find(snap, Datastores, v.Status.DatastoreID)
	if v.Deleting != nil || v.Status.Phase != VolumeReady || d == nil {
		return fault.New(fault.Precondition, "volume %s is %s, and holds nothing that could be kept; try again when it is ready", v.Name, v.Status.Phase)
	}
	return Able(d, CanSnapshot)
}

func changeSnapshot(_ context.Context, _ *httpapi.Call, old *VolumeSnapshot, spec *VolumeSnapshotSpec) error {
	if *spec != old.Spec {
		return fault.New(fault.Invalid, "change snapshot %s: it stays what it is; take another one", old.Name)
	}
	return nil
}

// deleteSnapshot refuses that of a snapshot to which its volume goes back right now.
func deleteSnapshot(_ context.Context, c *httpapi.Call, s *VolumeSnapshot) error {
	if s.Owner != nil && c.Snapshot.Lookup(s.Owner.ID) != nil {
		return fault.New(fault.Precondition, "delete snapshot %s: it is a part of %s %s; delete that", s.Name, s.Owner.Kind, c.Snapshot.Lookup(s.Owner.ID).Head().Name)
	}
	v := store.Find(c.Snapshot, Volumes, s.Spec.VolumeID)
	if v == nil {
		return nil
	}
	if Reverting(v) && v.Spec.Revert.SnapshotID == s.ID {
		return fault.New(fault.Conflict, "delete snapshot %s: volume %s goes back to it; try again in a moment", s.Name, v.Name)
	}
	c.Batch.InTurn(v.Ref(), c.Snapshot) // nobody asks to go back to it meanwhile
	return nil
}

// RevertRequest asks for the content of a snapshot.
type RevertRequest struct {
	// SnapshotID is a snapshot of the volume, by its id or name.
	SnapshotID resource.ID `json:"snapshotID"`
}

func revertVolume(c *httpapi.Call, w *store.SpecWriter[VolumeSpec, VolumeStatus], v *Volume, snapshotID resource.ID) error {
	if s := store.Named(c.Snapshot, VolumeSnapshots, v.Project, string(snapshotID)); s != nil {
		snapshotID = s.ID
	}
	return RevertTo(c.Batch, c.Snapshot, w, v, snapshotID)
}

// RevertTo asks for a volume to go back to one of its snapshots.
func RevertTo(b *store.Batch, snap *store.Snapshot, w *store.SpecWriter[VolumeSpec, VolumeStatus], v *Volume, snapshotID resource.ID) error {
	if err := mayRevert(b, snap, v, snapshotID); err != nil {
		return err
	}
	w.Set(b, v, func(s *VolumeSpec) { s.Revert = &Revert{SnapshotID: snapshotID, Token: string(resource.NewID())} })
	return nil
}

// mayRevert holds the request to nobody's opening the volume at the same moment: who comes later waits until it
// has gone back.
func mayRevert(b *store.Batch, snap *store.Snapshot, v *Volume, snapshotID resource.ID) error {
	if err := Revertible(snap, v, snapshotID); err != nil {
		return fault.Wrap(err, "revert volume %s", v.Name)
	}
	b.InTurn(v.Ref(), snap)
	return nil
}

// Revertible says why a volume cannot go back to a snapshot; nil: it can.
func Revertible(snap *store.Snapshot, v *Volume, snapshotID resource.ID) error {
	s := store.Find(snap, VolumeSnapshots, snapshotID)
	switch {
	case s == nil || s.Deleting != nil || s.Spec.VolumeID != v.ID:
		return fault.New(fault.NotFound, "it has no snapshot %s", snapshotID)
	case s.Status.Phase != SnapshotReady:
		return fault.New(fault.Precondition, "its snapshot %s is not ready", s.Name)
	case Reverting(v):
		return fault.New(fault.Conflict, "it goes back to a snapshot already; try again when it has")
	case len(store.Referring(snap, Attachments, v.ID)) > 0:
		return fault.New(fault.Precondition, "a VM has it open; stop that VM first")
	}
	return nil
}
