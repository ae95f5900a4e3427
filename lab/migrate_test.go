package lab

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
)

// twoHosts is a cloud of two hosts that share a datastore, with image tiny and VMs a and b on
// different hosts, both up.
func twoHosts(t *testing.T) (c *Cloud, a, b *Guest, addressA, addressB string) {
	c = New(t, 2)
	c.Start()
	h := c.Hosts[0]
	shared := filepath.Join(c.dir, "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	h.Must("storage", "create", "shared", "--folder", shared, "--host", "h1", "--host", "h2")
	h.Must("datastore", "create", "shared", "--storage", "shared", "--wait")
	h.ImportTiny()
	for _, name := range []string{"a", "b"} {
		h.Must("vm", "create", name, "--image", "tiny", "--memory", "128MiB", "--disk", "128MiB,datastore=shared", "--wait", "--timeout", "60s")
	}
	if h.on("a") == h.on("b") {
		t.Fatalf("both VMs are on %s; placement spreads them", h.on("a"))
	}
	a, b = h.Guest("a"), h.Guest("b")
	addressA = a.Wait(boot, `VIRGA-READY a (10\.20\.\d+\.\d+)\n`)[1]
	addressB = b.Wait(boot, `VIRGA-READY b (10\.20\.\d+\.\d+)\n`)[1]
	return c, a, b, addressA, addressB
}

// on tells which host a VM is on.
func (h *Host) on(vm string) string {
	out, _ := h.Virga("vm", "list")
	for _, line := range strings.Split(out, "\n") {
		if strings.HasPrefix(line, vm+" ") {
			return regexp.MustCompile(`\bh\d\b`).FindString(line)
		}
	}
	return ""
}

func other(host string) string {
	if host == "h1" {
		return "h2"
	}
	return "h1"
}

// lost reads how many packets a ping has lost.
func lost(t *testing.T, out string) (sent, lost int) {
	t.Helper()
	m := regexp.MustCompile(`(\d+) packets transmitted, (\d+) packets received`).FindStringSubmatch(out)
	if m == nil {
		t.Fatalf("this is no report of ping: %s", out)
	}
	sent, _ = strconv.Atoi(m[1])
	got, _ := strconv.Atoi(m[2])
	return sent, sent - got
}

// unanswered are the numbers of the pings that were lost.
func unanswered(out string, sent int) (numbers []int) {
	for n := range sent {
		if !strings.Contains(out, fmt.Sprintf("seq=%d ", n)) {
			numbers = append(numbers, n)
		}
	}
	return numbers
}

func TestAVMMovesUnderPing(t *testing.T) {
	c, a, b, addressA, addressB := twoHosts(t)
	h := c.Hosts[0]
	a.Must(boot, "ping -c 3 -W 2 "+addressB)
	b.Must(boot, "ping -c 3 -W 2 "+addressA)
	a.MustReach(Outside)
	b.MustReach(Outside)
	before := a.Must(boot, "cat /proc/sys/kernel/random/boot_id")
	a.Must(boot, "echo moved > /data/file; sync")

	from := h.on("a")
	followed := h.follow("a")
	a.Must(boot, "(sleep 300 | nc -l -p 5000 > /tmp/lines &)")
	b.Must(boot, "(for i in $(seq 200); do echo line $i; sleep 0.1; done | nc "+addressA+" 5000 >/dev/null 2>&1 &)")
	b.Must(boot, "(ping -i 0.1 -c 1000 "+addressA+" > /tmp/ping 2>&1 &)")
	begun := time.Now()
	h.Must("vm", "migrate", "a", "--to", other(from), "--wait")
	t.Logf("moved after %v", time.Since(begun))
	if now := h.on("a"); now != other(from) {
		t.Fatalf("the VM is on %s, not on %s", now, other(from))
	}
	time.Sleep(8 * time.Second)
	out := b.Must(boot, "killall -INT ping; sleep 1; cat /tmp/ping")
	sent, gone := lost(t, out)
	t.Logf("%d of %d pings were lost: %v", gone, sent, unanswered(out, sent))
	if sent < 30 || gone > sent/5 {
		t.Errorf("%d of %d pings were lost while the VM moved:\n%s", gone, sent, out)
	}
	a = h.Guest("a")
	if after := a.Must(boot, "cat /proc/sys/kernel/random/boot_id"); after != before {
		t.Errorf("the VM was restarted: boot %s, then %s", before, after)
	}
	a.Must(boot, "echo MOVED-$((40+2))")
	followed.until("MOVED-42")
	followed.leave()
	if out := a.Must(boot, "cat /data/file"); out != "moved" {
		t.Errorf("the disk lost its content: %q", out)
	}
	// The connection that was open has carried every line, in order.
	a.Must(boot, "for i in $(seq 60); do grep -q 'line 200$' /tmp/lines && break; sleep 1; done; seq 200 | sed 's/^/line /' | cmp - /tmp/lines")
	a.Must(boot, "ping -c 3 -W 2 "+addressB)
	a.MustReach(Outside)

	// Both are on one host now. It is emptied: one that cannot move says why, and follows when it can.
	from = h.on("a")
	h.Must("vm", "pause", "b", "--wait")
	if _, err := h.Virga("host", "maintenance", from, "--wait", "--timeout", "3m"); err == nil || !strings.Contains(err.Error(), "resume it first") {
		t.Errorf("a host with a paused VM is emptied: %v", err)
	}
	if now := h.on("a"); now != other(from) {
		t.Errorf("a is on %s", now)
	}
	h.Must("vm", "resume", "b", "--wait")
	h.Must("host", "maintenance", from, "--wait", "--timeout", "3m")
	if now := h.on("b"); now != other(from) {
		t.Errorf("host %s is empty, and b is on %s", from, now)
	}
	h.Must("host", "activate", from)
	h.Guest("b").Must(boot, "ping -c 3 -W 2 "+addressA)
	h.Must("vm", "delete", "a", "--wait")
}
