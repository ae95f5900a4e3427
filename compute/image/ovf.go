package image

import (
	"math/bits"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// envelope is the part of an OVF description that is needed: files, disks, and where each disk is plugged in.
type envelope struct {
	Files []struct {
		ID          string `xml:"id,attr"`
		Href        string `xml:"href,attr"`
		Compression string `xml:"compression,attr"`
		ChunkSize   int64  `xml:"chunkSize,attr"`
		Size        int64  `xml:"size,attr"`
	} `xml:"References>File"`
	Disks []struct {
		ID        string `xml:"diskId,attr"`
		FileRef   string `xml:"fileRef,attr"`
		ParentRef string `xml:"parentRef,attr"`
		Capacity  string `xml:"capacity,attr"`
		Units     string `xml:"capacityAllocationUnits,attr"`
	} `xml:"DiskSection>Disk"`
	Systems []struct {
		Items    []item `xml:"VirtualHardwareSection>Item"`
		Storages []item `xml:"VirtualHardwareSection>StorageItem"`
	} `xml:"VirtualSystem"`
	Collection []struct{} `xml:"VirtualSystemCollection"`
}

// item is a device: a controller, or a disk at an address of one.
type item struct {
	ID       string   `xml:"InstanceID"`
	Type     string   `xml:"ResourceType"`
	Parent   string   `xml:"Parent"`
	Address  string   `xml:"Address"`
	OnParent string   `xml:"AddressOnParent"`
	Resource []string `xml:"HostResource"`
}

// The types of a device that are disks.
const (
	diskDrive   = "17"
	logicalDisk = "31"
)

// ovfDisk is one disk of a description.
type ovfDisk struct {
	Name        string
	Href        string // of its file; empty: an empty disk
	Compression string
	ChunkSize   int64
	Capacity    int64 // bytes of an empty disk
}

// readOVF lists the disks in the order in which a VM has them: the one that boots is first. Beside them
// it lists the files that are named and are no disk.
func readOVF(text []byte) (disks []ovfDisk, leftOut []string, err error) {
	var e envelope
	if err := decodeXML(text, &e); err != nil {
		return nil, nil, fault.New(fault.Invalid, "what came is an OVA with a damaged description: %w", err)
	}
	if len(e.Systems) > 1 || len(e.Collection) > 0 {
		return nil, nil, fault.New(fault.Invalid, "what came is an OVA with several VMs in it; export each by itself")
	}
	used := map[string]bool{}
	for _, at := range e.order() {
		d, err := e.disk(at)
		if err != nil {
			return nil, nil, err
		}
		disks, used[e.Disks[at].FileRef] = append(disks, d), true
	}
	if !slices.ContainsFunc(disks, func(d ovfDisk) bool { return d.Href != "" }) {
		return nil, nil, fault.New(fault.Invalid, "what came is an OVA whose description names no disk with content")
	}
	if len(disks) > MaxDisks {
		return nil, nil, fault.New(fault.Invalid, "what came is an OVA with %d disks; a VM takes at most %d", len(disks), MaxDisks)
	}
	for _, f := range e.Files {
		if !used[f.ID] && len(leftOut) < MaxDisks {
			leftOut = append(leftOut, short(f.Href))
		}
	}
	return disks, leftOut, nil
}

// MaxDisks is how many disks an image can have.
const MaxDisks = 24

// order gives the indexes of the disks by controller and address; those that no device names come last.
func (e *envelope) order() []int {
	var items []item
	for _, s := range e.Systems {
		items = append(append(items, s.Items...), s.Storages...)
	}
	controller := map[string][2]int{} // address, and place in the description
	for i, x := range items {
		controller[x.ID] = [2]int{number(x.Address), i}
	}
	drives := slices.DeleteFunc(slices.Clone(items), func(x item) bool { return x.Type != diskDrive && x.Type != logicalDisk })
	slices.SortStableFunc(drives, func(a, b item) int {
		x, y := controller[a.Parent], controller[b.Parent]
		return slices.Compare([]int{x[0], x[1], number(a.OnParent)}, []int{y[0], y[1], number(b.OnParent)})
	})
	var out []int
	add := func(i int) {
		if i >= 0 && !slices.Contains(out, i) {
			out = append(out, i)
		}
	}
	for _, d := range drives {
		for _, r := range d.Resource {
			r = strings.TrimSpace(r)
			id := r[strings.LastIndex(r, "/")+1:]
			for i, disk := range e.Disks {
				if disk.ID == id && !strings.Contains(r, "/file/") || disk.FileRef == id && strings.Contains(r, "/file/") {
					add(i)
				}
			}
		}
	}
	for _, empty := range []bool{false, true} {
		for i, d := range e.Disks {
			if (d.FileRef == "") == empty {
				add(i)
			}
		}
	}
	return out
}

func number(text string) int {
	n, err := strconv.Atoi(strings.TrimSpace(text))
	if err != nil {
		return 0
	}
	return n
}

func (e *envelope) disk(at int) (ovfDisk, error) {
	d := e.Disks[at]
	switch {
	case d.ParentRef != "":
		return ovfDisk{}, fault.New(fault.Invalid, "what came is an OVA whose disk %q builds on another; export it anew, without snapshots", short(d.ID))
	case d.FileRef == "":
		size, err := capacity(d.Capacity, d.Units)
		return ovfDisk{Name: d.ID, Capacity: size}, err
	}
	for _, f := range e.Files {
		if f.ID != d.FileRef {
			continue
		}
		if u, err := url.Parse(f.Href); err == nil && u.Scheme != "" && u.Host != "" {
			return ovfDisk{}, fault.New(fault.Invalid, "what came is an OVA whose disk lies elsewhere (%q); export it as one file", short(f.Href))
		}
		by := strings.ToLower(f.Compression)
		if by == "identity" {
			by = ""
		}
		return ovfDisk{Name: d.ID, Href: f.Href, Compression: by, ChunkSize: f.ChunkSize}, nil
	}
	return ovfDisk{}, fault.New(fault.Invalid, "what came is an OVA whose disk %q names file %q, which its description does not list", short(d.ID), short(d.FileRef))
}

// capacity reads a size as DSP0004 writes it: a number of "byte * 2^30", or of bytes.
func capacity(text, units string) (int64, error) {
	n, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64)
	shift := 0
	switch words := strings.ToLower(strings.ReplaceAll(units, " ", "")); {
	case words == "" || words == "byte":
	case strings.HasPrefix(words, "byte*2^"):
		shift, _ = strconv.Atoi(strings.TrimPrefix(words, "byte*2^"))
		if shift < 1 {
			shift = 64
		}
	case words == "kilobytes":
		shift = 10
	case words == "megabytes":
		shift = 20
	case words == "gigabytes":
		shift = 30
	default:
		shift = 64
	}
	if err != nil || n <= 0 || shift+bits.Len64(uint64(n)) > 62 {
		return 0, fault.New(fault.Invalid, "what came is an OVA with an empty disk of a size that makes no sense (%q of %q)", short(text), short(units))
	}
	return n << shift, nil
}

// spellings are the names that a reference may have in the archive: as it is written, and with what
// is escaped in a URI made plain.
func spellings(folder, href string) []string {
	out := []string{path.Join(folder, href)}
	if plain, err := url.PathUnescape(href); err == nil && plain != href {
		out = append(out, path.Join(folder, plain))
	}
	return out
}
