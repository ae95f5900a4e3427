package lab

import (
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestDaemonThatDiesIsStartedAgainUntilItIsToldToEnd(t *testing.T) {
	c := New(t, 1)
	h := c.Hosts[0]
	h.Up()
	first := h.PID()
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.Eventually(time.Minute, "another daemon works", func() bool {
		_, err := h.Virga("host", "list")
		return err == nil && h.PID() != first
	})
	if out := h.Must("up", "--state", h.State); !strings.Contains(out, "runs already") || !strings.Contains(out, "not start at boot") {
		t.Errorf("virga up says %q", out)
	}
	// A start while it waits to start one is no second daemon.
	if err := syscall.Kill(h.PID(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	h.Must("up", "--state", h.State)
	supervisor, pid := h.pidIn("supervisor.pid"), h.PID()
	h.Must("down", "--state", h.State)
	for _, p := range []int{supervisor, pid} {
		if alive(p) {
			t.Errorf("process %d lives on", p)
		}
	}
}
