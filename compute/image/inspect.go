package image

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

const ova = "ova"

// others are what people send by mistake, by how it begins, and what to do about it.
var others = []struct{ begins, is string }{
	{"\x1f\x8b", "compressed twice; unpack it once"}, {"BZh", "compressed twice; unpack it once"}, {"\xfd7zXZ\x00", "compressed twice; unpack it once"},
	{"\x28\xb5\x2f\xfd", "compressed twice; unpack it once"}, {"\x04\x22\x4d\x18", "compressed twice; unpack it once"},
	{"\x5d\x00\x00", "compressed by lzma of before xz; compress it by xz"},
	{"PK\x03\x04", "a zip archive; unpack it first"},
	{"7z\xbc\xaf", "a 7-zip archive; unpack it first"},
	{"Rar!", "a RAR archive; unpack it first"},
	{"\x89LZO", "compressed by lzop; unpack it, or compress it by zstd"}, {"LRZI", "compressed by lrzip; unpack it, or compress it by zstd"},
	{"VMA\x00", "a Proxmox backup (VMA); extract its disks first: vma extract FILE FOLDER"},
	{"QFI\xfb\x00\x00\x00\x01", "a qcow disk of version 1; convert it to qcow2 first"},
	{"WithoutFreeSpace", "a Parallels disk; convert it to qcow2 first"}, {"WithouFreSpacExt", "a Parallels disk; convert it to qcow2 first"},
	{"Bochs Virtual HD Image", "a Bochs disk; convert it to qcow2 first"},
	{"MSWIM\x00\x00\x00", "a Windows image (WIM), which holds files and is no disk; install it on one first"},
	{"EVF\x09\x0d\x0a\xff\x00", "an EnCase disk; convert it to raw first"},
	{"<<< ", "a VirtualBox disk (VDI); convert it to qcow2 first"},
	{"QED\x00", "a disk of the abandoned format QED; convert it to qcow2 first"},
	{"LUKS\xba\xbe", "encrypted; decrypt it first"},
	{"COWD", "an old VMware disk (COWD); export it as streamOptimized"},
	{"# Disk DescriptorFile", "only the description of a VMware disk, whose content lies in other files; export it as streamOptimized or OVA"},
	{"{", "a text, not a disk"}, {"json:", "a text, not a disk"},
	{"#!", "a program, not a disk"}, {"\x7fELF", "a program, not a disk"}, {"%PDF", "a text, not a disk"}, {"!<arch>", "a package, not a disk"}, {"\xed\xab\xee\xdb", "a package, not a disk"},
	{"<", "a text (perhaps a web page that says why there is no image), not a disk"},
}

// detect says what a file is by what is in it, never by its name.
func detect(r io.ReaderAt, size int64) (format string, err error) {
	head := make([]byte, 512)
	if n, err := r.ReadAt(head, 0); n < len(head) {
		if err != nil && err != io.EOF {
			return "", fault.New(fault.Internal, "read what came: %w", err)
		}
		return "", fault.New(fault.Invalid, "what came is %d bytes long; that is no disk image", size)
	}
	starts := func(s string) bool { return bytes.HasPrefix(head, []byte(s)) }
	switch {
	case starts("QFI\xfb") && !starts("QFI\xfb\x00\x00\x00\x01"):
		return qcow2.QCOW2, nil
	case starts("KDMV"):
		return qcow2.VMDK, nil
	case starts("vhdxfile"):
		return qcow2.VHDX, nil
	case starts("conectix"):
		return qcow2.VPC, nil
	case isTar(head):
		return ova, nil
	}
	for _, o := range others {
		if starts(o.begins) {
			return "", fault.New(fault.Invalid, "what came is %s", o.is)
		}
	}
	foot := make([]byte, 512)
	if _, err := r.ReadAt(foot, size-512); err == nil && bytes.HasPrefix(foot, []byte("conectix")) {
		return qcow2.VPC, nil
	}
	if bytes.HasPrefix(foot, []byte("koly")) {
		return "", fault.New(fault.Invalid, "what came is an Apple disk image (DMG); convert it to raw first")
	}
	if size%512 != 0 {
		return "", fault.New(fault.Invalid, "what came is in no format that is known, and as a raw disk it would end within a sector (%d bytes)", size)
	}
	return qcow2.Raw, nil
}

// judge reads the head of a disk by our own code and refuses what no program of ours shall open.
// It returns the size of the disk in bytes.
func judge(r io.ReaderAt, size int64, format string) (int64, error) {
	switch format {
	case qcow2.QCOW2:
		return judgeQCOW2(r)
	case qcow2.VMDK:
		return judgeVMDK(r, size)
	case qcow2.VPC:
		return judgeVHD(r, size)
	case qcow2.VHDX:
		return 0, nil // qemu-img reads the size; the format points at other files only where it is refused
	}
	return size, nil
}

func judgeQCOW2(r io.ReaderAt) (int64, error) {
	h, err := qcow2.ReadHead(r)
	if err != nil {
		return 0, fault.New(fault.Invalid, "what came is a damaged qcow2 file: %w", err)
	}
	switch {
	case h.HasBacking:
		return 0, fault.New(fault.Invalid, "what came builds on another file (a backing file); make it standalone first: qemu-img convert -O qcow2 FILE STANDALONE.qcow2")
	case h.HasDataFile:
		return 0, fault.New(fault.Invalid, "what came keeps its content in another file (an external data file); make it standalone first: qemu-img convert -O qcow2 FILE STANDALONE.qcow2")
	case h.Encrypted:
		return 0, fault.New(fault.Invalid, "what came is encrypted; decrypt it first")
	case h.Corrupt():
		return 0, fault.New(fault.Invalid, "what came is marked as corrupt; repair it first: qemu-img check -r all")
	case h.Unknown() != 0:
		return 0, fault.New(fault.Invalid, "what came needs features of qcow2 that are not known here (bits %#x)", h.Unknown())
	}
	return h.Size, nil
}

// The head of a sparse VMware disk, in 512 byte sectors.
const (
	vmdkEnd    = ^uint64(0)
	vmdkNoBase = "ffffffff"
)

func judgeVMDK(r io.ReaderAt, size int64) (int64, error) {
	head := make([]byte, 512)
	if _, err := r.ReadAt(head, 0); err != nil {
		return 0, fault.New(fault.Invalid, "what came is a VMware disk that is cut off")
	}
	le := binary.LittleEndian
	capacity, at, length, grains := le.Uint64(head[12:]), le.Uint64(head[28:]), le.Uint64(head[36:]), le.Uint64(head[56:])
	if capacity == 0 || capacity > 1<<50 {
		return 0, fault.New(fault.Invalid, "what came is a VMware disk whose content lies in other files; export it as streamOptimized or OVA")
	}
	if grains == vmdkEnd { // the real head is at the end; it must not tell another story
		foot := make([]byte, 512)
		if _, err := r.ReadAt(foot, size-1024); err != nil || !bytes.HasPrefix(foot, []byte("KDMV")) {
			return 0, fault.New(fault.Invalid, "what came is a VMware disk that is cut off: its end is missing")
		}
		if !bytes.Equal(foot[12:44], head[12:44]) {
			return 0, fault.New(fault.Invalid, "what came is a VMware disk whose end contradicts its beginning")
		}
	}
	if length == 0 || length > 128 || at == 0 || at > 1<<20 {
		return 0, fault.New(fault.Invalid, "what came is a VMware disk without its description; export it as streamOptimized or OVA")
	}
	text := make([]byte, length*512)
	if n, _ := r.ReadAt(text, int64(at)*512); n < len(text) {
		return 0, fault.New(fault.Invalid, "what came is a VMware disk that is cut off")
	}
	return int64(capacity) * 512, judgeDescription(string(bytes.TrimRight(text, "\x00")))
}

// judgeDescription reads the text within a VMware disk: one extent, this file itself, no parent.
func judgeDescription(text string) error {
	extents, kind := 0, ""
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		key, value, _ := strings.Cut(line, "=")
		value = strings.ToLower(strings.Trim(strings.TrimSpace(value), `"`))
		switch key = strings.ToLower(strings.TrimSpace(key)); {
		case key == "createtype":
			kind = value
		case key == "parentcid" && value != vmdkNoBase, key == "parentfilenamehint":
			return fault.New(fault.Invalid, "what came builds on another disk (a parent); make it standalone first")
		case strings.HasPrefix(line, "RW ") || strings.HasPrefix(line, "RDONLY ") || strings.HasPrefix(line, "NOACCESS "):
			extents++
			if words := strings.Fields(line); len(words) < 3 || words[2] != "SPARSE" {
				return fault.New(fault.Invalid, "what came is a VMware disk whose content lies in other files (%q); export it as streamOptimized or OVA", short(line))
			}
		}
	}
	if kind != "monolithicsparse" && kind != "streamoptimized" {
		return fault.New(fault.Invalid, "what came is a VMware disk of type %q; only monolithicSparse and streamOptimized are whole in one file", short(kind))
	}
	if extents != 1 {
		return fault.New(fault.Invalid, "what came is a VMware disk in %d pieces; export it as streamOptimized or OVA", extents)
	}
	return nil
}

// judgeVHD reads the foot of a VHD, and its copy at the beginning: either may be believed by a reader.
func judgeVHD(r io.ReaderAt, size int64) (int64, error) {
	var most int64
	copies := 0
	for _, at := range []int64{0, size - 512} {
		foot := make([]byte, 512)
		if _, err := r.ReadAt(foot, at); err != nil || !bytes.HasPrefix(foot, []byte("conectix")) {
			continue
		}
		copies++
		if kind := binary.BigEndian.Uint32(foot[60:]); kind != 2 && kind != 3 {
			return 0, fault.New(fault.Invalid, "what came is a VHD that builds on another disk; merge it first")
		}
		most = max(most, int64(binary.BigEndian.Uint64(foot[48:])))
	}
	if copies == 0 {
		return 0, fault.New(fault.Invalid, "what came is a VHD that is cut off: its end is missing")
	}
	return most, nil
}

// short makes a stranger's text fit to be shown.
func short(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r == '�' {
			return '?'
		}
		return r
	}, s)
	if len(s) > 80 {
		s = s[:80] + "..."
	}
	return s
}

func openSized(file string) (*os.File, int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, 0, fault.New(fault.Internal, "open what came: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, 0, fault.New(fault.Internal, "open what came: %w", err)
	}
	return f, info.Size(), nil
}
