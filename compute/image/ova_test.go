package image

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/virga-cloud/virga/engine/fault"
)

// ovfOf describes disks: "id;href;address;attributes of the file". An empty href is an empty disk of 1 MiB.
func ovfOf(disks ...string) string {
	var files, list, items string
	for i, text := range disks {
		d := append(strings.Split(text, ";"), "", "", "")
		ref := ""
		if d[1] != "" {
			files += fmt.Sprintf(`<File ovf:id="f%s" ovf:href="%s" %s/>`, d[0], d[1], d[3])
			ref = fmt.Sprintf(`ovf:fileRef="f%s"`, d[0])
		}
		list += fmt.Sprintf(`<Disk ovf:diskId="%s" %s ovf:capacity="1" ovf:capacityAllocationUnits="byte * 2^20"/>`, d[0], ref)
		if d[2] != "" {
			items += fmt.Sprintf(`<Item><rasd:AddressOnParent>%s</rasd:AddressOnParent><rasd:HostResource>ovf:/disk/%s</rasd:HostResource><rasd:InstanceID>%d</rasd:InstanceID><rasd:Parent>3</rasd:Parent><rasd:ResourceType>17</rasd:ResourceType></Item>`, d[2], d[0], 10+i)
		}
	}
	return `<?xml version="1.0"?><Envelope xmlns="http://schemas.dmtf.org/ovf/envelope/1" xmlns:ovf="http://schemas.dmtf.org/ovf/envelope/1" xmlns:rasd="http://schemas.dmtf.org/wbem/wscim/1/cim-schema/2/CIM_ResourceAllocationSettingData"><References>` +
		files + `</References><DiskSection><Info/>` + list + `</DiskSection><VirtualSystem ovf:id="m"><VirtualHardwareSection><Item><rasd:Address>0</rasd:Address><rasd:InstanceID>3</rasd:InstanceID><rasd:ResourceType>6</rasd:ResourceType></Item>` +
		items + `</VirtualHardwareSection></VirtualSystem></Envelope>`
}

// packed makes an archive of names and contents in their order.
func packed(t *testing.T, format tar.Format, files ...string) string {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for i := 0; i < len(files); i += 2 {
		h := &tar.Header{Name: files[i], Size: int64(len(files[i+1])), Mode: 0o644, Format: format}
		if format == tar.FormatPAX {
			h.PAXRecords = map[string]string{"VENDOR.note": "more"}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(files[i+1])); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return written(t, t.TempDir(), out.String())
}

// vmdkOf is a small disk that begins with a word.
func vmdkOf(t *testing.T, word string) string {
	t.Helper()
	dir := t.TempDir()
	file := written(t, dir, word)
	if err := os.Truncate(file, mib); err != nil {
		t.Fatal(err)
	}
	to := filepath.Join(dir, "disk")
	qemuImg(t, "convert", "-f", "raw", "-O", "vmdk", "-o", "subformat=streamOptimized", file, to)
	data, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func zipped(text string) string {
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, _ = w.Write([]byte(text))
	_ = w.Close()
	return out.String()
}

// wordsOf imports a file and gives the words that its disks begin with.
func wordsOf(t *testing.T, im *Importer, file string) string {
	t.Helper()
	got, err := im.Import(t.Context(), file, Options{})
	if err != nil {
		return err.Error()
	}
	var out []string
	for _, d := range got.Disks {
		path, _ := im.Blobs.path(d.Digest)
		to := filepath.Join(t.TempDir(), "raw")
		qemuImg(t, "convert", "-f", "qcow2", "-O", "raw", path, to)
		data, err := os.ReadFile(to)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, strings.TrimRight(string(data[:8]), "\x00"))
	}
	return strings.Join(out, " ")
}

func TestOVAKeepsEveryDiskInTheOrderOfItsControllers(t *testing.T) {
	sys, data := vmdkOf(t, "SYSTEM"), vmdkOf(t, "DATA")
	for want, file := range map[string]string{
		"SYSTEM DATA": packed(t, tar.FormatUSTAR, "m.ovf", ovfOf("a;sys.vmdk;0", "b;data.vmdk;1"), "sys.vmdk", sys, "data.vmdk", data),
		// The data disk is named first, and the description comes last.
		"SYSTEM DATA ": packed(t, tar.FormatGNU, "data.vmdk", data, "sys.vmdk", sys, "m.ovf", ovfOf("b;data.vmdk;1", "a;sys.vmdk;0", "c;;2")),
		"DATA SYSTEM":  packed(t, tar.FormatPAX, "x/m.ovf", ovfOf("b;data.vmdk", "a;sys.vmdk"), "x/data.vmdk", data, "x/sys.vmdk", sys),
		"SYSTEM":       packed(t, tar.FormatUSTAR, "m.ovf", ovfOf("a;my%20disk.vmdk;0"), "my disk.vmdk", sys),
		"several VMs":  packed(t, tar.FormatUSTAR, "m.ovf", strings.Replace(ovfOf("a;s;0"), "</VirtualSystem>", `</VirtualSystem><VirtualSystem ovf:id="n"/>`, 1), "s", sys),
		"elsewhere":    packed(t, tar.FormatUSTAR, "m.ovf", ovfOf("a;http://example.org/s.vmdk;0")),
		"descriptions": packed(t, tar.FormatUSTAR, "m.ovf", ovfOf("a;s;0"), "n.ovf", ovfOf("a;s;0"), "s", sys),
	} {
		if got := wordsOf(t, newImporter(t), file); got != want && !strings.Contains(got, want+";") && !(strings.HasPrefix(got, "what came") && strings.Contains(got, want)) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestOVAWithCompressedAndChunkedDisksIsRead(t *testing.T) {
	disk := vmdkOf(t, "WORD")
	half := len(disk)/2 + 7
	chunked := ovfOf(fmt.Sprintf(`a;d.vmdk;0;ovf:chunkSize="%d"`, half))
	both := zipped(disk)
	third := (len(both) + 2) / 3
	for name, c := range map[string]struct{ file, want string }{
		"gzip":       {packed(t, tar.FormatUSTAR, "m.ovf", ovfOf(`a;d.vmdk;0;ovf:compression="gzip"`), "d.vmdk", zipped(disk)), "WORD"},
		"identity":   {packed(t, tar.FormatUSTAR, "m.ovf", ovfOf(`a;d.vmdk;0;ovf:compression="identity"`), "d.vmdk", disk), "WORD"},
		"chunks":     {packed(t, tar.FormatUSTAR, "m.ovf", chunked, "d.vmdk.000000001", disk[half:], "d.vmdk.000000000", disk[:half]), "WORD"},
		"both":       {packed(t, tar.FormatUSTAR, "m.ovf", ovfOf(fmt.Sprintf(`a;d.vmdk;0;ovf:compression="gzip" ovf:chunkSize="%d"`, third)), "d.vmdk.000000000", both[:third], "d.vmdk.000000001", both[third:2*third], "d.vmdk.000000002", both[2*third:]), "WORD"},
		"a gap":      {packed(t, tar.FormatUSTAR, "m.ovf", chunked, "d.vmdk.000000001", disk[half:]), "number 0 is not in it"},
		"too short":  {packed(t, tar.FormatUSTAR, "m.ovf", chunked, "d.vmdk.000000000", disk[:half-1], "d.vmdk.000000001", disk[half-1:]), "its description says"},
		"no gzip":    {packed(t, tar.FormatUSTAR, "m.ovf", ovfOf(`a;d.vmdk;0;ovf:compression="gzip"`), "d.vmdk", disk), "damaged"},
		"no such":    {packed(t, tar.FormatUSTAR, "m.ovf", ovfOf(`a;d.vmdk;0;ovf:compression="zip"`), "d.vmdk", disk), "compressed by"},
		"whole gzip": {written(t, t.TempDir(), zipped(mustRead(t, packed(t, tar.FormatUSTAR, "m.ovf", ovfOf("a;d.vmdk;0"), "d.vmdk", disk)))), "WORD"},
	} {
		if got := wordsOf(t, newImporter(t), c.file); got != c.want && !(strings.HasPrefix(got, "what came") && strings.Contains(got, c.want)) {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func mustRead(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestOVAManifestIsReadInEveryKindOfWords(t *testing.T) {
	disk, ovf := vmdkOf(t, "WORD"), ovfOf("a;d.vmdk;0")
	right256 := func(text string) string { return fmt.Sprintf("%x", sha256.Sum256([]byte(text))) }
	for line, want := range map[string]string{
		"SHA256(d.vmdk)= " + right256(disk):                                         "WORD",
		"SHA2-256(d.vmdk)= " + right256(disk):                                       "WORD",
		"sha256 (d.vmdk) = " + strings.ToUpper(right256(disk)) + "\r":               "WORD",
		fmt.Sprintf("SHA1(d.vmdk)= %x", sha1.Sum([]byte(disk))):                     "WORD",
		fmt.Sprintf("SHA512(d.vmdk)= %x", sha512.Sum512([]byte(disk))):              "WORD",
		fmt.Sprintf("SHA2-512(d.vmdk)= %x", sha512.Sum512([]byte(disk))):            "WORD",
		fmt.Sprintf("SHA384(d.vmdk)= %x\n\n", sha512.Sum384([]byte(disk))):          "WORD",
		"SHA256(m.ovf)= " + right256(ovf):                                           "WORD",
		"SHA2-256(d.vmdk)= " + strings.Repeat("0", 64):                              "not what its manifest says",
		"SHA2-256(m.ovf)= " + strings.Repeat("0", 64):                               "not what its manifest says",
		"SHA1(d.vmdk)= " + strings.Repeat("0", 40):                                  "not what its manifest says",
		"SHA256(d.vmdk)= 00":                                                        "wrong length",
		"SHA256(d.vmdk)= " + right256(disk) + "\nSHA256(e.vmdk)= " + right256(disk): `names "e.vmdk", which is not in it`,
		"SHA3-256(d.vmdk)= " + strings.Repeat("0", 64):                              "not understood",
		"d.vmdk is fine": "not understood",
		"SHA512(d.vmdk)= " + strings.Repeat("0", 64):                          "wrong length",
		"SHA256(d.vmdk)= " + right256(disk) + "\nSHA1(d.vmdk)= " + "tampered": "not understood",
	} {
		file := packed(t, tar.FormatUSTAR, "m.ovf", ovf, "m.mf", line+"\n", "d.vmdk", disk)
		if got := wordsOf(t, newImporter(t), file); got != want && !strings.Contains(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
}

func TestOVFIsReadInTheEncodingsThatProductsWrite(t *testing.T) {
	text := strings.Replace(ovfOf("a;dísk.vmdk;0"), `version="1.0"`, `version="1.0" encoding="ENCODING"`, 1)
	as := func(encoding string) string { return strings.Replace(text, "ENCODING", encoding, 1) }
	wide := func(order binary.AppendByteOrder, mark bool) string {
		var out []byte
		if mark {
			out = order.AppendUint16(out, 0xfeff)
		}
		for _, u := range utf16.Encode([]rune(as("utf-16"))) {
			out = order.AppendUint16(out, u)
		}
		return string(out)
	}
	for name, ovf := range map[string]string{
		"UTF-8": as("UTF-8"), "with a mark": "\ufeff" + as("utf-8"), "Latin-1": strings.ReplaceAll(as("ISO-8859-1"), "í", "\xed"),
		"little": wide(binary.LittleEndian, true), "big": wide(binary.BigEndian, true), "without a mark": wide(binary.LittleEndian, false),
	} {
		disks, _, err := readOVF([]byte(ovf))
		if err != nil || len(disks) != 1 || disks[0].Href != "dísk.vmdk" {
			t.Errorf("%s: %+v, %v", name, disks, err)
		}
	}
	if _, _, err := readOVF([]byte(as("KOI8-R"))); err == nil || !strings.Contains(err.Error(), "write it in UTF-8") {
		t.Error(err)
	}
}

func TestWhatAnOVAHasBesideItsDisksIsToldAsLeftOut(t *testing.T) {
	ovf := strings.Replace(ovfOf("a;d.vmdk;0"), "</References>", `<File ovf:id="cd" ovf:href="tools.iso"/><File ovf:id="nv" ovf:href="m.nvram"/></References>`, 1)
	file := packed(t, tar.FormatUSTAR, "m.ovf", ovf, "d.vmdk", vmdkOf(t, "WORD"), "tools.iso", "cd", "m.nvram", "nv")
	e, err := newImporter(t).Examine(t.Context(), file, Options{})
	if err != nil || len(e.Disks) != 1 || strings.Join(e.LeftOut, " ") != "tools.iso m.nvram" {
		t.Errorf("%+v, %v", e, err)
	}
}

func TestEveryDialectOfTarIsKnownByItsSum(t *testing.T) {
	for _, format := range []tar.Format{tar.FormatUSTAR, tar.FormatPAX, tar.FormatGNU} {
		head := []byte(mustRead(t, packed(t, format, "m.ovf", "x")))[:512]
		if !isTar(head) {
			t.Errorf("%v is not known", format)
		}
		head[0]++
		if isTar(head) {
			t.Errorf("%v is known by a wrong sum", format)
		}
	}
	old := []byte(mustRead(t, packed(t, tar.FormatUSTAR, "m.ovf", "x")))[:512]
	clear(old[257:])
	sum := 8 * int(' ')
	for i, b := range old {
		if i < 148 || i >= 156 {
			sum += int(b)
		}
	}
	copy(old[148:], fmt.Sprintf("%06o\x00 ", sum))
	if !isTar(old) || isTar(make([]byte, 512)) {
		t.Error("an archive of before ustar is not known, or nothing is")
	}
}

func TestSizesOfEmptyDisksAreReadOrRefused(t *testing.T) {
	for _, c := range []struct {
		text, units string
		want        int64
	}{{"8", "byte * 2^30", 8 << 30}, {"512", "", 512}, {"3", "MegaBytes", 3 << 20}, {"1", "byte*2^10", 1024}, {"1", "GigaBytes", 1 << 30},
		{"0", "", 0}, {"-1", "", 0}, {"x", "", 0}, {"9", "byte * 2^62", 0}, {"9", "parsecs", 0}, {"9", "byte * 2^x", 0}, {"99999999999", "byte * 2^40", 0}} {
		got, err := capacity(c.text, c.units)
		if got != c.want || (err == nil) != (c.want > 0) || err != nil && !fault.Is(err, fault.Invalid) {
			t.Errorf("%q of %q: %d, %v", c.text, c.units, got, err)
		}
	}
}
