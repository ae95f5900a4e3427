package folder_test

import (
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/folder"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

// spy is a qemu-img that writes down by whom and how it was called.
func spy(t *testing.T) (qcow2.Tool, func() string) {
	t.Helper()
	real, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip("qemu-img is not installed")
	}
	dir, err := os.MkdirTemp("", "virga-spy-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	log, script := filepath.Join(dir, "log"), filepath.Join(dir, "qemu-img")
	text := "#!/bin/sh\necho \"$(id -u) $(wc -l < /proc/self/net/dev) $*\" >> " + log + "\nexec " + real + " \"$@\"\n"
	if os.Chmod(dir, 0o711) != nil || os.WriteFile(log, nil, 0o666) != nil || os.Chmod(log, 0o666) != nil || os.WriteFile(script, []byte(text), 0o755) != nil {
		t.Fatal("the spy cannot be made")
	}
	return qcow2.Tool{Binary: script}, func() string {
		said, err := os.ReadFile(log)
		if err != nil || os.Truncate(log, 0) != nil {
			t.Fatal(err)
		}
		return string(said)
	}
}

// volume is one that a guest's user has had open.
func volume(t *testing.T, d *folder.Driver, at onhost.Place, uid int64) (onhost.Volume, string) {
	t.Helper()
	if err := os.Chmod(at.Path, 0o711); err != nil {
		t.Fatal(err)
	}
	v := onhost.Volume{Chain: one, ID: resource.NewID(), SizeMiB: 16, Epoch: 1}
	if _, err := d.EnsureVolume(t.Context(), at, v); err != nil {
		t.Fatal(err)
	}
	o, _, err := d.Open(t.Context(), at, onhost.Owner{Layer: one.Active, VolumeID: v.ID, Epoch: 1, UID: uid})
	if err != nil {
		t.Fatal(err)
	}
	v.Made = []string{one.Active}
	return v, o.Path
}

func TestAToolRunsAsTheUserOfTheVolumesGuest(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root may give files away")
	}
	tool, said := spy(t)
	d := folder.New(tool)
	at := place(t, d)
	v, path := volume(t, d, at, 54321)
	said()
	v.SizeMiB = 32
	if u, err := d.Grow(t.Context(), at, v); err != nil || u.SizeMiB != 32 {
		t.Fatalf("%+v, %v", u, err)
	}
	log := said()
	if !strings.HasPrefix(log, "54321 ") || strings.Contains(log, path) || strings.Count(log, "\n") != 1 {
		t.Fatalf("qemu-img was run like this: %q", log)
	}
	if words := strings.Fields(log); words[1] != "3" { // two lines of head, and lo
		t.Errorf("it sees a network: %q", log)
	}
	info, err := os.Stat(path)
	if err != nil || info.Sys().(*syscall.Stat_t).Uid != 54321 {
		t.Fatalf("the file is of another user afterwards: %v", err)
	}
}

func TestAHeadThatLeadsElsewhereIsRefusedBeforeAnyToolRuns(t *testing.T) {
	tool, said := spy(t)
	d := folder.New(tool)
	at := place(t, d)
	set := func(f *os.File, at int64, v uint64) {
		b := binary.BigEndian.AppendUint64(nil, v)
		if _, err := f.WriteAt(b, at); err != nil {
			t.Fatal(err)
		}
	}
	uid := int64(os.Geteuid())
	if uid == 0 {
		uid = 54321
	}
	for name, spoil := range map[string]func(*os.File){
		"backing": func(f *os.File) {
			_, _ = f.WriteAt([]byte("/etc/shadow"), 4096)
			set(f, 8, 4096)
			set(f, 16, 11<<32|17)
		},
		"an image's": func(f *os.File) {
			p := at.Path + "/images/../../etc/shadow"
			_, _ = f.WriteAt([]byte(p), 4096)
			set(f, 8, 4096)
			set(f, 16, uint64(len(p))<<32|17)
		},
		"data file":    func(f *os.File) { set(f, 72, 4|16) },
		"the future's": func(f *os.File) { set(f, 72, 1<<60|16) },
	} {
		v, path := volume(t, d, at, uid)
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		spoil(f)
		_ = f.Close()
		said()
		v.SizeMiB = 32
		if _, err := d.Grow(t.Context(), at, v); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "restore it from a backup") {
			t.Errorf("%s: grown: %v", name, err)
		}
		if _, _, err := d.Open(t.Context(), at, onhost.Owner{Layer: one.Active, VolumeID: v.ID, Epoch: 2, UID: uid}); !fault.Is(err, fault.Precondition) {
			t.Errorf("%s: opened: %v", name, err)
		}
		if log := said(); log != "" {
			t.Errorf("%s: a tool was run: %q", name, log)
		}
	}
}

func TestAVolumesFileThatIsALinkIsNotFollowed(t *testing.T) {
	tool, said := spy(t)
	d := folder.New(tool)
	at := place(t, d)
	v, path := volume(t, d, at, int64(os.Geteuid()))
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(path+".away", path); err != nil {
		t.Fatal(err)
	}
	said()
	v.SizeMiB = 32
	if _, err := d.Grow(t.Context(), at, v); err == nil || said() != "" {
		t.Fatalf("a link was followed: %v", err)
	}
	if _, _, err := d.Open(t.Context(), at, onhost.Owner{Layer: one.Active, VolumeID: v.ID, Epoch: 2, UID: int64(os.Geteuid())}); err == nil {
		t.Fatal("a link was opened")
	}
}
