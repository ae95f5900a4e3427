package folder_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/drivertest"
	"github.com/virga-cloud/virga/storage/onhost/folder"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

func TestAFolderThatIsLeftHoldsOnlyWhatOthersPutThere(t *testing.T) {
	path, d := t.TempDir(), folder.New(qcow2.Tool{})
	found, err := d.Scan(t.Context(), path, true)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"volumes", "images", ".partial", "theirs"} {
		if err := os.Mkdir(filepath.Join(path, name), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := d.Leave(t.Context(), onhost.Place{Path: path, Identity: found.Identity}); err != nil {
		t.Fatal(err)
	}
	left, _ := os.ReadDir(path)
	if len(left) != 1 || left[0].Name() != "theirs" {
		t.Errorf("left: %v", left)
	}
}

func TestTheFolderDriverIsADriver(t *testing.T) {
	if _, err := exec.LookPath("qemu-img"); err != nil {
		t.Skip("qemu-img is not installed")
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := (qcow2.Tool{}).Create(t.Context(), image, 16<<20, nil); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(image)
	if err != nil {
		t.Fatal(err)
	}
	drivertest.Run(t, func(t *testing.T) drivertest.Subject {
		return drivertest.Subject{One: folder.New(qcow2.Tool{}), Two: folder.New(qcow2.Tool{}),
			Path: t.TempDir(), Bare: t.TempDir(), Image: data}
	})
}

// one is the chain of a volume without snapshots.
var one = storage.Chain{Layers: []storage.Layer{{ID: "a0"}}, Active: "a0"}

func place(t *testing.T, d *folder.Driver) onhost.Place {
	t.Helper()
	path, err := os.MkdirTemp("", "virga-folder-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(path) })
	found, err := d.Scan(t.Context(), path, true)
	if err != nil {
		t.Fatal(err)
	}
	return onhost.Place{Path: path, Identity: found.Identity}
}

func TestTidyRemovesWhatTheDeadHaveHalfMadeAndNothingElse(t *testing.T) {
	d := folder.New(qcow2.Tool{})
	at := place(t, d)
	half := filepath.Join(at.Path, ".partial")
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range []string{"image-1", "image-living", "image-young", "volume-1/disk.qcow2", "volume-1/lock", "volume-bare/disk.qcow2", "volume-living/lock", "theirs"} {
		path := filepath.Join(half, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o600)); err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(name, "living") || strings.HasSuffix(name, "living/lock") { // somebody makes it
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
				t.Fatal(err)
			}
		}
		if name != "image-young" {
			if err := os.Chtimes(filepath.Join(half, strings.Split(name, "/")[0]), old, old); err != nil {
				t.Fatal(err)
			}
		}
	}
	removed, err := d.Tidy(t.Context(), at)
	if err != nil || removed != 3 {
		t.Errorf("removed %d, %v", removed, err)
	}
	var left []string
	entries, _ := os.ReadDir(half)
	for _, e := range entries {
		left = append(left, e.Name())
	}
	if got := strings.Join(left, " "); got != "image-living image-young theirs volume-living" {
		t.Errorf("left: %s", got)
	}
	if _, err := d.Tidy(t.Context(), onhost.Place{Path: at.Path, Identity: "other"}); !fault.Is(err, fault.Unavailable) {
		t.Errorf("in a place that is another one: %v", err)
	}
}

func TestAFullDiskLeavesNothingHalfMade(t *testing.T) {
	script := filepath.Join(t.TempDir(), "qemu-img")
	text := "#!/bin/sh\nfor last; do :; done\necho half > \"$9\" 2>/dev/null\necho 'qemu-img: x: No space left on device' >&2\nexit 1\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
	d := folder.New(qcow2.Tool{Binary: script})
	at := place(t, d)
	_, err := d.EnsureVolume(t.Context(), at, onhost.Volume{Chain: one, ID: resource.NewID(), SizeMiB: 16})
	if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "no space is left") {
		t.Fatalf("error is %v", err)
	}
	items, err := d.List(t.Context(), at)
	if err != nil || len(items) != 0 {
		t.Fatalf("left behind: %v, %v", items, err)
	}
}

func TestAVolumeBelongsToTheUserWhoOpensIt(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may give files away")
	}
	d := folder.New(qcow2.Tool{})
	at := place(t, d)
	id := resource.NewID()
	if _, err := d.EnsureVolume(t.Context(), at, onhost.Volume{Chain: one, ID: id, SizeMiB: 16}); err != nil {
		t.Fatal(err)
	}
	owner := onhost.Owner{Layer: one.Active, VolumeID: id, Epoch: 1, UID: 54321}
	if _, _, err := d.Open(t.Context(), at, owner); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "chmod o+x "+at.Path) {
		t.Fatalf("a closed folder: %v", err)
	}
	if err := os.Chmod(at.Path, 0o711); err != nil {
		t.Fatal(err)
	}
	o, _, err := d.Open(t.Context(), at, owner)
	if err != nil {
		t.Fatal(err)
	}
	info, _ := os.Stat(o.Path)
	if info.Sys().(*syscall.Stat_t).Uid != 54321 || info.Mode().Perm() != 0o600 {
		t.Fatalf("the file is %v of user %d", info.Mode(), info.Sys().(*syscall.Stat_t).Uid)
	}
}

func TestADamagedMarkerIsNotReplaced(t *testing.T) {
	d := folder.New(qcow2.Tool{})
	path := t.TempDir()
	if err := os.WriteFile(filepath.Join(path, "virga-datastore.json"), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Scan(t.Context(), path, true); !fault.Is(err, fault.Precondition) {
		t.Fatalf("error is %v", err)
	}
}
