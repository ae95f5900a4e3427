package compute

import (
	"slices"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
)

// SourceType is where an image comes from.
type SourceType string

// The sources.
const (
	Upload SourceType = "upload" // the content is sent to the API
	URL    SourceType = "url"    // the content is fetched
	Build  SourceType = "build"  // the content is built from packages
)

// What the URL of an image may reach.
const (
	ReachPublic  = "public"
	ReachPrivate = "private"
)

// ImageSource says where an image comes from.
type ImageSource struct {
	// Type is upload, url or build.
	Type SourceType `json:"type" enum:"upload,url,build"`
	// URL is fetched, by http or https.
	URL string `json:"url,omitempty"`
	// Reach says what the URL may reach: the public internet, or private networks and the cloud's own hosts too, which only an operator may say.
	Reach string `json:"reach,omitempty" enum:"public,private"`
	// Recipe is what is built: "tiny" or "debian/12".
	Recipe string `json:"recipe,omitempty"`
	// Checksum is what the content must have: sha256, sha384 or sha512 as publishers write it (with or without the word, a line of SHA256SUMS), or the http or https URL of such a list.
	Checksum string `json:"checksum,omitempty"`
}

// The visibilities of an image.
const (
	ToProject = "project" // its own project only
	ToShared  = "shared"  // and the projects that it is shared with
	ToCloud   = "cloud"   // every project
)

// ImageSpec is the desired state of an image.
type ImageSpec struct {
	// Description is for people.
	Description string `json:"description,omitempty"`
	// Source is where it comes from.
	Source ImageSource `json:"source"`
	// Visibility says who may use it: its own project, the projects of sharedWith too, or every project of the cloud.
	Visibility string `json:"visibility" enum:"project,shared,cloud"`
	// SharedWith are the projects that may use a shared image too, by name or id; they are kept by id.
	SharedWith []resource.ID `json:"sharedWith,omitempty" ref:"project"`
	// MinMemoryMiB is the least memory that its guests need.
	MinMemoryMiB int64 `json:"minMemoryMiB,omitempty"`
}

// The phases of an image.
const (
	ImageWaiting   = "waiting"   // for its content to be sent
	ImageImporting = "importing" // being fetched, built, checked, converted
	ImageReady     = "ready"
	ImageFailed    = "failed"
)

// ImageDisk is a further disk of an image.
type ImageDisk struct {
	// Name is what it was called in the archive that it came in.
	Name string `json:"name,omitempty"`
	// Content is the digest of the stored content.
	Content string `json:"content"`
	// SizeMiB is the size of the stored file, VirtualMiB that of the disk, in MiB.
	SizeMiB    int64 `json:"sizeMiB"`
	VirtualMiB int64 `json:"virtualMiB"`
}

// ImageStatus is what became of it.
type ImageStatus struct {
	resource.Observed
	// Phase is waiting, importing, ready or failed.
	Phase string `json:"phase,omitempty" enum:"waiting,importing,ready,failed"`
	// SourceFormat is the format in which it came: qcow2, raw, vmdk, vhdx, ova.
	SourceFormat string `json:"sourceFormat,omitempty"`
	// Digest names the stored content, a qcow2 without a backing file.
	Digest string `json:"digest,omitempty"`
	// SizeMiB is the size of the stored file, VirtualMiB that of the disk, in MiB.
	SizeMiB    int64 `json:"sizeMiB"`
	VirtualMiB int64 `json:"virtualMiB"`
	// ServerID is the host whose server keeps the content; the other servers pass on who asks for it.
	ServerID resource.ID `json:"serverID,omitempty"`
	// DataDisks are further disks that came with it, in their order after the one that boots; a VM made of the image has them all.
	DataDisks []ImageDisk `json:"dataDisks,omitempty"`
	// LeftOut are files of an OVA that its description names and that are no disk (a CD, settings of a firmware): they were left out.
	LeftOut []string `json:"leftOut,omitempty"`
	// OperationID is the import that works on it.
	OperationID resource.ID `json:"operationID,omitempty"`
}

// Has says whether content belongs to the image.
func (t *ImageStatus) Has(digest string) bool {
	return t.Digest == digest || slices.ContainsFunc(t.DataDisks, func(d ImageDisk) bool { return d.Content == digest })
}

// Image is what a VM's disk starts from.
type Image = resource.Record[ImageSpec, ImageStatus]

// Images is the kind.
var Images = resource.Define("image", "images", resource.Options[ImageSpec, ImageStatus]{
	Doc: "What a VM's disk starts from.", Scope: resource.InProject,
	// What a borrower does not see: where the content came from (an address may carry a key), and who
	// else borrows.
	Guards: map[string]resource.Sight{"spec.source.url": resource.Reader, "spec.sharedWith": resource.Reader,
		"status.operationID": resource.Reader, "status.serverID": resource.Operator},
	Counts: map[string]func(*Image) int64{"images": resource.One[ImageSpec, ImageStatus], storage.CountDiskMiB: func(i *Image) int64 {
		size := i.Status.SizeMiB
		for _, d := range i.Status.DataDisks {
			size += d.SizeMiB
		}
		return size
	}},
	Needs: func(i *Image) (out []resource.Need) {
		for _, id := range i.Spec.SharedWith { // one that goes leaves it as it is
			out = append(out, resource.Need{Ref: resource.Ref{Kind: "project", ID: id}, Tie: resource.Following})
		}
		return out
	},
	Refs: func(i *Image) []resource.Ref {
		return []resource.Ref{{Kind: "operation", Project: i.Project, ID: i.Status.OperationID}}
	},
})
