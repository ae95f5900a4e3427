package image

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"encoding/xml"
	"errors"
	"hash"
	"io"
	"os"
	"path"
	"regexp"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// An OVA is a tar archive: a description (OVF) first, perhaps a manifest of digests, and disks.
const (
	ovaEntries = 64
	ovaText    = 4 << 20
)

// envelope is the part of an OVF description that is needed: which file is the first disk.
type envelope struct {
	Files []struct {
		ID   string `xml:"id,attr"`
		Href string `xml:"href,attr"`
	} `xml:"References>File"`
	Disks []struct {
		ID      string `xml:"diskId,attr"`
		FileRef string `xml:"fileRef,attr"`
	} `xml:"DiskSection>Disk"`
}

// archive is what was found in an OVA.
type archive struct {
	ovf      []byte
	manifest string
	entries  map[string]*tar.Header
}

// unpackOVA writes the boot disk of an OVA to a file. The archive's names are only compared,
// never used as paths.
func unpackOVA(ctx context.Context, file, to string) error {
	a, err := readArchive(ctx, file)
	if err != nil {
		return err
	}
	disk, err := a.bootDisk()
	if err != nil {
		return err
	}
	want, err := a.digests()
	if err != nil {
		return err
	}
	return extract(ctx, file, disk, to, want)
}

// readArchive reads an archive's list and its texts.
func readArchive(ctx context.Context, file string) (*archive, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fault.New(fault.Internal, "open what came: %w", err)
	}
	defer f.Close()
	a := &archive{entries: map[string]*tar.Header{}}
	for r := tar.NewReader(bufio.NewReaderSize(&interruptible{ctx, f}, 1<<20)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, broken(err)
		}
		if err := a.add(r, h); err != nil {
			return nil, err
		}
	}
	if a.ovf == nil {
		return nil, fault.New(fault.Invalid, "what came is an archive without an OVF description; it is no OVA")
	}
	return a, nil
}

func broken(err error) error {
	if fault.Is(err, fault.Unavailable) {
		return err
	}
	return fault.New(fault.Invalid, "what came is an archive that is cut off or damaged: %w", err)
}

func (a *archive) add(r io.Reader, h *tar.Header) error {
	name := path.Clean(strings.TrimPrefix(h.Name, "./"))
	switch {
	case h.Typeflag == tar.TypeDir:
		return nil
	case h.Typeflag != tar.TypeReg:
		return fault.New(fault.Invalid, "what came is an archive with %q, which is no plain file; an OVA has none", short(h.Name))
	case name != path.Base(name) || name == ".." || strings.ContainsAny(name, "\\\x00"):
		return fault.New(fault.Invalid, "what came is an archive with the name %q, which leads elsewhere; an OVA is flat", short(h.Name))
	case a.entries[name] != nil:
		return fault.New(fault.Invalid, "what came is an archive that has %q twice", short(name))
	case len(a.entries) >= ovaEntries:
		return fault.New(fault.Invalid, "what came is an archive of more than %d files; an OVA has few", ovaEntries)
	}
	a.entries[name] = h
	text := strings.HasSuffix(name, ".ovf") || strings.HasSuffix(name, ".mf")
	if !text {
		return nil
	}
	if h.Size > ovaText {
		return fault.New(fault.Invalid, "what came is an OVA whose %q is larger than %d bytes", short(name), ovaText)
	}
	data, err := io.ReadAll(r)
	if err != nil {
		return broken(err)
	}
	switch {
	case strings.HasSuffix(name, ".mf"):
		a.manifest = string(data)
	case a.ovf == nil:
		a.ovf = data
	}
	return nil
}

// bootDisk names the file of the first disk.
func (a *archive) bootDisk() (string, error) {
	var e envelope
	d := xml.NewDecoder(bytes.NewReader(a.ovf))
	d.Strict = true
	if err := d.Decode(&e); err != nil {
		return "", fault.New(fault.Invalid, "what came is an OVA with a damaged description: %w", err)
	}
	for _, disk := range e.Disks {
		if disk.FileRef == "" {
			continue // an empty disk
		}
		for _, f := range e.Files {
			if f.ID != disk.FileRef {
				continue
			}
			if a.entries[f.Href] == nil {
				return "", fault.New(fault.Invalid, "what came is an OVA whose description names disk file %q, which is not in it", short(f.Href))
			}
			return f.Href, nil
		}
	}
	return "", fault.New(fault.Invalid, "what came is an OVA whose description names no disk with content")
}

var manifestLine = regexp.MustCompile(`^(SHA1|SHA256|SHA512)\s*\((.+)\)\s*=\s*([0-9a-fA-F]+)$`)

// digest is what a manifest says of a file.
type digest struct {
	new func() hash.Hash
	hex string
}

// digests reads the manifest, and holds the description to it.
func (a *archive) digests() (map[string]digest, error) {
	out := map[string]digest{}
	for line := range strings.Lines(a.manifest) {
		m := manifestLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		out[m[2]] = digest{map[string]func() hash.Hash{"SHA1": sha1.New, "SHA256": sha256.New, "SHA512": sha512.New}[m[1]], strings.ToLower(m[3])}
	}
	for name := range a.entries {
		if want, listed := out[name]; listed && strings.HasSuffix(name, ".ovf") {
			h := want.new()
			h.Write(a.ovf)
			if hex.EncodeToString(h.Sum(nil)) != want.hex {
				return nil, fault.New(fault.Invalid, "what came is an OVA whose %q is not what its manifest says", short(name))
			}
		}
	}
	return out, nil
}

func extract(ctx context.Context, file, name, to string, want map[string]digest) error {
	f, err := os.Open(file)
	if err != nil {
		return fault.New(fault.Internal, "open what came: %w", err)
	}
	defer f.Close()
	for r := tar.NewReader(bufio.NewReaderSize(&interruptible{ctx, f}, 1<<20)); ; {
		h, err := r.Next()
		if err != nil {
			return broken(err)
		}
		if path.Clean(strings.TrimPrefix(h.Name, "./")) != name {
			continue
		}
		if err := enough(to, h.Size); err != nil {
			return err
		}
		out, err := os.Create(to)
		if err != nil {
			return fault.New(fault.Internal, "unpack the disk: %w", err)
		}
		defer out.Close()
		check, listed := want[name]
		var sink io.Writer = out
		var sum hash.Hash
		if listed {
			sum = check.new()
			sink = io.MultiWriter(out, sum)
		}
		if _, err := io.Copy(sink, r); err != nil {
			return noSpace(broken(err))
		}
		if listed && hex.EncodeToString(sum.Sum(nil)) != check.hex {
			return fault.New(fault.Invalid, "what came is an OVA whose disk %q is not what its manifest says", short(name))
		}
		return out.Close()
	}
}
