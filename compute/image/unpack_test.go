package image

import (
	"bytes"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/ulikunitz/xz"

	"github.com/virga-cloud/virga/engine/fault"
)

// packedBytes compresses by our libraries; bzip2 has no writer there.
func packedBytes(t *testing.T, by string, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser
	var err error
	switch by {
	case "gzip":
		return []byte(zipped(string(data)))
	case "xz":
		w, err = xz.NewWriter(&out)
	case "zstd":
		w, err = zstd.NewWriter(&out)
	case "lz4":
		w = lz4.NewWriter(&out)
	case "bzip2":
		c := exec.Command("bzip2", "-c")
		c.Stdin, c.Stdout = bytes.NewReader(data), &out
		if err := c.Run(); err != nil {
			t.Skip("bzip2 is not installed")
		}
		return out.Bytes()
	}
	if err == nil {
		_, err = w.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestCompressedImagesAreUnpackedByWhatIsInThem(t *testing.T) {
	for _, by := range []string{"gzip", "bzip2", "xz", "zstd", "lz4"} {
		t.Run(by, func(t *testing.T) {
			dir := t.TempDir()
			for _, file := range []string{raw(t, dir), sample(t, dir, "qcow2")} {
				im := newImporter(t)
				small := packedBytes(t, by, []byte(mustRead(t, file)))
				got, err := im.Import(t.Context(), written(t, t.TempDir(), string(small)), Options{})
				if err != nil {
					t.Fatal(err)
				}
				path, _ := im.Blobs.path(got.Disks[0].Digest)
				qemuImg(t, "compare", "-f", "qcow2", "-F", "raw", path, raw(t, t.TempDir()))
				onlyBlobs(t, im, 1)
				for name, wrong := range map[string][]byte{"cut off": small[:len(small)-len(small)/3], "changed": append(append(bytes.Clone(small[:len(small)/2]), 0xff, 0, 0xff, 0, 0xff, 0, 0xff, 0), small[len(small)/2+8:]...), "twice": packedBytes(t, by, small)} {
					if got := wordsOf(t, im, written(t, t.TempDir(), string(wrong))); !strings.Contains(got, "damaged") && !strings.Contains(got, "compressed twice") && !strings.Contains(got, "no disk image") {
						t.Errorf("%s: %s", name, got)
					}
				}
				onlyBlobs(t, im, 1)
			}
		})
	}
}

func TestSeveralStreamsOneAfterTheOtherAreOneContent(t *testing.T) {
	for _, by := range []string{"gzip", "bzip2", "xz", "zstd", "lz4"} {
		t.Run(by, func(t *testing.T) {
			im := &Importer{}
			both := append(packedBytes(t, by, []byte("one ")), packedBytes(t, by, []byte("two"))...)
			to := filepath.Join(t.TempDir(), "to")
			if err := im.unpack(t.Context(), written(t, t.TempDir(), string(both)), to, by); err != nil || mustRead(t, to) != "one two" {
				t.Errorf("%v, %q", err, mustRead(t, to))
			}
		})
	}
}

func TestBombIsRefusedAndTakesNoRoom(t *testing.T) {
	im := &Importer{MaxVirtualMiB: 64}
	zeros := make([]byte, 200*mib)
	to := filepath.Join(t.TempDir(), "to")
	err := im.unpack(t.Context(), written(t, t.TempDir(), string(packedBytes(t, "zstd", zeros))), to, "zstd")
	if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "more than 64 MiB") {
		t.Errorf("error is %v", err)
	}
	var s syscall.Stat_t
	if err := syscall.Stat(to, &s); err != nil || s.Blocks*512 > mib {
		t.Errorf("zeros take %d bytes (%v)", s.Blocks*512, err)
	}
}

func TestXZThatWantsALargeDictionaryIsRefused(t *testing.T) {
	small := packedBytes(t, "xz", []byte("x"))
	if n, ok := xzDictionary(small); !ok || n != 8*mib {
		t.Errorf("the dictionary is %d, %v", n, ok)
	}
	at := bytes.Index(small[:24], []byte{0x21, 1})
	small[at+2] = 40 // 4 GiB
	if _, err := openXZ(bytes.NewReader(small)); !fault.Is(err, fault.Invalid) {
		t.Errorf("error is %v", err)
	}
}

func TestSparseFilesHoldTheSameBytes(t *testing.T) {
	data := make([]byte, 300_001)
	copy(data[100_000:], "something")
	data[len(data)-1] = 1
	for _, part := range []int{len(data), 200_000, 65536, 65537, 1, 0} {
		to := filepath.Join(t.TempDir(), "to")
		n, err := writeSparse(to, bytes.NewReader(data[:part]))
		if got := mustRead(t, to); err != nil || n != int64(part) || got != string(data[:part]) {
			t.Errorf("%d bytes: %d, %v", part, n, err)
		}
	}
	if _, err := writeSparse(filepath.Join(t.TempDir(), "to"), io.MultiReader(bytes.NewReader(data), &failing{})); err != io.ErrUnexpectedEOF {
		t.Errorf("cut off: %v", err)
	}
}

type failing struct{}

func (*failing) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
