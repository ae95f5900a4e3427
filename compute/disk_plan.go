package compute

import (
	"fmt"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage"
)

// plannedDisk is a disk of a new VM: as it was asked for, and what it starts from.
type plannedDisk struct {
	Disk
	base *storage.Base
}

// planDisks puts the disks of a new VM in order: first those of the image, each in the size of the next
// new disk that was asked for or else its own, then the rest as it was asked for. Nothing of either is
// left out. What has no name gets one.
func planDisks(asked []Disk, image *Image, model string) ([]plannedDisk, error) {
	rest := slices.Clone(asked)
	var out []plannedDisk
	for i, base := range imageBases(image) {
		p := plannedDisk{Disk: Disk{Model: model, IOProfile: DefaultIO}, base: base}
		if at := slices.IndexFunc(rest, func(d Disk) bool { return d.VolumeID == "" }); at >= 0 {
			p.Disk = rest[at]
			rest = slices.Delete(rest, at, at+1)
		}
		if p.SizeMiB == 0 {
			p.SizeMiB = base.VirtualMiB
		}
		if p.SizeMiB < base.VirtualMiB {
			return nil, fault.New(fault.Invalid, "disk %d has %d MiB, disk %d of image %s needs at least %d", i, p.SizeMiB, i, image.Name, base.VirtualMiB)
		}
		out = append(out, p)
	}
	for _, d := range rest {
		if d.VolumeID == "" && d.SizeMiB == 0 {
			return nil, sizeless(slices.Index(asked, d))
		}
		out = append(out, plannedDisk{Disk: d})
	}
	if len(out) > MaxDisks {
		return nil, fault.New(fault.Invalid, "%d disks, with those of the image, are more than the %d that fit", len(out), MaxDisks)
	}
	taken := map[string]bool{}
	for _, p := range out {
		taken[p.Name] = true
	}
	for i := range out {
		if out[i].Name == "" {
			out[i].Name = nextName("disk", taken)
		}
	}
	return out, nil
}

// sizeless refuses an empty disk of no size.
func sizeless(at int) error {
	return fault.Fields("a new disk", []fault.Detail{{Field: fmt.Sprintf("spec.disks[%d].sizeMiB", at), Message: "how large? an empty disk needs a size, for example 10240"}})
}

// imageBases are what the disks of an image start from, in order.
func imageBases(i *Image) []*storage.Base {
	if i == nil {
		return nil
	}
	out := []*storage.Base{{Digest: i.Status.Digest, VirtualMiB: i.Status.VirtualMiB}}
	for _, d := range i.Status.DataDisks {
		out = append(out, &storage.Base{Digest: d.Content, VirtualMiB: d.VirtualMiB})
	}
	return out
}
