package lab

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestADeadHostIsRemovedByForce: a host's power is cut, an administrator vouches for it, and its
// VM runs elsewhere with its disk; what lay on its own disks is lost and says so. Then the host
// comes back, with a guest that somebody forgot: it learns that it is over, and ends it.
func TestADeadHostIsRemovedByForce(t *testing.T) {
	c, a, b, _, _ := twoHosts(t)
	h, dead := c.Hosts[0], c.Hosts[1]
	name, guest := "a", a
	if h.on("b") == "h2" {
		name, guest = "b", b
	}
	guest.Must(boot, "echo kept > /data/file; sync")
	h.Must("vm", "create", "pet", "--image", "tiny", "--memory", "128MiB", "--disk", "128MiB,datastore=local-h2", "--wait", "--timeout", "60s")
	pet := strings.TrimSpace(field(h.Must("vm", "show", "pet", "-o", "yaml"), "id:"))
	if out, err := h.Virga("host", "delete", "h2", "--dead", "--switched-off"); err == nil || !strings.Contains(err.Error(), "its heartbeat came within the last seconds") {
		t.Errorf("a host that lives: %v %s", err, out)
	}

	// Everything ends but one forgotten guest, and the switch, by which the host comes back later.
	guest.Close()
	for _, pid := range pids(dead.NS) {
		if line := describe([]int{pid})[0]; strings.Contains(line, "ovn-controller") || !strings.Contains(line, pet) && !strings.Contains(line, "ovs") {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
	h.Eventually(time.Minute, "the way out is told", func() bool {
		return strings.Contains(h.Must("explain", "vm", name), "virga host delete h2 --dead")
	})
	if out, err := h.Virga("host", "delete", "h2", "--dead"); err == nil || !strings.Contains(err.Error(), "--switched-off") {
		t.Errorf("nobody vouches: %v %s", err, out)
	}
	h.Must("host", "delete", "h2", "--dead", "--switched-off", "--wait", "--timeout", "60s")
	h.Eventually(boot, "the VM runs on h1", func() bool {
		return h.on(name) == "h1" && strings.Contains(h.Must("vm", "show", name, "-o", "yaml"), "phase: running")
	})
	guest = h.Guest(name)
	guest.Wait(boot, `VIRGA-READY `+name+` `)
	if out := guest.Must(boot, "cat /data/file"); out != "kept" {
		t.Errorf("the disk lost its content: %q", out)
	}
	if out := h.Must("explain", "vm", "pet"); !strings.Contains(out, "lay on datastore local-h2, whose host was declared dead") {
		t.Errorf("the lost VM says: %s", out)
	}
	if out, err := h.Exec("ovn-sbctl", "--db=unix:"+filepath.Join(h.Run, "ovn", "sb.sock"), "--no-leader-only", "--bare", "--columns=hostname", "list", "Chassis"); err != nil || strings.Contains(out, "h2") || !strings.Contains(out, "h1") {
		t.Errorf("OVN knows the hosts %q, %v", out, err)
	}
	h.Must("vm", "delete", "pet", "--wait")
	h.Must("datastore", "delete", "local-h2", "--wait")
	h.Must("storage", "delete", "local-h2", "--wait")

	// The host comes back.
	if left := pids(dead.NS); len(left) == 0 {
		t.Error("the forgotten guest is gone: the rest of the story shows nothing")
	}
	_, _ = dead.Virga("up", "--state", dead.State) // it may end before it is ready
	dead.Eventually(time.Minute, "nothing runs on h2 any more", func() bool { return len(pids(dead.NS)) == 0 })
	if said := dead.tail(); !strings.Contains(said, "was declared dead and removed") || !strings.Contains(said, "virga join with another token") {
		t.Errorf("it does not say what to do: %s", said)
	}
	if out := guest.Must(boot, "cat /data/file"); out != "kept" {
		t.Errorf("the VM was harmed by the return: %q", out)
	}

	// It joins anew, with its old address.
	if err := os.Rename(dead.State, dead.State+strconv.Itoa(os.Getpid())); err != nil {
		t.Fatal(err)
	}
	dead.Join(strings.TrimSpace(h.Must("host", "token", "-o", "name")))
	h.Eventually(30*time.Second, "host h2 has told what it has", func() bool {
		return strings.Contains(h.Must("host", "show", "h2", "-o", "yaml"), "inventoried: ") && strings.Contains(h.Must("host", "show", "h2"), "alive")
	})
	if out := h.Must("host", "list", "-o", "name"); strings.Count(out, "h2") != 1 {
		t.Errorf("the hosts are %s", out)
	}
	if out := h.Must("removal", "list"); !strings.Contains(out, "h2") || !strings.Contains(out, "dead") {
		t.Errorf("the removals are %s", out)
	}
}
