package image

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// An OVA is a tar archive: a description (OVF), perhaps a manifest of digests, and disks.
const (
	ovaEntries = 4096 // a disk may be cut into chunks
	ovaText    = 4 << 20
)

// entry is where the content of a file lies in an archive.
type entry struct{ at, size int64 }

// archive is what was found in an OVA. Its names are only compared, never used as paths.
type archive struct {
	file     string
	ovfName  string
	ovf      []byte
	texts    map[string]string // manifests by name
	entries  map[string]entry
	manifest map[string]digest
}

// isTar says whether a block is the head of a tar archive, of any dialect: its sum is right.
func isTar(head []byte) bool {
	if len(head) < 512 || head[0] == 0 {
		return false
	}
	var want int64
	if _, err := fmt.Sscanf(strings.Trim(string(head[148:156]), " \x00"), "%o", &want); err != nil {
		return false
	}
	var unsigned, signed int64
	for i, b := range head[:512] {
		if i >= 148 && i < 156 {
			b = ' '
		}
		unsigned, signed = unsigned+int64(b), signed+int64(int8(b))
	}
	return want == unsigned || want == signed
}

// unpackOVA writes each disk of an OVA to a file of its own, to.0, to.1 and so on in their order. It
// tells what else the description names.
func (im *Importer) unpackOVA(ctx context.Context, file, to string) (disks []ovfDisk, leftOut []string, err error) {
	a, err := readArchive(ctx, file)
	if err != nil {
		return nil, nil, err
	}
	if disks, leftOut, err = readOVF(a.ovf); err != nil {
		return nil, nil, err
	}
	if err := a.readManifest(); err != nil {
		return nil, nil, err
	}
	f, err := os.Open(file)
	if err != nil {
		return nil, nil, fault.New(fault.Internal, "open what came: %w", err)
	}
	defer f.Close()
	for i, d := range disks {
		if err := im.extract(ctx, a, f, d, fmt.Sprintf("%s.%d", to, i)); err != nil {
			return nil, nil, err
		}
	}
	return disks, leftOut, nil
}

// readArchive reads an archive's list and its texts.
func readArchive(ctx context.Context, file string) (*archive, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fault.New(fault.Internal, "open what came: %w", err)
	}
	defer f.Close()
	a := &archive{file: file, entries: map[string]entry{}, texts: map[string]string{}}
	for r := tar.NewReader(f); ; { // it seeks over contents, so that where it is is where they lie
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return nil, broken(err)
		}
		at, err := f.Seek(0, io.SeekCurrent)
		if err != nil {
			return nil, fault.New(fault.Internal, "read what came: %w", err)
		}
		if err := a.add(r, h, at); err != nil {
			return nil, err
		}
	}
	if a.ovf == nil {
		return nil, fault.New(fault.Invalid, "what came is an archive without an OVF description; it is no OVA")
	}
	return a, nil
}

func broken(err error) error {
	if fault.Is(err, fault.Unavailable) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fault.New(fault.Invalid, "what came is an archive that is cut off or damaged: %w", err)
}

func (a *archive) add(r io.Reader, h *tar.Header, at int64) error {
	name := path.Clean(strings.TrimPrefix(h.Name, "./"))
	sparse := h.Typeflag == tar.TypeGNUSparse
	for key := range h.PAXRecords {
		sparse = sparse || strings.HasPrefix(key, "GNU.sparse.")
	}
	_, twice := a.entries[name]
	switch {
	case h.Typeflag == tar.TypeDir || h.Typeflag == tar.TypeXGlobalHeader:
		return nil
	case sparse:
		return fault.New(fault.Invalid, "what came is an archive in which %q is kept as sparse; make it anew without --sparse", short(h.Name))
	case h.Typeflag != tar.TypeReg:
		return fault.New(fault.Invalid, "what came is an archive with %q, which is no plain file; an OVA has none", short(h.Name))
	case path.IsAbs(name) || name == ".." || strings.HasPrefix(name, "../") || strings.ContainsAny(name, "\\\x00"):
		return fault.New(fault.Invalid, "what came is an archive with the name %q, which leads elsewhere", short(h.Name))
	case twice:
		return fault.New(fault.Invalid, "what came is an archive that has %q twice", short(name))
	case len(a.entries) >= ovaEntries:
		return fault.New(fault.Invalid, "what came is an archive of more than %d files; an OVA has few", ovaEntries)
	}
	a.entries[name] = entry{at, h.Size}
	kind := strings.ToLower(path.Ext(name))
	if kind != ".ovf" && kind != ".mf" {
		return nil
	}
	if h.Size > ovaText {
		return fault.New(fault.Invalid, "what came is an OVA whose %q is larger than %d bytes", short(name), ovaText)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return broken(err)
	}
	if kind == ".mf" {
		a.texts[name] = string(data)
		return nil
	}
	if a.ovf != nil {
		return fault.New(fault.Invalid, "what came is an archive with several descriptions (%q and %q); an OVA has one", short(a.ovfName), short(name))
	}
	a.ovf, a.ovfName = data, name
	return nil
}

// find gives the entry that a reference names.
func (a *archive) find(href string) (string, bool) {
	for _, name := range spellings(path.Dir(a.ovfName), href) {
		if _, there := a.entries[name]; there {
			return name, true
		}
	}
	return "", false
}

// parts are the entries that a disk's content lies in, in order.
func (a *archive) parts(d ovfDisk) ([]string, error) {
	if d.ChunkSize <= 0 {
		name, there := a.find(d.Href)
		if !there {
			return nil, fault.New(fault.Invalid, "what came is an OVA whose description names disk file %q, which is not in it", short(d.Href))
		}
		return []string{name}, nil
	}
	var out []string
	for i := 0; ; i++ {
		name, there := a.find(fmt.Sprintf("%s.%09d", d.Href, i))
		if !there {
			break
		}
		out = append(out, name)
	}
	left := slices.Collect(func(yield func(string) bool) { // chunks after a gap
		for name := range a.entries {
			if strings.HasPrefix(name, path.Join(path.Dir(a.ovfName), d.Href)+".") && !slices.Contains(out, name) && !yield(name) {
				return
			}
		}
	})
	if len(out) == 0 || len(left) > 0 {
		return nil, fault.New(fault.Invalid, "what came is an OVA whose disk %q is cut into chunks, of which number %d is not in it", short(d.Href), len(out))
	}
	for i, name := range out {
		if size := a.entries[name].size; size > d.ChunkSize || i < len(out)-1 && size != d.ChunkSize {
			return nil, fault.New(fault.Invalid, "what came is an OVA whose chunk %q has %d bytes; its description says %d", short(name), size, d.ChunkSize)
		}
	}
	return out, nil
}

// extract writes one disk to a file: its chunks one after the other, unpacked, and compared with the manifest.
func (im *Importer) extract(ctx context.Context, a *archive, f *os.File, d ovfDisk, to string) error {
	if d.Href == "" {
		if err := im.limit(d.Capacity); err != nil {
			return err
		}
		out, err := os.Create(to)
		if err == nil {
			err = errors.Join(out.Truncate((d.Capacity+511)/512*512), out.Close())
		}
		return noSpace(err)
	}
	names, err := a.parts(d)
	if err != nil {
		return err
	}
	var all []io.Reader
	var size int64
	var checks []*checked
	for _, name := range names {
		e := a.entries[name]
		size += e.size
		c := a.checked(name, io.NewSectionReader(f, e.at, e.size))
		all, checks = append(all, c), append(checks, c)
	}
	whole := &interruptible{ctx, io.MultiReader(all...)}
	if err := enough(to, size); err != nil {
		return err
	}
	if d.Compression != "" {
		err = im.unpackStream(whole, size, to, d.Compression)
	} else {
		_, err = writeSparse(to, whole)
	}
	if err == nil {
		_, err = io.Copy(io.Discard, whole) // what a compressed stream has behind its end is digested too
	}
	if err != nil {
		return noSpace(err)
	}
	for _, c := range checks {
		if err := c.verdict(); err != nil {
			return err
		}
	}
	return nil
}
