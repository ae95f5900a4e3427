package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

func newImporter(t *testing.T) *Importer {
	t.Helper()
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
	blobs, err := OpenBlobs(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	return &Importer{Blobs: blobs, Tool: qcow2.Tool{As: &qcow2.User{UID: 65534, GID: 65534}, MemoryMiB: 2048}, MaxVirtualMiB: 1024}
}

// qemuImg makes samples; it is the reference that we read.
func qemuImg(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("qemu-img", args...).CombinedOutput(); err != nil {
		t.Fatalf("qemu-img %v: %v: %s", args, err, out)
	}
}

// raw makes a raw disk of 8 MiB with something in it.
func raw(t *testing.T, dir string) string {
	t.Helper()
	file := filepath.Join(dir, "raw")
	data := bytes.Repeat([]byte("virga "), 100_000)
	if err := os.WriteFile(file, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(file, 8*mib); err != nil {
		t.Fatal(err)
	}
	return file
}

func sample(t *testing.T, dir, format string, options ...string) string {
	t.Helper()
	file := filepath.Join(dir, "sample-"+format)
	args := append([]string{"convert", "-f", "raw", "-O", format}, options...)
	qemuImg(t, append(args, raw(t, dir), file)...)
	return file
}

func TestEveryFormatBecomesTheSameDisk(t *testing.T) {
	for name, make := range map[string]func(dir string) string{
		"raw":   func(dir string) string { return raw(t, dir) },
		"qcow2": func(dir string) string { return sample(t, dir, "qcow2") },
		"vmdk":  func(dir string) string { return sample(t, dir, "vmdk", "-o", "subformat=streamOptimized") },
		"vhdx":  func(dir string) string { return sample(t, dir, "vhdx") },
		"vhd":   func(dir string) string { return sample(t, dir, "vpc", "-o", "force_size=on") },
		"ova":   func(dir string) string { return newOVA(t, dir, nil) },
		"vmdk/sparse": func(dir string) string {
			return sample(t, dir, "vmdk", "-o", "subformat=monolithicSparse")
		},
	} {
		t.Run(name, func(t *testing.T) {
			im, dir := newImporter(t), t.TempDir()
			file := make(dir)
			var told int
			got, err := im.Import(t.Context(), file, Options{Tell: func(p int) { told = p }})
			if err != nil {
				t.Fatal(err)
			}
			if want := strings.Split(name, "/")[0]; got.SourceFormat != want || got.Disks[0].VirtualBytes != 8*mib || got.Disks[0].Bytes == 0 || told != 100 {
				t.Errorf("result %+v, told %d", got, told)
			}
			path, _ := im.Blobs.path(got.Disks[0].Digest)
			if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o444 {
				t.Errorf("the blob is %v, %v", info, err)
			}
			qemuImg(t, "compare", "-f", "qcow2", "-F", "raw", path, raw(t, dir))
			onlyBlobs(t, im, len(got.Disks))
		})
	}
}

// onlyBlobs fails if anything but finished blobs is left.
func onlyBlobs(t *testing.T, im *Importer, want int) {
	t.Helper()
	blobs, _ := filepath.Glob(filepath.Join(im.Blobs.folder, "*.qcow2"))
	left, _ := filepath.Glob(filepath.Join(im.Blobs.folder, staging, "*"))
	if len(blobs) != want || len(left) != 0 {
		t.Errorf("left behind: %v, %v", blobs, left)
	}
}

// patched writes bytes into a file.
func patched(t *testing.T, file string, at int64, data []byte) string {
	t.Helper()
	f, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteAt(data, at); err != nil {
		t.Fatal(err)
	}
	return file
}

func cut(t *testing.T, file string, size int64) string {
	t.Helper()
	if err := os.Truncate(file, size); err != nil {
		t.Fatal(err)
	}
	return file
}

func written(t *testing.T, dir, text string) string {
	t.Helper()
	file := filepath.Join(dir, "written")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestWhatIsHostileOrDamagedIsRefusedInWords(t *testing.T) {
	be64 := func(n uint64) []byte { return binary.BigEndian.AppendUint64(nil, n) }
	le64 := func(n uint64) []byte { return binary.LittleEndian.AppendUint64(nil, n) }
	descriptor := "# Disk DescriptorFile\nversion=1\ncreateType=\"monolithicFlat\"\nRW 2048 FLAT \"/etc/shadow\" 0\n"
	for name, test := range map[string]struct {
		make func(dir string) string
		says string
	}{
		"backing file": {func(dir string) string {
			file := filepath.Join(dir, "s")
			qemuImg(t, "create", "-q", "-f", "qcow2", "-b", raw(t, dir), "-F", "raw", file)
			return file
		}, "a backing file"},
		"backing file by json": {func(dir string) string {
			file := filepath.Join(dir, "s")
			qemuImg(t, "create", "-q", "-u", "-f", "qcow2", "-b", `json:{"driver":"raw","file.filename":"/etc/shadow"}`, "-F", "raw", file, "1M")
			return file
		}, "a backing file"},
		"external data file": {func(dir string) string {
			return sample(t, dir, "qcow2", "-o", "data_file="+filepath.Join(dir, "data"))
		}, "external data file"},
		"encrypted":     {func(dir string) string { return patched(t, sample(t, dir, "qcow2"), 32, []byte{0, 0, 0, 2}) }, "encrypted"},
		"absurd size":   {func(dir string) string { return patched(t, sample(t, dir, "qcow2"), 24, be64(1<<60)) }, "at most 1024 are taken"},
		"negative size": {func(dir string) string { return patched(t, sample(t, dir, "qcow2"), 24, be64(1<<63)) }, "makes no sense"},
		"large but honest": {func(dir string) string {
			f := filepath.Join(dir, "s")
			qemuImg(t, "create", "-q", "-f", "qcow2", f, "2G")
			return f
		}, "a disk of 2048 MiB"},
		"unknown feature": {func(dir string) string { return patched(t, sample(t, dir, "qcow2"), 72, be64(1<<40)) }, "not known here"},
		"corrupt mark":    {func(dir string) string { return patched(t, sample(t, dir, "qcow2"), 72, be64(2)) }, "marked as corrupt"},
		"cut off qcow2":   {func(dir string) string { return cut(t, sample(t, dir, "qcow2"), 300_000) }, "damaged, or cut off"},
		"no size": {func(dir string) string {
			f := filepath.Join(dir, "s")
			qemuImg(t, "create", "-q", "-f", "qcow2", f, "0")
			return f
		}, "a disk of no size"},
		"qcow 1":    {func(dir string) string { return sample(t, dir, "qcow") }, "qcow disk of version 1"},
		"Parallels": {func(dir string) string { return sample(t, dir, "parallels") }, "a Parallels disk"},
		"VDI":       {func(dir string) string { return sample(t, dir, "vdi") }, "VirtualBox"},
		"LUKS":      {func(dir string) string { return written(t, dir, "LUKS\xba\xbe"+strings.Repeat("\x00", 1018)) }, "encrypted"},
		"DMG": {func(dir string) string {
			return written(t, dir, strings.Repeat("x", 1024)+"koly"+strings.Repeat("\x00", 508))
		}, "Apple"},
		"Proxmox backup":   {func(dir string) string { return written(t, dir, "VMA\x00"+strings.Repeat("\x00", 1020)) }, "vma extract"},
		"WIM":              {func(dir string) string { return written(t, dir, "MSWIM\x00\x00\x00"+strings.Repeat("\x00", 1016)) }, "install it on one"},
		"program":          {func(dir string) string { return written(t, dir, "\x7fELF"+strings.Repeat("\x00", 1020)) }, "a program"},
		"very short":       {func(dir string) string { return written(t, dir, "QFI\xfb") }, "4 bytes long"},
		"web page":         {func(dir string) string { return written(t, dir, "<!DOCTYPE html>"+strings.Repeat(" ", 600)) }, "web page"},
		"gzip":             {func(dir string) string { return written(t, dir, "\x1f\x8b"+strings.Repeat("\x00", 1000)) }, "compressed by gzip and damaged"},
		"half a sector":    {func(dir string) string { return written(t, dir, strings.Repeat("x", 1000)) }, "end within a sector"},
		"vmdk description": {func(dir string) string { return written(t, dir, descriptor+strings.Repeat("\n", 600)) }, "lies in other files"},
		"vmdk no capacity": {func(dir string) string { return patched(t, sample(t, dir, "vmdk"), 12, le64(0)) }, "lies in other files"},
		"vmdk host file":   {func(dir string) string { return patched(t, sample(t, dir, "vmdk"), 512, []byte(descriptor)) }, "lies in other files"},
		"vmdk with parent": {func(dir string) string {
			return patched(t, sample(t, dir, "vmdk"), 512, []byte("# Disk DescriptorFile\nparentCID=12345678\nparentFileNameHint=\"/etc/shadow\"\n"))
		}, "a parent"},
		"vmdk cut off": {func(dir string) string { return cut(t, sample(t, dir, "vmdk"), 5000) }, "cut off"},
		"vmdk stream's end": {func(dir string) string {
			return cut(t, sample(t, dir, "vmdk", "-o", "subformat=streamOptimized"), 20_480)
		}, "damaged, or cut off"},
		"vhdx cut off":     {func(dir string) string { return cut(t, sample(t, dir, "vhdx"), 500_000) }, "damaged, or cut off"},
		"vhd differencing": {func(dir string) string { return patched(t, sample(t, dir, "vpc"), 60, []byte{0, 0, 0, 4}) }, "another disk"},
	} {
		t.Run(name, func(t *testing.T) {
			im := newImporter(t)
			file := test.make(t.TempDir())
			staged := im.Blobs.staged("x", content)
			if err := os.Rename(file, staged); err != nil {
				t.Fatal(err)
			}
			_, err := im.Import(t.Context(), staged, Options{})
			if err == nil || !strings.Contains(err.Error(), test.says) || !fault.Is(err, fault.Invalid) {
				t.Errorf("error is %v (%s)", err, fault.KindOf(err))
			}
			onlyBlobs(t, im, 0)
		})
	}
}

func TestAWrongChecksumIsRefused(t *testing.T) {
	im, dir := newImporter(t), t.TempDir()
	_, err := im.Import(t.Context(), raw(t, dir), Options{Checksum: "sha256:" + strings.Repeat("0", 64)})
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "cut off or changed") {
		t.Errorf("error is %v", err)
	}
	data, _ := os.ReadFile(raw(t, dir))
	d := sha256.Sum256(data)
	if _, err := im.Import(t.Context(), raw(t, dir), Options{Checksum: "sha256:" + hex.EncodeToString(d[:])}); err != nil {
		t.Error(err)
	}
}

func TestADiskThatCannotFitIsRefusedWithNumbersBeforeAnythingIsWritten(t *testing.T) {
	to := filepath.Join(t.TempDir(), "to")
	err := enough(to, 1<<60)
	if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "this needs 1099511627776") {
		t.Errorf("error is %v", err)
	}
}

const description = `<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1">
<References><File ovf:href="%s" ovf:id="file1"/></References>
<DiskSection><Info/><Disk ovf:capacity="8" ovf:diskId="empty"/><Disk ovf:capacity="8" ovf:diskId="disk1" ovf:fileRef="file1"/></DiskSection></Envelope>`

// newOVA makes an OVA; change may change its entries before they are packed.
func newOVA(t *testing.T, dir string, change func(*[]tar.Header, map[string]string)) string {
	t.Helper()
	data, err := os.ReadFile(sample(t, dir, "vmdk", "-o", "subformat=streamOptimized"))
	if err != nil {
		t.Fatal(err)
	}
	texts := map[string]string{"vm.ovf": fmt.Sprintf(description, "disk.vmdk"), "disk.vmdk": string(data)}
	mf := ""
	for _, name := range []string{"vm.ovf", "disk.vmdk"} {
		mf += fmt.Sprintf("SHA256(%s)= %x\n", name, sha256.Sum256([]byte(texts[name])))
	}
	texts["vm.mf"] = mf
	headers := []tar.Header{{Name: "vm.ovf", Format: tar.FormatUSTAR}, {Name: "vm.mf"}, {Name: "disk.vmdk"}}
	if change != nil {
		change(&headers, texts)
	}
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, h := range headers {
		h.Mode, h.Format = 0o644, tar.FormatUSTAR
		if h.Typeflag == 0 {
			h.Size = int64(len(texts[h.Name]))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(texts[h.Name])[:h.Size]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "sample.ova")
	if err := os.WriteFile(file, out.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

func TestAnOVAThatLeadsElsewhereIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*[]tar.Header, map[string]string)
		says   string
	}{
		"a path upwards": {func(h *[]tar.Header, texts map[string]string) {
			*h = append(*h, tar.Header{Name: "../../etc/cron.d/x"})
		}, "leads elsewhere"},
		"an absolute path": {func(h *[]tar.Header, texts map[string]string) { *h = append(*h, tar.Header{Name: "/etc/x"}) }, "leads elsewhere"},
		"a link": {func(h *[]tar.Header, texts map[string]string) {
			*h = append(*h, tar.Header{Name: "link", Typeflag: tar.TypeSymlink, Linkname: "/etc/shadow"})
		}, "no plain file"},
		"a name twice": {func(h *[]tar.Header, texts map[string]string) { *h = append(*h, tar.Header{Name: "disk.vmdk"}) }, "twice"},
		"a changed disk": {func(h *[]tar.Header, texts map[string]string) {
			texts["disk.vmdk"] += "x"
		}, "not what its manifest says"},
		"a changed description": {func(h *[]tar.Header, texts map[string]string) { texts["vm.ovf"] += " " }, "not what its manifest says"},
		"a disk that is not there": {func(h *[]tar.Header, texts map[string]string) {
			texts["vm.ovf"], texts["vm.mf"] = fmt.Sprintf(description, "/etc/shadow"), ""
		}, "which is not in it"},
		"no description": {func(h *[]tar.Header, texts map[string]string) { *h = (*h)[1:] }, "without an OVF description"},
		"a disk that points at a host file": {func(h *[]tar.Header, texts map[string]string) {
			texts["vm.mf"] = ""
			texts["disk.vmdk"] = "# Disk DescriptorFile\ncreateType=\"monolithicFlat\"\nRW 1 FLAT \"/etc/shadow\"\n" + strings.Repeat(" ", 600)
		}, "lies in other files"},
	} {
		t.Run(name, func(t *testing.T) {
			im := newImporter(t)
			staged := im.Blobs.staged("x", content)
			if err := os.Rename(newOVA(t, t.TempDir(), test.change), staged); err != nil {
				t.Fatal(err)
			}
			_, err := im.Import(t.Context(), staged, Options{})
			if err == nil || !strings.Contains(err.Error(), test.says) || !fault.Is(err, fault.Invalid) {
				t.Errorf("error is %v", err)
			}
			onlyBlobs(t, im, 0)
		})
	}
}
