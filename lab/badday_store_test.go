package lab

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestAFullDiskUnderTheStoreStopsWhatIsNewAndNothingElse puts a host's state folder on a small disk
// and fills it to the last byte.
func TestAFullDiskUnderTheStoreStopsWhatIsNewAndNothingElse(t *testing.T) {
	c := New(t, 1)
	h := c.Hosts[0]
	if err := os.MkdirAll(h.State, 0o711); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=768m,mode=711", "tmpfs", h.State).CombinedOutput(); err != nil {
		t.Skipf("mount a small disk: %v: %s", err, out)
	}
	c.Start()
	h.ImportTiny()
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--wait")
	h.Must("vm", "create", "spare", "--image", "tiny", "--memory", "128MiB", "--stopped")
	g := h.Guest("web")
	g.Wait(boot, `VIRGA-READY web `)
	bootID := g.Must(boot, "cat /proc/sys/kernel/random/boot_id")

	filler := h.fillState()
	h.refuses(9, []string{"the disk of the state store", h.State, "0 MiB left", "free space there"}, "vm", "create", "more", "--image", "tiny", "--memory", "128MiB", "--stopped")
	if out := h.Must("vm", "list", "-o", "name"); !strings.Contains(out, "web") || !strings.Contains(out, "spare") || strings.Contains(out, "more") {
		t.Errorf("on a full disk vm list says %s", out)
	}
	g.Must(boot, "ping -c 1 -W 2 10.20.0.1")
	h.Must("vm", "delete", "spare", "--wait") // this is how space is freed

	// The daemon dies on its full disk. Its successor says what it needs; the guest goes on.
	h.Kill9()
	h.fillState()
	h.refuses(9, []string{"the disk of " + h.State, "MiB left, needed are", "free space there and start again"}, "up", "--state", h.State)
	h.expectEffects(1, 1, 1)
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	h.Up()
	if out := h.Must("vm", "list", "-o", "name"); strings.TrimSpace(out) != "web" {
		t.Errorf("with free space again vm list says %s", out)
	}
	g = h.Guest("web")
	if now := g.Must(boot, "cat /proc/sys/kernel/random/boot_id"); now != bootID {
		t.Error("the guest was started again")
	}

	// Once more, and this time the daemon lives on until there is free space.
	filler = h.fillState()
	h.refuses(9, []string{"free space there"}, "network", "create", "blue", "--cidr", "10.30.0.0/24")
	// A guest that writes now waits for its disk, and says so.
	if _, err := g.in.Write([]byte("dd if=/dev/urandom of=/data/big bs=1M count=24; sync; md5sum /data/big; echo 'WRIT''TEN'\n")); err != nil {
		t.Fatal(err)
	}
	h.Eventually(time.Minute, "explain says that the guest waits for free space", func() bool {
		return strings.Contains(h.Must("explain", "vm", "web"), "its disk cannot be written")
	})
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	h.Must("network", "create", "blue", "--cidr", "10.30.0.0/24", "--wait")
	g.Wait(boot, `WRITTEN`)
	if now := g.Must(boot, "cat /proc/sys/kernel/random/boot_id"); now != bootID {
		t.Error("the guest was started again when its disk had free space again")
	}
	h.Must("vm", "create", "more", "--image", "tiny", "--memory", "128MiB", "--wait")
	h.expectEffects(2, 2, 2)
}

// fillState leaves nothing of the disk below the state folder, and names the file that took it.
func (h *Host) fillState() string {
	h.cloud.t.Helper()
	name := filepath.Join(h.State, "filler")
	f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		h.cloud.t.Fatal(err)
	}
	defer f.Close()
	for _, size := range []int{1 << 20, 4096} {
		for piece := make([]byte, size); err == nil; {
			_, err = f.Write(piece)
		}
		err = nil
	}
	return name
}
