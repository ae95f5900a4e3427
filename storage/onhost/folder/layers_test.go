package folder_test

import (
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
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

// A volume that went back has a layer that nobody has opened yet, on layers that a guest has written: no tool reads
// those as root. The guest before had another user, and a branch of it is that user's still.
func TestLayersAreReadAsTheGuestThatWroteThem(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root has users to give")
	}
	tool, calls := spy(t)
	d := folder.New(tool)
	at := place(t, d)
	v, low := volume(t, d, at, 70001)
	file := func(layer string) string { return filepath.Join(filepath.Dir(low), layer+".qcow2") }
	grown := func(chain storage.Chain) {
		t.Helper()
		v.Chain = chain
		if _, err := d.EnsureVolume(t.Context(), at, v); err != nil {
			t.Fatal(err)
		}
	}
	opened := func(layer string, uid int64) {
		t.Helper()
		if _, _, err := d.Open(t.Context(), at, onhost.Owner{VolumeID: v.ID, Layer: layer, Epoch: 2, UID: uid}); err != nil {
			t.Fatal(err)
		}
	}
	grown(one.On("a0", "b1"))
	opened("b1", 70001)
	grown(v.On("a0", "c2"))
	opened("c2", 70002) // another VM has it now
	written(t, low, 7, 0, 64)
	want := seen(t, file("b1"))
	grown(v.On("b1", "d3")) // back to what the first one wrote
	calls()
	v.SizeMiB = 32
	if _, err := d.Grow(t.Context(), at, v); err != nil {
		t.Fatal(err)
	}
	v.Chain = storage.Chain{Layers: []storage.Layer{{ID: "b1"}, {ID: "c2", ParentID: "a0"}, {ID: "d3", ParentID: "b1"}}, Active: "d3"}
	if err := d.Rebase(t.Context(), at, v, "b1"); err != nil {
		t.Fatal(err)
	}
	for _, call := range strings.Split(strings.TrimSpace(calls()), "\n") {
		if !strings.HasPrefix(call, "70002 ") && !strings.Contains(call, " create ") {
			t.Errorf("called: %s", call)
		}
	}
	if got := seen(t, file("b1")); got != want {
		t.Error("the layer holds something else now")
	}
}

func TestALayerThatSomebodyHasOpenIsNotRemoved(t *testing.T) {
	if _, err := exec.LookPath("qemu-io"); err != nil {
		t.Skip("qemu-io is not installed")
	}
	d := folder.New(qcow2.Tool{})
	at := place(t, d)
	v := onhost.Volume{ID: resource.NewID(), SizeMiB: 16, Chain: one.On("a0", "b1")}
	if _, err := d.EnsureVolume(t.Context(), at, v); err != nil {
		t.Fatal(err)
	}
	v.Chain = one
	for _, how := range [][]string{{"-f", "qcow2"}, {"-r", "-f", "qcow2"}} {
		cmd := exec.Command("qemu-io", append(how, filepath.Join(at.Path, "volumes", string(v.ID), "b1.qcow2"))...)
		in, _ := cmd.StdinPipe()
		out, _ := cmd.StdoutPipe()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		fmt.Fprintln(in, "length")
		if _, err := out.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		if err := d.RemoveLayer(t.Context(), at, v, "b1"); !fault.Is(err, fault.Unavailable) {
			t.Errorf("%v has it open: %v", how, err)
		}
		in.Close()
		_ = cmd.Wait()
	}
	if err := d.RemoveLayer(t.Context(), at, v, "b1"); err != nil {
		t.Error(err)
	}
}
