package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestBackupBringsTheCloudBackUnderItsGuests destroys the records under a guest that runs, and two that were made
// after the backup. None is ended: one is known again, one is registered by the records that its host has kept, and
// the last stays until somebody has looked.
func TestBackupBringsTheCloudBackUnderItsGuests(t *testing.T) {
	c := New(t, 1)
	h := c.Hosts[0]
	h.Up()
	h.ImportTiny()
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--wait")
	file := filepath.Join(c.dir, "cloud.tar")
	h.Must("backup", file, "--state", h.State)
	h.Must("check", file)
	h.Must("project", "create", "acme")
	h.Must("network", "create", "lan", "--cidr", "10.77.0.0/24", "--project", "acme")
	h.Must("volume", "create", "data", "--size", "1GiB", "--project", "acme")
	h.Must("image", "publish", "tiny")
	h.Must("vm", "create", "later", "--image", "tiny", "--memory", "128MiB", "--network", "lan", "--project", "acme", "--wait")
	h.Must("vm", "attach", "volume", "later", "data", "--project", "acme", "--wait")
	h.Must("vm", "create", "forgotten", "--image", "tiny", "--memory", "128MiB", "--wait")
	before := h.guests()
	if len(before) != 3 {
		t.Fatalf("guests %v", before)
	}
	h.Eventually(time.Minute, "the host keeps the records of its three VMs", func() bool {
		kept, _ := filepath.Glob(filepath.Join(h.State, "records", "*.json"))
		return len(kept) == 3
	})
	of := func() (out string) {
		for _, path := range []string{"id", "created", "status.disks", "status.nics"} {
			out += h.Must("vm", "show", "later", "--project", "acme", "-o", "jsonpath="+path)
		}
		return out + h.Must("volume", "show", "data", "--project", "acme", "-o", "jsonpath=id")
	}
	was := of()
	h.Must("down", "--state", h.State)
	for _, lost := range []string{"store", "ca", "config.json"} {
		if err := os.RemoveAll(filepath.Join(h.State, lost)); err != nil {
			t.Fatal(err)
		}
	}
	h.refuses(8, []string{"not which host this is", "virga restore FILE"}, "up", "--state", h.State)
	h.Must("restore", file, "--state", h.State)
	h.Must("up", "--state", h.State)
	up := time.Now()
	h.Must("check", "--state", h.State)
	h.Eventually(time.Minute, "web runs, by its record", func() bool { return strings.Contains(h.Must("vm", "list"), "running") })
	if out := h.Must("vm", "list", "-o", "name"); strings.TrimSpace(out) != "web" {
		t.Errorf("the VMs are %q", out)
	}
	if out := h.Must("host", "unregistered", h.Name, "-o", "name"); out != "later\nforgotten\n" {
		t.Errorf("unregistered are %q", out)
	}
	h.Must("host", "register", h.Name, "later")
	h.Must("vm", "wait", "later", "--for", "running", "--project", "acme")
	if is := of(); is != was {
		t.Errorf("later is\n%s\nand was\n%s", is, was)
	}
	h.refuses(5, []string{"no unregistered VM or volume"}, "host", "register", h.Name, "later")
	h.Must("check", "--state", h.State)
	// Longer than it takes until what has no record is removed.
	time.Sleep(time.Until(up.Add(150 * time.Second)))
	if after := h.guests(); strings.Join(after, " ") != strings.Join(before, " ") {
		t.Errorf("the guests are %v, and were %v", after, before)
	}
	h.Must("restore", "--settle", "--state", h.State)
	h.Eventually(5*time.Minute, "what has no record is removed once somebody has said so", func() bool { return len(h.guests()) == 2 })
	for _, g := range []*Guest{h.Guest("web"), h.Guest("later", "--project", "acme")} {
		g.Must(boot, "true")
	}
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
