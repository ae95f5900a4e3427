package lab

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// files lists what lies in the folders of images and volumes of a host.
func (h *Host) files() (out []string) {
	for _, top := range []string{"images", "datastore"} {
		_ = filepath.WalkDir(filepath.Join(h.State, top), func(path string, d fs.DirEntry, err error) error {
			if err == nil && !d.IsDir() {
				out = append(out, strings.TrimPrefix(path, h.State))
			}
			return nil
		})
	}
	return out
}

func TestAnImageThatIsCutOffOrChangedIsRefusedAndLeavesNothing(t *testing.T) {
	c := New(t, 1)
	whole := TinyImage(t)
	c.Start()
	h := c.Hosts[0]
	vmdk := filepath.Join(c.dir, "tiny.vmdk")
	if out, err := exec.Command("qemu-img", "convert", "-O", "vmdk", "-o", "subformat=streamOptimized", whole, vmdk).CombinedOutput(); err != nil {
		t.Fatalf("make a sample: %v: %s", err, out)
	}
	half := func(file string) string {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(c.dir, "half-"+filepath.Base(file))
		mark(t, to, string(data[:len(data)/2]))
		return to
	}
	before := h.files()
	zeros := "sha256:" + strings.Repeat("0", 64)
	for i, try := range []struct {
		exit  int
		words []string
		args  []string
	}{
		{8, []string{"cut off", "fetch it again"}, []string{"--file", half(whole)}},
		{8, []string{"cut off", "fetch it again"}, []string{"--file", half(vmdk)}},
		{2, []string{"has the checksum sha256:", "wanted is " + zeros, "get it again"}, []string{"--file", whole, "--checksum", zeros}},
	} {
		h.refuses(try.exit, append(try.words, "is taken back"), append([]string{"image", "import", fmt.Sprintf("bad%d", i), "--wait"}, try.args...)...)
		h.Eventually(20*time.Second, "no image and none of its files is left", func() bool {
			return strings.TrimSpace(h.Must("image", "list", "-o", "name")) == "" && slices.Equal(before, h.files())
		})
	}
	// Without --wait nobody was told yet: the record says it until it is deleted.
	h.Must("image", "import", "later", "--file", half(whole))
	h.Eventually(20*time.Second, "explain says what is wrong", func() bool {
		return strings.Contains(h.Must("explain", "image", "later"), "cut off")
	})
	h.Must("image", "delete", "later", "--wait")
	if left := h.files(); !slices.Equal(before, left) {
		t.Errorf("on the host are %v, before there were %v", left, before)
	}
	h.Must("image", "import", "bad0", "--file", vmdk, "--wait")
}
