package folder_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/folder"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

// written writes a pattern as a guest does, from KiB on.
func written(t *testing.T, file string, pattern, from, length int) {
	t.Helper()
	out, err := exec.Command("qemu-io", "-f", "qcow2", "-c", fmt.Sprintf("write -P %d %dk %dk", pattern, from, length), file).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// seen is what a guest reads through a layer, and that the file is sound.
func seen(t *testing.T, file string) string {
	t.Helper()
	raw := filepath.Join(t.TempDir(), "raw")
	if out, err := exec.Command("qemu-img", "convert", "-O", "raw", file, raw).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if out, err := exec.Command("qemu-img", "check", "-q", file).CombinedOutput(); err != nil {
		t.Errorf("check of %s: %v: %s", file, err, out)
	}
	data, err := os.ReadFile(raw)
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%x", sha256.Sum256(data))
}

func TestWhatIsReadThroughALayerStaysWhenOthersArePulledIntoIt(t *testing.T) {
	for _, tool := range []string{"qemu-img", "qemu-io"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool + " is not installed")
		}
	}
	d := folder.New(qcow2.Tool{})
	at := place(t, d)
	v := onhost.Volume{ID: resource.NewID(), SizeMiB: 16, Chain: one}
	file := func(layer string) string { return filepath.Join(at.Path, "volumes", string(v.ID), layer+".qcow2") }
	want := map[string]string{}
	for i, layer := range []string{"a0", "b1", "c2"} {
		if i > 0 {
			v.Chain = v.On(v.Active, layer)
		}
		if _, err := d.EnsureVolume(t.Context(), at, v); err != nil {
			t.Fatal(err)
		}
		written(t, file(layer), i+1, 64+i*512, 1024) // each is partly covered by the next
		want[layer] = seen(t, file(layer))
	}
	if want["a0"] == want["b1"] || want["b1"] == want["c2"] {
		t.Fatal("the layers hold the same")
	}
	// the middle one goes, then the lowest
	for _, step := range []struct {
		chain storage.Chain
		gone  string
	}{
		{storage.Chain{Layers: []storage.Layer{{ID: "a0"}, {ID: "c2", ParentID: "a0"}}, Active: "c2"}, "b1"},
		{storage.Chain{Layers: []storage.Layer{{ID: "c2"}}, Active: "c2"}, "a0"},
	} {
		v.Chain = step.chain
		if err := d.Rebase(t.Context(), at, v, "c2"); err != nil {
			t.Fatal(err)
		}
		if err := d.RemoveLayer(t.Context(), at, v, step.gone); err != nil {
			t.Fatal(err)
		}
		for _, l := range v.Layers {
			if got := seen(t, file(l.ID)); got != want[l.ID] {
				t.Errorf("without %s, layer %s holds something else", step.gone, l.ID)
			}
		}
	}
	left, _ := filepath.Glob(file("*"))
	if len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}

func TestALayerThatBuildsOnAnotherVolumesLayerIsNotOpened(t *testing.T) {
	d := folder.New(qcow2.Tool{})
	at := place(t, d)
	_, theirs := volume(t, d, at, int64(os.Geteuid()))
	mine, path := volume(t, d, at, int64(os.Geteuid()))
	if out, err := exec.Command("qemu-img", "rebase", "-u", "-f", "qcow2", "-b", theirs, "-F", "qcow2", path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	owner := onhost.Owner{VolumeID: mine.ID, Layer: one.Active, Epoch: 2, UID: int64(os.Geteuid())}
	if _, _, err := d.Open(t.Context(), at, owner); !fault.Is(err, fault.Precondition) {
		t.Errorf("opened: %v", err)
	}
	if err := d.Rebase(t.Context(), at, mine, one.Active); !fault.Is(err, fault.Precondition) {
		t.Errorf("pulled together: %v", err)
	}
}
