package lab

import (
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

// TestServerThatStoodStillLeadsAgainInTheSameProcess: its lease has run out meanwhile. It used to end.
func TestServerThatStoodStillLeadsAgainInTheSameProcess(t *testing.T) {
	c := New(t, 2)
	c.Start()
	h, far := c.Hosts[0], c.Hosts[1]
	h.ImportTiny()
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--wait")
	web, daemons := field(h.Must("vm", "show", "web", "-o", "yaml"), "instanceID:"), [2]int{h.PID(), far.PID()}
	still := []time.Duration{10 * time.Second}
	if full() {
		still = append(still, time.Minute)
	}
	for _, d := range still {
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
