package storage

import (
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// AttachmentSpec lets one instance use a volume.
type AttachmentSpec struct {
	// VolumeID is the disk.
	VolumeID resource.ID `json:"volumeID"`
	// Workload is who uses it: a VM. InstanceID is which run of it.
	Workload   resource.Ref `json:"workload"`
	InstanceID resource.ID  `json:"instanceID"`
	// HostID is where.
	HostID resource.ID `json:"hostID"`
	// Epoch is the owner's; the volume is opened for writing only with the highest.
	Epoch int64 `json:"epoch"`
	// UID is the user that QEMU runs as and that must be able to read and write.
	UID int64 `json:"uid,omitempty"`
}

// The phases of an attachment.
const (
	AttachmentWaiting = "waiting"
	AttachmentReady   = "ready"
	AttachmentClosed  = "closed"
)

// SourceType is a way in which QEMU reaches a disk.
type SourceType string

// FileSource is a file on the host.
const FileSource SourceType = "file"

// Source is what a QEMU process opens for a disk, and says itself what it is.
type Source struct {
	// Type is the way to it: file.
	Type SourceType `json:"type" enum:"file"`
	// Path is the file, on that host.
	Path string `json:"path,omitempty"`
	// Format is how the disk lies in there: qcow2.
	Format string `json:"format" enum:"qcow2,raw"`
	// Layer is the layer of the volume that it is; empty: content that the volume starts from.
	Layer string `json:"layer,omitempty"`
}

// InFile is the source of a disk that lies in a file.
func InFile(path, format string) Source { return Source{Type: FileSource, Path: path, Format: format} }

// AttachmentStatus is what the agent did.
type AttachmentStatus struct {
	resource.Observed
	// Phase is waiting, ready or closed.
	Phase string `json:"phase,omitempty" enum:"waiting,ready,closed"`
	// Source is what QEMU opens on that host, and writes to.
	Source Source `json:"source,omitzero"`
	// Backing is what that builds on, the nearest first; all of it is only read.
	Backing []Source `json:"backing,omitempty"`
	// HighestEpoch is a higher epoch than its own with which the volume was opened; 0: none was.
	HighestEpoch int64 `json:"highestEpoch,omitempty"`
}

// Attachment lets one instance on one host use a volume.
type Attachment = resource.Record[AttachmentSpec, AttachmentStatus]

// Attachments is the kind.
var Attachments = resource.Define("attachment", "attachments", resource.Options[AttachmentSpec, AttachmentStatus]{
	Doc: "The use of a volume by one instance on one host.", Scope: resource.InProject, Reach: resource.NamedHost,
	Guards: map[string]resource.Sight{"spec.hostID": resource.Operator, "spec.uid": resource.Operator, "status.source": resource.Operator, "status.backing": resource.Operator},
	Refs: func(a *Attachment) []resource.Ref {
		return []resource.Ref{
			a.Spec.Workload, {Kind: "instance", Project: a.Project, ID: a.Spec.InstanceID}, host.Ref(a.Spec.HostID),
		}
	},
	Needs: func(a *Attachment) []resource.Need {
		return []resource.Need{{Ref: resource.Ref{Kind: "volume", Project: a.Project, ID: a.Spec.VolumeID}, Tie: resource.Following}}
	},
})
