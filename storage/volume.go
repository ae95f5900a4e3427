package storage

import (
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// Base is the immutable content that a volume starts from.
type Base struct {
	// Digest is "sha256:" and 64 hex digits of the file in its stored form (qcow2).
	Digest string `json:"digest"`
	// VirtualMiB is the size of the disk that the file describes, rounded up to MiB.
	VirtualMiB int64 `json:"virtualMiB"`
}

// VolumeSpec is the desired state of a volume.
type VolumeSpec struct {
	// SizeMiB is the size that the guest sees.
	SizeMiB int64 `json:"sizeMiB"`
	// Base is the content it starts from; none: empty.
	Base *Base `json:"base,omitempty"`
	// DatastoreID is where it must live; a request may name it instead. Empty: where it is first needed.
	DatastoreID resource.ID `json:"datastoreID,omitempty" ref:"datastore"`
	// Revert is the snapshot whose content it was last told to have again.
	Revert *Revert `json:"revert,omitempty"`
}

// Revert asks for the content of a snapshot.
type Revert struct {
	// SnapshotID is the snapshot of the volume.
	SnapshotID resource.ID `json:"snapshotID" ref:"volumesnapshot"`
	// Token is another one each time that it is asked for.
	Token string `json:"token"`
}

// The phases of a volume.
const (
	VolumeUnbound  = "unbound"  // no datastore chosen yet
	VolumeCreating = "creating" // its allocation is being made
	VolumeReady    = "ready"
	VolumeFailed   = "failed"
	VolumeLost     = "lost" // it lay on a host that was removed as dead
	VolumeDeleting = "deleting"
)

// VolumeStatus is what is known of it.
type VolumeStatus struct {
	resource.Observed
	// Phase is unbound, creating, ready, failed, lost or deleting.
	Phase string `json:"phase,omitempty" enum:"unbound,creating,ready,failed,lost,deleting"`
	// DatastoreID is where it lives.
	DatastoreID resource.ID `json:"datastoreID,omitempty"`
	// AllocationID is its space there.
	AllocationID resource.ID `json:"allocationID,omitempty"`
	// SizeMiB is the size that it has; less than specified while it is being grown.
	SizeMiB int64 `json:"sizeMiB,omitempty"`
	// UsedMiB is the space that it takes on the datastore.
	UsedMiB int64 `json:"usedMiB"`
	// Layers are the steps of its content, parents first; ActiveLayer is the one that is written to, all others
	// are committed and never change.
	Layers      []Layer `json:"layers,omitempty"`
	ActiveLayer string  `json:"activeLayer,omitempty"`
	// RevertToken is the request to go back to a snapshot that was last carried out.
	RevertToken string `json:"revertToken,omitempty"`
}

// Volume is a virtual disk.
type Volume = resource.Record[VolumeSpec, VolumeStatus]

// CountDiskMiB is the total of what volumes and images take of disks, in MiB.
const CountDiskMiB = "diskMiB"

// Volumes is the kind.
var Volumes = resource.Define("volume", "volumes", resource.Options[VolumeSpec, VolumeStatus]{
	Doc: "A virtual disk.", Scope: resource.InProject,
	Counts: map[string]func(*Volume) int64{
		"volumes": resource.One[VolumeSpec, VolumeStatus], CountDiskMiB: func(v *Volume) int64 { return v.Spec.SizeMiB },
	},
	Refs: func(v *Volume) []resource.Ref {
		return []resource.Ref{{Kind: "datastore", ID: v.Status.DatastoreID}}
	},
	Needs: func(v *Volume) []resource.Need {
		return []resource.Need{{Ref: resource.Ref{Kind: "datastore", ID: v.Spec.DatastoreID}}}
	},
})

// AllocationSpec is a volume's space on a datastore.
type AllocationSpec struct {
	// VolumeID is whose space it is.
	VolumeID resource.ID `json:"volumeID"`
	// DatastoreID and BackendID are where it lies.
	DatastoreID resource.ID `json:"datastoreID"`
	BackendID   resource.ID `json:"backendID"`
	// OwnerHostID is the host whose agent makes, grows and removes it.
	OwnerHostID resource.ID `json:"ownerHostID"`
	// Epoch rises whenever another host becomes the one that looks after it; what lies on the storage
	// obeys only the highest.
	Epoch int64 `json:"epoch"`
	// HostIDs are the hosts that use it. While there is one QEMU there grows it, not the owner host.
	HostIDs []resource.ID `json:"hostIDs,omitempty"`
	// SizeMiB is the size that the guest sees.
	SizeMiB int64 `json:"sizeMiB"`
	// Base is the content it is backed by.
	Base *Base `json:"base,omitempty"`
	// Layers are the steps of its content that there shall be, parents first; ActiveLayer is the one that is
	// written to.
	Layers      []Layer `json:"layers"`
	ActiveLayer string  `json:"activeLayer"`
}

// Chain is what its layers shall be.
func (s *AllocationSpec) Chain() Chain { return Chain{Layers: s.Layers, Active: s.ActiveLayer} }

// The phases of an allocation and of an image copy.
const (
	Pending  = "pending"
	Fetching = "fetching"
	Ready    = "ready"
	Failed   = "failed"
)

// AllocationStatus is what the owner host did.
type AllocationStatus struct {
	resource.Observed
	// Phase is pending, ready or failed.
	Phase string `json:"phase,omitempty" enum:"pending,ready,failed"`
	// SizeMiB is the size that it has.
	SizeMiB int64 `json:"sizeMiB"`
	// UsedMiB is the space that it takes.
	UsedMiB int64 `json:"usedMiB"`
	// Layers are those that lie there, each with the one that it builds on there.
	Layers []Layer `json:"layers,omitempty"`
	// HighestEpoch is a higher epoch than its own that the host found on the storage, after records
	// were restored from a backup; 0: none.
	HighestEpoch int64 `json:"highestEpoch,omitempty"`
}

// Allocation is the space of one volume on one datastore.
type Allocation = resource.Record[AllocationSpec, AllocationStatus]

// Allocations is the kind.
var Allocations = resource.Define("allocation", "allocations", resource.Options[AllocationSpec, AllocationStatus]{
	Doc: "The space of one volume on one datastore.", Scope: resource.InProject, Reach: resource.NamedHost,
	Guards: map[string]resource.Sight{"spec.ownerHostID": resource.Operator, "spec.hostIDs": resource.Operator},
	Refs: func(a *Allocation) []resource.Ref {
		out := []resource.Ref{{Kind: "datastore", ID: a.Spec.DatastoreID}, host.Ref(a.Spec.OwnerHostID)} // what explains it comes first
		for _, id := range a.Spec.HostIDs {
			out = append(out, host.Ref(id))
		}
		return out
	},
	Needs: func(a *Allocation) []resource.Need {
		return []resource.Need{
			{Ref: resource.Ref{Kind: "volume", Project: a.Project, ID: a.Spec.VolumeID}, Tie: resource.Following},
			{Ref: resource.Ref{Kind: "datastore", ID: a.Spec.DatastoreID}},
		}
	},
})

// ImageCopySpec is a file that must be on a datastore.
type ImageCopySpec struct {
	// Digest names the content.
	Digest string `json:"digest"`
	// DatastoreID and BackendID are where it must be.
	DatastoreID resource.ID `json:"datastoreID"`
	BackendID   resource.ID `json:"backendID"`
	// OwnerHostID is the host whose agent fetches it.
	OwnerHostID resource.ID `json:"ownerHostID"`
	// Epoch rises whenever another host becomes the one that looks after it; what lies on the storage
	// obeys only the highest.
	Epoch int64 `json:"epoch"`
}

// ImageCopyStatus is how far that is.
type ImageCopyStatus struct {
	resource.Observed
	// Phase is pending, fetching, ready or failed.
	Phase string `json:"phase,omitempty" enum:"pending,fetching,ready,failed"`
	// SizeMiB is the space that it takes.
	SizeMiB int64 `json:"sizeMiB"`
	// HighestEpoch is a higher epoch than its own that the host found on the storage, after records
	// were restored from a backup; 0: none.
	HighestEpoch int64 `json:"highestEpoch,omitempty"`
}

// ImageCopy is an immutable, content-addressed file on a datastore.
type ImageCopy = resource.Record[ImageCopySpec, ImageCopyStatus]

// ImageCopies is the kind.
var ImageCopies = resource.Define("imagecopy", "imagecopies", resource.Options[ImageCopySpec, ImageCopyStatus]{
	Doc: "An image's content on a datastore, shared by all volumes made from it.", Scope: resource.InCloud, Reach: resource.NamedHost,
	Refs: func(c *ImageCopy) []resource.Ref {
		return []resource.Ref{{Kind: "datastore", ID: c.Spec.DatastoreID}, host.Ref(c.Spec.OwnerHostID)}
	},
	Needs: func(c *ImageCopy) []resource.Need {
		return []resource.Need{{Ref: resource.Ref{Kind: "datastore", ID: c.Spec.DatastoreID}, Tie: resource.Following}}
	},
})
