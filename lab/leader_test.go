package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// standstill stops the daemon of a host for a while, as a paused VM or a disk that hangs does.
func (h *Host) standstill(d time.Duration) {
	h.cloud.t.Helper()
	pid := h.PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		h.cloud.t.Fatal(err)
	}
	time.Sleep(d)
	if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
		h.cloud.t.Fatal(err)
	}
}

func standstills() []time.Duration {
	if full() {
		return []time.Duration{10 * time.Second, time.Minute}
	}
	return []time.Duration{10 * time.Second}
}

// TestServerThatStoodStillLeadsAgainInTheSameProcess: its lease has run out meanwhile. It used to end.
func TestServerThatStoodStillLeadsAgainInTheSameProcess(t *testing.T) {
	c := New(t, 2)
	c.Start()
	h, far := c.Hosts[0], c.Hosts[1]
	h.ImportTiny()
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--wait")
	web, daemons := field(h.Must("vm", "show", "web", "-o", "yaml"), "instanceID:"), [2]int{h.PID(), far.PID()}
	for _, d := range standstills() {
		h.standstill(d)
		h.Eventually(10*time.Second, "the API answers", func() bool { _, err := h.Virga("vm", "list"); return err == nil })
		// Its loops run: a network, a disk and a VM are made, and go.
		h.Must("vm", "create", "after", "--image", "tiny", "--memory", "128MiB", "--wait")
		h.Must("vm", "delete", "after", "--wait")
		// Who was silent is found out as before.
		far.Kill9()
		h.Eventually(time.Minute, "a host that dies is lost", func() bool { return strings.Contains(h.lives(), "lost") })
		far.Up()
		daemons[1] = far.PID()
		h.Eventually(time.Minute, "it is alive again", func() bool { return strings.Count(h.lives(), "alive") == 2 })
		if now := field(h.Must("vm", "show", "web", "-o", "yaml"), "instanceID:"); now != web || h.phase("web") != "running" {
			t.Errorf("after %v the guest of instance %s is that of %s, and %s", d, web, now, h.phase("web"))
		}
		if now := [2]int{h.PID(), far.PID()}; now != daemons {
			t.Errorf("after %v the daemons were %v and are %v", d, daemons, now)
		}
	}
}

// TestServerWhoseDiskHungLeadsAgainInTheSameProcess: each write below the state folder hangs for a while, as on a
// path to a disk that is lost and found. Nothing is lost that was acknowledged, and nobody is taken for dead.
func TestServerWhoseDiskHungLeadsAgainInTheSameProcess(t *testing.T) {
	c := New(t, 2)
	h, far := c.Hosts[0], c.Hosts[1]
	h.ownDisk(900)
	c.Start()
	h.ImportTiny()
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--host", "h2", "--wait")
	web, daemons := field(h.Must("vm", "show", "web", "-o", "yaml"), "instanceID:"), [2]int{h.PID(), far.PID()}
	g := h.Guest("web")
	g.Wait(boot, `VIRGA-READY web `)
	for i, d := range standstills() {
		name := fmt.Sprintf("net%d", i)
		asked := make(chan error, 1)
		c.must("fsfreeze", "-f", h.State)
		go func() {
			_, err := h.Virga("network", "create", name, "--cidr", fmt.Sprintf("10.3%d.0.0/24", i))
			asked <- err
		}()
		time.Sleep(d)
		c.must("fsfreeze", "-u", h.State)
		err := <-asked
		h.Eventually(30*time.Second, "the API takes what is new", func() bool {
			_, err := h.Virga("network", "create", "new"+name, "--cidr", fmt.Sprintf("10.4%d.0.0/24", i))
			return err == nil
		})
		if list := strings.Fields(h.Must("network", "list", "-o", "name")); err == nil && !slices.Contains(list, name) {
			t.Errorf("after %v: what was acknowledged while the disk hung is lost: %v", d, list)
		}
		h.Must("vm", "create", "after", "--image", "tiny", "--memory", "128MiB", "--wait")
		h.Must("vm", "delete", "after", "--wait")
		h.Eventually(time.Minute, "both hosts are alive", func() bool { return strings.Count(h.lives(), "alive") == 2 })
		if now := field(h.Must("vm", "show", "web", "-o", "yaml"), "instanceID:"); now != web || h.phase("web") != "running" {
			t.Errorf("after %v the guest of instance %s is that of %s, and %s", d, web, now, h.phase("web"))
		}
		g.Must(boot, "ping -c 1 -W 2 10.20.0.1")
		if now := [2]int{h.PID(), far.PID()}; now != daemons {
			t.Errorf("after %v the daemons were %v and are %v", d, daemons, now)
		}
	}
}

// ownDisk puts the state folder onto a disk of its own, which can be made to hang.
func (h *Host) ownDisk(sizeMiB int64) {
	t := h.cloud.t
	t.Helper()
	image := filepath.Join(h.cloud.dir, h.Name+".disk")
	h.cloud.must("truncate", "-s", fmt.Sprintf("%dM", sizeMiB), image)
	h.cloud.must("mkfs.ext4", "-q", image)
	if err := os.MkdirAll(h.State, 0o711); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-o", "loop", image, h.State).CombinedOutput(); err != nil {
		t.Skipf("mount a disk that can be made to hang: %v: %s", err, out)
	}
	t.Cleanup(func() {
		_ = exec.Command("fsfreeze", "-u", h.State).Run() // after a failure; the cloud unmounts it when it has ended
	})
	if err := os.Chmod(h.State, 0o711); err != nil {
		t.Fatal(err)
	}
}
