package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBackupBringsTheCloudBackUnderItsGuests destroys the records under a guest that runs, and another that
// was made after the backup. Neither is ended: one is known again, the other stays until somebody has looked.
func TestBackupBringsTheCloudBackUnderItsGuests(t *testing.T) {
	c := New(t, 1)
	h := c.Hosts[0]
	h.Up()
	h.ImportTiny()
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--wait")
	file := filepath.Join(c.dir, "cloud.tar")
	h.Must("backup", file, "--state", h.State)
	h.Must("check", file)
	h.Must("vm", "create", "later", "--image", "tiny", "--memory", "128MiB", "--wait")
	before := h.guests()
	if len(before) != 2 {
		t.Fatalf("guests %v", before)
	}
	h.Must("down", "--state", h.State)
	for _, lost := range []string{"store", "ca", "config.json"} {
		if err := os.RemoveAll(filepath.Join(h.State, lost)); err != nil {
			t.Fatal(err)
		}
	}
	h.refuses(8, []string{"not which host this is", "virga restore FILE"}, "up", "--state", h.State)
	h.Must("restore", file, "--state", h.State)
	h.Must("up", "--state", h.State)
	h.Must("check", "--state", h.State)
	h.Eventually(time.Minute, "web runs, by its record", func() bool { return strings.Contains(h.Must("vm", "list"), "running") })
	if out := h.Must("vm", "list", "-o", "name"); strings.TrimSpace(out) != "web" {
		t.Errorf("the VMs are %q", out)
	}
	// Longer than it takes until what has no record is removed.
	time.Sleep(150 * time.Second)
	if after := h.guests(); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("the guests are %v, and were %v", after, before)
	}
	h.Must("restore", "--settle", "--state", h.State)
	h.Eventually(5*time.Minute, "what has no record is removed once somebody has said so", func() bool { return len(h.guests()) == 1 })
	g := h.Guest("web")
	g.Must(boot, "true")
}

// guests are the numbers of the QEMU processes of this host.
func (h *Host) guests() (out []string) {
	lines, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, path := range lines {
		data, err := os.ReadFile(path)
		if err == nil && strings.Contains(filepath.Base(strings.Split(string(data), "\x00")[0]), "qemu-system") && strings.Contains(string(data), h.cloud.dir+"/"+h.Name+"/") {
			out = append(out, strings.Split(path, "/")[2])
		}
	}
	return out
}
