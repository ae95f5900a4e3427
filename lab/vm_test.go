package lab

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/client"
)

const boot = 2 * time.Minute // a guest under software emulation, on a busy host

// screen opens a VM's screen by the API and gives the first words that VNC says.
func (h *Host) screen(vm string) string {
	t := h.cloud.t
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	conn, err := client.Connect(client.Options{Socket: filepath.Join(h.Run, "api.sock")})
	if err != nil {
		t.Fatal(err)
	}
	ws, err := conn.Dial(ctx, "/v1/projects/default/vms/"+vm+"/vnc", "binary")
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	_, words, err := ws.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return string(words)
}

func TestAVMLives(t *testing.T) {
	c := New(t, 1)
	c.Start()
	h := c.Hosts[0]
	h.ImportTiny()
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--wait")
	g := h.Guest("web")
	address := g.Wait(boot, `VIRGA-READY web (10\.20\.\d+\.\d+)\n`)[1]
	t.Log("the guest is up at", address)

	if out := h.Must("vm", "show", "web"); !strings.Contains(out, address) {
		t.Errorf("vm show does not name %s:\n%s", address, out)
	}
	if out := g.Must(boot, "hostname"); out != "web" {
		t.Errorf("the guest calls itself %q", out)
	}
	g.Must(boot, "ping -c 2 -W 2 10.20.0.1")
	g.MustReach(Outside)
	if out := g.Must(boot, "nslookup web"); !strings.Contains(out, address) {
		t.Errorf("DNS does not know the VM's own name: %s", out)
	}
	if out := g.Must(boot, "wget -q -O - http://169.254.169.254/latest/meta-data/local-hostname"); !strings.HasPrefix(out, "web") {
		t.Errorf("metadata calls the VM %q", out)
	}
	bootID := g.Must(boot, "cat /proc/sys/kernel/random/boot_id")
	g.Must(boot, "echo kept > /data/file && sync")

	// The daemon dies; the guest does not notice.
	h.Kill9()
	h.Up()
	g = h.Guest("web")
	if again := g.Must(boot, "cat /proc/sys/kernel/random/boot_id"); again != bootID {
		t.Errorf("the guest was restarted by a kill of the daemon: boot %s, then %s", bootID, again)
	}
	g.MustReach(Outside)

	// Its disk grows while it runs, and it sees that; a disk does not shrink.
	g.Must(boot, "test $(cat /sys/block/vda/size) -lt 1048576")
	h.Must("volume", "resize", "web-disk0", "--size", "512MiB", "--wait", "--timeout", "30s")
	if out := g.Must(boot, "cat /sys/block/vda/size"); out != "1048576" {
		t.Errorf("the guest sees a disk of %s sectors; 512 MiB are 1048576", out)
	}
	if _, err := h.Virga("volume", "resize", "web-disk0", "--size", "256MiB"); err == nil || !strings.Contains(err.Error(), "cannot shrink") {
		t.Errorf("a disk was shrunk: %v", err)
	}

	// Screens and logs.
	h.Must("vm", "screenshot", "web", "-f", h.Run+"/web.png")
	h.said("web", "VIRGA-READY")
	h.leavesALog("web", g)

	if greeting := h.screen("web"); !strings.HasPrefix(greeting, "RFB 003.") {
		t.Errorf("the screen greets with %q", greeting)
	}

	// Stop and start: a new boot, the same disk.
	h.stopsAndIsHeard("web")
	h.Must("vm", "start", "web", "--wait")
	h.said("web", "reboot: Power down", "--previous")
	g = h.Guest("web")
	g.Wait(boot, `VIRGA-READY web `)
	if out := g.Must(boot, "cat /data/file"); out != "kept" {
		t.Errorf("the disk lost its content: %q", out)
	}

	// A guest that powers itself off stays off.
	_, _ = g.in.Write([]byte("poweroff\n"))
	h.Eventually(boot, "the VM is stopped", func() bool {
		out, _ := h.Virga("vm", "show", "web", "-o", "json")
		return strings.Contains(out, `"phase": "stopped"`)
	})

	h.Must("vm", "delete", "web", "--wait")
	h.Eventually(2*time.Minute, "no serial log is left", func() bool {
		left, _ := filepath.Glob(filepath.Join(h.State, "serial", "*"))
		return len(left) == 0
	})
	for _, noun := range []string{"vm", "instance", "volume", "port", "claim"} {
		h.Eventually(20*time.Second, "no "+noun+" is left", func() bool {
			return strings.TrimSpace(h.Must(noun, "list", "-o", "name")) == ""
		})
	}
}
