package lab

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute/image/debian"
)

// full reports whether the slow stories are wanted: make lab.
func full() bool { return os.Getenv("VIRGA_LAB") == "full" }

// processes lists the processes that run a VM, on all hosts.
func (c *Cloud) processes(vmID string) []string {
	var out []string
	for _, h := range c.Hosts {
		for _, line := range describe(pids(h.NS)) {
			if strings.Contains(line, "qemu-system") && strings.Contains(line, vmID) {
				out = append(out, h.Name+": "+line)
			}
		}
	}
	return out
}

// TestAMigrationSurvivesKills kills a daemon at a random moment of a migration, again and again,
// on either host, and demands each time that exactly one copy runs, with its memory and its disk.
func TestAMigrationSurvivesKills(t *testing.T) {
	rounds := 3
	if full() {
		rounds = 16
	}
	c, a, _, addressA, _ := twoHosts(t)
	h := c.Hosts[0]
	id := strings.TrimSpace(field(h.Must("vm", "show", "a", "-o", "yaml"), "id:"))
	bootID := a.Must(boot, "cat /proc/sys/kernel/random/boot_id")
	a.Must(boot, "echo kept > /data/file; sync")
	for round := range rounds {
		from, delay, victim := h.on("a"), time.Duration(rand.IntN(5000))*time.Millisecond, c.Hosts[round%2]
		t.Logf("round %d: a moves from %s to %s; the daemon of %s is killed after %v", round, from, other(from), victim.Name, delay)
		h.Must("vm", "migrate", "a", "--to", other(from))
		time.Sleep(delay)
		victim.Kill9()
		victim.Up()
		h.Eventually(2*time.Minute, "the VM runs and no operation has it", func() bool {
			out, err := h.Virga("vm", "show", "a", "-o", "yaml")
			return err == nil && strings.Contains(out, "phase: running") && !strings.Contains(out, "operationID: ")
		})
		h.Eventually(time.Minute, "exactly one QEMU process runs the VM", func() bool { return len(c.processes(id)) == 1 })
		t.Logf("round %d: it is on %s", round, h.on("a"))
		g := h.Guest("a")
		if now := g.Must(boot, "cat /proc/sys/kernel/random/boot_id"); now != bootID {
			t.Fatalf("the VM was restarted in round %d", round)
		}
		if out := g.Must(boot, "cat /data/file"); out != "kept" {
			t.Fatalf("the disk lost its content: %q", out)
		}
		g.Close()
	}
	if t.Failed() || testing.Verbose() {
		t.Log(h.Must("operation", "list"))
	}
	b := h.Guest("b")
	b.Must(boot, "ping -c 3 -W 2 "+addressA)
}

// field gives the rest of the first line that begins with a word.
func field(text, word string) string {
	for _, line := range strings.Split(text, "\n") {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), word); ok {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

// debianImage is the real cloud image: VIRGA_DEBIAN_IMAGE, or built once and kept in the cache.
func debianImage(t *testing.T) string {
	if file := os.Getenv("VIRGA_DEBIAN_IMAGE"); file != "" {
		return file
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	file := filepath.Join(cache, "virga", "debian-12.qcow2")
	if _, err := os.Stat(file); err == nil {
		return file
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := debian.Build(t.Context(), file, debian.Options{}); err != nil {
		t.Fatalf("build the Debian image: %v", err)
	}
	return file
}

// debianUserData tells on the serial line that it ran, and what cloud-init's own reader of EC2
// metadata finds at 169.254.169.254.
const debianUserData = `#cloud-config
runcmd:
- [sh, -c, 'echo SEED-RAN $(hostname) > /dev/ttyS0']
- - python3
  - -c
  - |
    from cloudinit.sources.helpers import ec2
    m = ec2.get_instance_metadata(api_version="latest")
    u = ec2.get_instance_userdata(api_version="latest").decode().splitlines()[0]
    open("/dev/ttyS0", "w").write("EC2-SAYS %s %s\n" % (m["local-hostname"], u))
`

// TestDebianTakesItsSeed boots the real cloud image; it takes minutes under software emulation.
func TestDebianTakesItsSeed(t *testing.T) {
	if !full() {
		t.Skip("slow: make lab sets VIRGA_LAB=full")
	}
	image := debianImage(t)
	c := New(t, 1)
	c.Start()
	h := c.Hosts[0]
	h.Must("image", "import", "debian-12", "--file", image, "--wait")
	data := filepath.Join(c.dir, "user-data")
	if err := os.WriteFile(data, []byte(debianUserData), 0o644); err != nil {
		t.Fatal(err)
	}
	h.Must("vm", "create", "deb", "--image", "debian-12", "--memory", "1GiB", "--user-data", data, "--wait")
	g := h.Guest("deb")
	g.Wait(8*time.Minute, `SEED-RAN deb`)
	g.Wait(2*time.Minute, `EC2-SAYS deb.* #cloud-config`)
	h.Eventually(5*time.Minute, "the guest's own agent tells its address", func() bool {
		out, _ := h.Virga("instance", "list", "-o", "yaml")
		return strings.Contains(out, "guestAgent: \"yes\"") || strings.Contains(out, "guestAgent: yes")
	})
	debianInside(t, h)
	h.Must("vm", "stop", "deb", "--wait")
}
