package lab

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

// dates gives when a new VM was made, by the clock of the server.
func (h *Host) dates(name string) time.Time {
	h.cloud.t.Helper()
	h.Must("vm", "create", name, "--image", "tiny", "--memory", "128MiB", "--stopped")
	var r struct{ Created time.Time }
	if err := json.Unmarshal([]byte(h.Must("vm", "show", name, "-o", "json")), &r); err != nil {
		h.cloud.t.Fatal(err)
	}
	return r.Created
}

// lives reads the life of each host as the cloud knows it.
func (h *Host) lives() string {
	out, err := h.Virga("liveness", "list")
	if err != nil {
		return err.Error()
	}
	return out
}

func TestAJumpOfTheHostsClockHarmsNobody(t *testing.T) {
	c := New(t, 2)
	c.Start()
	h, other := c.Hosts[0], c.Hosts[1]
	h.ImportTiny()
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--wait")
	pids := [2]int{h.PID(), other.PID()}
	clock := h.Clock()

	for name, jump := range map[string]time.Duration{"later": 2 * time.Hour, "earlier": -2 * time.Hour} {
		clock.Set(jump)
		// The new record proves that the server has another time than we.
		if off := h.dates(name).Sub(time.Now().Add(jump)); off.Abs() > time.Minute {
			t.Fatalf("the server's clock did not move by %v: it is %v off", jump, off)
		}
		for end := time.Now().Add(3 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			if out := h.lives(); strings.Count(out, "alive") != 2 {
				t.Fatalf("after a jump by %v:\n%s", jump, out)
			}
		}
		h.Must("vm", "delete", name, "--wait")
	}
	if h.phase("web") != "running" {
		t.Errorf("the VM is %s", h.phase("web"))
	}
	if now := [2]int{h.PID(), other.PID()}; now != pids || !alive(now[0]) || !alive(now[1]) {
		t.Errorf("the daemons were %v and are %v", pids, now)
	}
	// A host that really dies is still found out, though its last sign of life lies in the future.
	clock.Set(-4 * time.Hour)
	other.Kill9()
	h.Eventually(time.Minute, "the host that died is lost", func() bool { return strings.Contains(h.lives(), "lost") })
	clock.Set(0) // somebody mended it: by a clock before its beginning no certificate is taken
	other.Up()
	h.Eventually(time.Minute, "it is alive again", func() bool { return strings.Count(h.lives(), "alive") == 2 })
	h.Must("vm", "delete", "web", "--wait")
}
