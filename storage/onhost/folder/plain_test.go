package folder_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/drivertest"
	"github.com/virga-cloud/virga/storage/onhost/folder"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

func plain() onhost.Driver { return folder.Drivers(qcow2.Tool{})[storage.PlainFolder] }

func plainPlace(t *testing.T, path string) onhost.Place {
	t.Helper()
	found, err := plain().Scan(t.Context(), path, true)
	if err != nil {
		t.Fatal(err)
	}
	return onhost.Place{Path: path, Identity: found.Identity}
}

func TestThePlainDriverIsADriver(t *testing.T) {
	drivertest.Run(t, func(t *testing.T) drivertest.Subject {
		return drivertest.Subject{One: plain(), Two: plain(), Path: t.TempDir(), Bare: t.TempDir()}
	})
	if got := onhost.AbilitiesOf(plain()); !slices.Equal(got, []storage.Ability{storage.CanGrow}) {
		t.Errorf("its volumes can %v", got)
	}
}

// space is what a file has, and what it takes, in bytes.
func space(t *testing.T, file string) (size, taken int64) {
	t.Helper()
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size(), info.Sys().(*syscall.Stat_t).Blocks * 512
}

func TestAPlainVolumeHasItsSpaceSetAside(t *testing.T) {
	at := plainPlace(t, t.TempDir())
	v := onhost.Volume{ID: resource.NewID(), SizeMiB: 4, Chain: one}
	file := filepath.Join(at.Path, "volumes", string(v.ID), "a0.raw")
	is := func(what string, u onhost.Usage, err error, want int64) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		if size, taken := space(t, file); size != want<<20 || taken < size || u.SizeMiB != want || u.UsedMiB < want {
			t.Errorf("%s: %d bytes that take %d, told as %+v", what, size, taken, u)
		}
	}
	u, err := plain().EnsureVolume(t.Context(), at, v)
	is("made", u, err, 4)
	if err := os.WriteFile(file, []byte("what the guest wrote"), 0o600); err != nil { // and its end is cut off
		t.Fatal(err)
	}
	if err := os.Truncate(file, 8<<20); err != nil { // as a QEMU process makes it larger
		t.Fatal(err)
	}
	u, err = plain().EnsureVolume(t.Context(), at, v)
	is("grown by another", u, err, 8)
	v.SizeMiB = 12
	u, err = plain().(onhost.Grower).Grow(t.Context(), at, v)
	is("grown", u, err, 12)
	data, err := os.ReadFile(file)
	if err != nil || !strings.HasPrefix(string(data), "what the guest wrote\x00") {
		t.Errorf("it holds %.30q, %v", data, err)
	}
	source, below, err := plain().Open(t.Context(), at, onhost.Owner{VolumeID: v.ID, Epoch: 1, UID: int64(os.Geteuid()), Layer: "a0"})
	if err != nil || source != (storage.Source{Type: storage.FileSource, Path: file, Format: "raw", Layer: "a0"}) || len(below) != 0 {
		t.Errorf("opened %+v on %v, %v", source, below, err)
	}
}

func TestAPlainVolumeRefusesWhatItCannot(t *testing.T) {
	at := plainPlace(t, t.TempDir())
	for want, v := range map[string]onhost.Volume{
		"cannot start from an image": {Chain: one, Base: &storage.Base{Digest: "sha256:" + strings.Repeat("0", 64)}},
		"keeps no snapshots":         {Chain: one.On("a0", "b1")},
	} {
		v.ID, v.SizeMiB = resource.NewID(), 4
		if _, err := plain().EnsureVolume(t.Context(), at, v); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want that it %s", err, want)
		}
	}
}

func TestAPlainVolumeIsNoLinkToAnotherFile(t *testing.T) {
	at := plainPlace(t, t.TempDir())
	v := onhost.Volume{ID: resource.NewID(), SizeMiB: 4, Chain: one}
	secret, file := filepath.Join(t.TempDir(), "secret"), filepath.Join(at.Path, "volumes", string(v.ID), "a0.raw")
	if err := os.WriteFile(secret, []byte("theirs"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o711); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(secret, file); err != nil {
		t.Fatal(err)
	}
	if _, err := plain().EnsureVolume(t.Context(), at, v); err == nil {
		t.Error("a link was looked after")
	}
	if _, _, err := plain().Open(t.Context(), at, onhost.Owner{VolumeID: v.ID, Epoch: 1, UID: int64(os.Geteuid()), Layer: "a0"}); err == nil {
		t.Error("a link was opened")
	}
	if data, _ := os.ReadFile(secret); string(data) != "theirs" {
		t.Errorf("the file behind the link is %q", data)
	}
}

func TestAPlainVolumeForWhichThereIsNoSpace(t *testing.T) {
	path := t.TempDir()
	if err := syscall.Mount("small", path, "tmpfs", 0, "size=16m"); err != nil {
		t.Skipf("a small file system needs root: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(path, 0) })
	at := plainPlace(t, path)
	fits, not := onhost.Volume{ID: resource.NewID(), SizeMiB: 8, Chain: one}, onhost.Volume{ID: resource.NewID(), SizeMiB: 12, Chain: one}
	if _, err := plain().EnsureVolume(t.Context(), at, fits); err != nil {
		t.Fatal(err)
	}
	if _, err := plain().EnsureVolume(t.Context(), at, not); !fault.Is(err, fault.Exhausted) {
		t.Errorf("one too many: %v", err)
	}
	fits.SizeMiB = 32
	if _, err := plain().(onhost.Grower).Grow(t.Context(), at, fits); !fault.Is(err, fault.Exhausted) {
		t.Errorf("grown too large: %v", err)
	}
	fits.SizeMiB = 8
	if u, err := plain().EnsureVolume(t.Context(), at, fits); err != nil || u.SizeMiB != 8 {
		t.Errorf("afterwards it has %+v, %v", u, err)
	}
	items, err := plain().List(t.Context(), at)
	if err != nil || len(items) != 1 || items[0].Name != string(fits.ID) {
		t.Errorf("left there: %+v, %v", items, err)
	}
}
