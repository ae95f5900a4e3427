package storage

import (
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// VolumeSnapshotSpec is whose content is kept.
type VolumeSnapshotSpec struct {
	// VolumeID is the volume; a request may name it instead.
	VolumeID resource.ID `json:"volumeID" ref:"volume"`
}

// The phases of a snapshot of a volume.
const (
	SnapshotPending = "pending" // the volume does not write to another layer yet
	SnapshotReady   = "ready"
)

// VolumeSnapshotStatus is where that content is.
type VolumeSnapshotStatus struct {
	resource.Observed
	// Phase is pending or ready.
	Phase string `json:"phase,omitempty" enum:"pending,ready"`
	// LayerID is the layer of the volume that keeps it.
	LayerID string `json:"layerID,omitempty"`
	// SizeMiB is the size that the volume had.
	SizeMiB int64 `json:"sizeMiB,omitempty"`
	// TakenAt is when it was asked for.
	TakenAt time.Time `json:"takenAt,omitzero"`
}

// VolumeSnapshot keeps what a volume held at one moment.
type VolumeSnapshot = resource.Record[VolumeSnapshotSpec, VolumeSnapshotStatus]

// VolumeSnapshots is the kind.
var VolumeSnapshots = resource.Define("volumesnapshot", "volumesnapshots", resource.Options[VolumeSnapshotSpec, VolumeSnapshotStatus]{
	Doc: "What a volume held at one moment.", Scope: resource.InProject,
	Counts: map[string]func(*VolumeSnapshot) int64{"volumesnapshots": resource.One[VolumeSnapshotSpec, VolumeSnapshotStatus]},
	Needs: func(s *VolumeSnapshot) []resource.Need {
		return []resource.Need{{Ref: resource.Ref{Kind: "volume", Project: s.Project, ID: s.Spec.VolumeID}}}
	},
})

// Reverting reports whether a volume is to go back to a snapshot and has not yet. Nobody opens it meanwhile.
func Reverting(v *Volume) bool {
	return v.Spec.Revert != nil && v.Spec.Revert.Token != v.Status.RevertToken
}

// Changing says what the layers of a volume wait for, so that nobody opens it meanwhile; empty: nothing.
func Changing(snap *store.Snapshot, v *Volume) string {
	if Reverting(v) {
		return "has gone back to its snapshot"
	}
	for _, s := range store.Referring(snap, VolumeSnapshots, v.ID) {
		if s.Status.LayerID == "" && s.Deleting == nil {
			return "has been kept as snapshot " + s.Name
		}
	}
	return ""
}
