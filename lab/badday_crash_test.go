package lab

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/etcd"
)

// effects counts what VMs have made on a host: QEMU processes, taps, volumes' folders.
func (h *Host) effects() (processes, taps, volumes int) {
	for _, line := range describe(pids(h.NS)) {
		if strings.Contains(line, "qemu-system") {
			processes++
		}
	}
	links, _ := h.Exec("ip", "-br", "link")
	for line := range strings.Lines(links) {
		if strings.HasPrefix(line, "vt") {
			taps++
		}
	}
	folders, _ := os.ReadDir(filepath.Join(h.State, "datastore", "volumes"))
	return processes, taps, len(folders)
}

func (h *Host) expectEffects(processes, taps, volumes int) {
	h.cloud.t.Helper()
	told := ""
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		e, p, v := h.effects()
		if e == processes && p == taps && v == volumes {
			return
		}
		told = fmt.Sprintf("%d QEMU processes, %d taps, %d volumes", e, p, v)
	}
	h.cloud.t.Fatalf("on %s there are %s; wanted are %d, %d, %d\n%s", h.Name, told, processes, taps, volumes, h.tail())
}

// TestADaemonKilledInTheMiddleOfACreateOrADeleteFinishesIt kills the daemon at a random moment
// after it was asked for something, and demands that the next one makes it whole, once.
func TestADaemonKilledInTheMiddleOfACreateOrADeleteFinishesIt(t *testing.T) {
	rounds := 3
	if full() {
		rounds = 15
	}
	c := New(t, 1)
	c.Start()
	h := c.Hosts[0]
	h.ImportTiny()
	for round := range rounds {
		name := fmt.Sprintf("vm%d", round)
		body := fmt.Sprintf(`{"name": %q, "spec": {"imageID": "tiny", "memoryMiB": 128}}`, name)
		status, text, err := h.raw("POST", "/v1/projects/default/vms", body)
		if err != nil || status != 201 {
			t.Fatalf("create: %d %s %v", status, text, err)
		}
		h.killAfter(rand.N(600 * time.Millisecond))
		h.Eventually(time.Minute, name+" runs", func() bool { return h.phase(name) == "running" })
		h.expectEffects(1, 1, 1)

		status, text, err = h.raw("DELETE", "/v1/projects/default/vms/"+name, "")
		if err != nil || status >= 300 {
			t.Fatalf("delete: %d %s %v", status, text, err)
		}
		h.killAfter(rand.N(400 * time.Millisecond))
		h.expectEffects(0, 0, 0)
		for _, noun := range []string{"vm", "instance", "volume", "port", "claim"} {
			h.Eventually(20*time.Second, "no "+noun+" is left", func() bool {
				out, err := h.Virga(noun, "list", "-o", "name")
				return err == nil && strings.TrimSpace(out) == ""
			})
		}
	}
}

func (h *Host) killAfter(pause time.Duration) {
	h.cloud.t.Helper()
	time.Sleep(pause)
	h.cloud.t.Logf("the daemon is killed after %v", pause.Round(time.Millisecond))
	h.Kill9()
	h.Up()
}

func TestAFullDatastoreIsSaidInWordsAndLeavesNothingHalfMade(t *testing.T) {
	c := New(t, 1)
	c.Start()
	h := c.Hosts[0]
	h.ImportTiny()
	small := filepath.Join(c.dir, "small")
	if err := os.Mkdir(small, 0o755); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", small).CombinedOutput(); err != nil {
		t.Skipf("mount a small disk: %v: %s", err, out)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, syscall.MNT_DETACH) })
	h.Must("storage", "create", "small", "--folder", small, "--host", "h1")
	h.Must("datastore", "create", "small", "--storage", "small", "--wait")
	filler := filepath.Join(small, "filler")
	if err := os.WriteFile(filler, make([]byte, 96<<20-300<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	h.refuses(10, []string{"small"}, "vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--disk", "128MiB,datastore=small", "--wait", "--timeout", "8s")
	if out := h.Must("explain", "vm", "web"); !strings.Contains(out, "no space left on device; free some there") {
		t.Errorf("explain does not say it: %s", out)
	}
	if log, _ := os.ReadFile(filepath.Join(h.State, "virga.log")); strings.Count(string(log), "no space left") > 20 {
		t.Error("the full disk is tried again and again without a pause")
	}
	for _, folder := range []string{"volumes", ".partial"} {
		if left, _ := os.ReadDir(filepath.Join(small, folder)); len(left) > 0 {
			t.Errorf("%s holds %v", folder, left)
		}
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	h.Eventually(90*time.Second, "the VM runs after the disk was freed", func() bool { return h.phase("web") == "running" })
	h.Must("vm", "delete", "web", "--wait")
}

func TestSwitchDaemonsThatAreKilledComeBackUnderAGuest(t *testing.T) {
	c := New(t, 1)
	c.Start()
	h := c.Hosts[0]
	h.ImportTiny()
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--wait")
	g := h.Guest("web")
	g.Wait(boot, `VIRGA-READY web `)
	bootID := g.Must(boot, "cat /proc/sys/kernel/random/boot_id")
	for _, file := range []string{"ovs/ovs-vswitchd.pid", "ovs/ovn-controller.pid", "ovn/ovn-northd.pid"} {
		data, err := os.ReadFile(filepath.Join(h.Run, file))
		pid, bad := strconv.Atoi(strings.TrimSpace(string(data)))
		if err != nil || bad != nil || pid < 2 {
			t.Fatalf("%s: %q, %v", file, data, err)
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		h.Eventually(30*time.Second, file+" names a new process", func() bool {
			data, _ := os.ReadFile(filepath.Join(h.Run, file))
			now, _ := strconv.Atoi(strings.TrimSpace(string(data)))
			return now > 1 && now != pid && syscall.Kill(now, 0) == nil
		})
		back := false
		for begun := time.Now(); !back && time.Since(begun) < time.Minute; {
			_, back = g.Run(boot, "ping -c 1 -W 1 10.20.0.1")
		}
		if !back {
			t.Fatalf("a minute after %s was killed the gateway does not answer\n%s", file, h.tail())
		}
	}
	if now := g.Must(boot, "cat /proc/sys/kernel/random/boot_id"); now != bootID {
		t.Error("the guest was started again")
	}
	if h.phase("web") != "running" {
		t.Errorf("the VM is %s", h.phase("web"))
	}
}

func TestARecordThatNobodyUnderstandsIsToldAndLeftAlone(t *testing.T) {
	c := New(t, 1)
	c.Start()
	h := c.Hosts[0]
	h.Must("down", "--state", h.State)
	strange := []store.Change{
		{Key: resource.Ref{Kind: "teapot", Project: "default", ID: resource.NewID()}, Op: store.Put, Value: []byte(`{"kind":"teapot"}`), Expect: store.Absent},
		{Key: resource.Ref{Kind: "vm", Project: "default", ID: resource.NewID()}, Op: store.Put, Value: []byte(`{"spec": {"cpus"`), Expect: store.Absent},
	}
	open := func() *etcd.Store {
		t.Helper()
		s, err := etcd.Open(t.Context(), etcd.Config{Dir: filepath.Join(h.State, "store"), Run: h.Run})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	s := open()
	_, err := s.Commit(t.Context(), strange...)
	s.Close()
	if err != nil {
		t.Fatal(err)
	}
	h.Up()
	h.Must("vm", "list")
	h.Eventually(10*time.Second, "the log names both records", func() bool {
		log, _ := os.ReadFile(filepath.Join(h.State, "virga.log"))
		return strings.Contains(string(log), string(strange[0].Key.ID)) && strings.Contains(string(log), string(strange[1].Key.ID))
	})
	h.Must("down", "--state", h.State)
	s = open()
	for _, change := range strange {
		if e, err := s.Get(t.Context(), change.Key); err != nil || string(e.Value) != string(change.Value) {
			t.Errorf("%s is now %s, %v", change.Key, e.Value, err)
		}
	}
	s.Close()
	h.Up()
}

// TestAHostFindsItsWayBackThroughASwitchThatHasDied: the host's NIC lies in the switch, and so does
// its way to the servers. With the daemon and all of the switch dead, nothing can be asked of them.
func TestAHostFindsItsWayBackThroughASwitchThatHasDied(t *testing.T) {
	c := New(t, 2)
	c.Start()
	h, other := c.Hosts[0], c.Hosts[1]
	for _, pid := range pids(other.NS) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	h.Eventually(time.Minute, "h2 is unreachable", func() bool { return strings.Count(h.lives(), "alive") == 1 })
	other.Up()
	h.Eventually(time.Minute, "h2 is back", func() bool { return strings.Count(h.lives(), "alive") == 2 })
}
