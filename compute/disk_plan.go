package compute

import (
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage"
)

// plannedDisk is a disk of a new VM: as it was asked for, and what it starts from.
type plannedDisk struct {
	DiskInput
	base *storage.Base
}

// planDisks puts the disks of a new VM in order: first those of the image, each in the size of the next
// new disk that was asked for or else its own, then the rest as it was asked for. Nothing of either is
// left out.
func planDisks(asked []DiskInput, image *Image) ([]plannedDisk, error) {
	rest := slices.Clone(asked)
	var out []plannedDisk
	for i, base := range imageBases(image) {
		p := plannedDisk{base: base}
		if at := slices.IndexFunc(rest, func(d DiskInput) bool { return d.Volume == "" }); at >= 0 {
			p.DiskInput = rest[at]
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
		if d.Volume == "" && d.SizeMiB == 0 {
			continue // the one that is made when nothing was said, and the image has taken its place
		}
		out = append(out, plannedDisk{DiskInput: d})
	}
	if len(out) > MaxDisks {
		return nil, fault.New(fault.Invalid, "%d disks, with those of the image, are more than the %d that fit", len(out), MaxDisks)
	}
	return out, nil
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
