package lab

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute/image/tiny"
)

// Cloud is a lab cloud.
type Cloud struct {
	t      testing.TB
	binary string
	dir    string
	prefix string
	Hosts  []*Host
}

// Host is a host of it.
type Host struct {
	cloud             *Cloud
	Name, NS, Address string
	State, Run        string
}

// Outside is an address of the world.
const Outside = "203.0.113.1"

// New makes n hosts and the link between them; the cloud is not started yet. It skips the test,
// with the reason, where the host lacks something.
func New(t testing.TB, n int) *Cloud {
	t.Helper()
	need(t)
	sweep()
	c := &Cloud{t: t, prefix: fmt.Sprintf("vl%d-", os.Getpid()), binary: Binary(t)}
	c.dir = labFolder(os.Getpid())
	if err := os.MkdirAll(c.dir, 0o711); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.remove)
	c.underlay()
	for i := 1; i <= n; i++ {
		c.addHost(i)
	}
	return c
}

// labFolder has a short name: the paths of sockets may have 107 bytes.
func labFolder(pid int) string { return filepath.Join(os.TempDir(), fmt.Sprintf("vl%d", pid)) }

func need(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("the lab makes namespaces and switches: it needs root")
	}
	for _, program := range []string{"ip", "nsenter", "qemu-system-x86_64", "qemu-img", "ovs-vswitchd", "ovsdb-server", "ovn-northd", "ovn-controller", "nft"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("the lab needs %s: make setup", program)
		}
	}
}

// Binary builds virga once for all stories of a run.
func Binary(t testing.TB) string {
	t.Helper()
	if built := os.Getenv("VIRGA_BINARY"); built != "" {
		return built
	}
	path := labFolder(os.Getpid()) + "-virga"
	if _, err := os.Stat(path); err == nil {
		return path
	}
	out, err := exec.Command("go", "build", "-o", path, "github.com/virga-cloud/virga/cmd/virga").CombinedOutput()
	if err != nil {
		t.Fatalf("build virga: %v\n%s", err, out)
	}
	return path
}

// TinyImage builds the tiny image once for all stories; the hosts of the lab reach no mirror.
func TinyImage(t testing.TB) string {
	t.Helper()
	path := labFolder(os.Getpid()) + "-tiny.qcow2"
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		cache = os.TempDir()
	}
	if err := tiny.Build(t.Context(), path, tiny.Options{Cache: filepath.Join(cache, "virga")}); err != nil {
		t.Fatalf("build the tiny image: %v", err)
	}
	return path
}

// ImportTiny gives the cloud the image "tiny".
func (h *Host) ImportTiny() {
	h.cloud.t.Helper()
	h.Must("image", "import", "tiny", "--file", TinyImage(h.cloud.t), "--wait")
}

func (c *Cloud) underlay() {
	u, o := c.prefix+"u", c.prefix+"o"
	c.must("ip", "netns", "add", u)
	c.must("ip", "netns", "add", o)
	c.must("ip", "-n", u, "link", "add", "br0", "type", "bridge")
	c.must("ip", "-n", u, "link", "set", "br0", "up")
	c.must("ip", "link", "add", "e0", "netns", o, "type", "veth", "peer", "name", "po", "netns", u)
	c.must("ip", "-n", u, "link", "set", "po", "master", "br0", "up")
	c.must("ip", "-n", o, "link", "set", "lo", "up")
	c.must("ip", "-n", o, "addr", "add", Outside+"/32", "dev", "lo")
	c.must("ip", "-n", o, "addr", "add", "192.168.77.254/24", "dev", "e0")
	c.must("ip", "-n", o, "link", "set", "e0", "up")
	c.must("nsenter", "--net=/run/netns/"+o, "ethtool", "-K", "e0", "tx", "off")
}

func (c *Cloud) addHost(i int) {
	h := &Host{cloud: c, Name: fmt.Sprintf("h%d", i), NS: fmt.Sprintf("%sh%d", c.prefix, i), Address: fmt.Sprintf("192.168.77.%d", i)}
	h.State, h.Run = filepath.Join(c.dir, h.Name, "s"), filepath.Join(c.dir, h.Name, "r")
	port := fmt.Sprintf("p%d", i)
	c.must("ip", "netns", "add", h.NS)
	c.must("ip", "link", "add", "ul0", "netns", h.NS, "type", "veth", "peer", "name", port, "netns", c.prefix+"u")
	c.must("ip", "-n", c.prefix+"u", "link", "set", port, "master", "br0", "up")
	c.must("ip", "-n", h.NS, "link", "set", "lo", "up")
	c.must("ip", "-n", h.NS, "addr", "add", h.Address+"/24", "dev", "ul0")
	c.must("ip", "-n", h.NS, "link", "set", "ul0", "up")
	// A switch in user space cannot finish the checksums that this NIC would leave to hardware.
	c.must("nsenter", "--net=/run/netns/"+h.NS, "ethtool", "-K", "ul0", "tx", "off")
	c.must("ip", "-n", h.NS, "route", "add", "default", "via", "192.168.77.254")
	c.Hosts = append(c.Hosts, h)
}

// Start starts the first host as the server and joins the others.
func (c *Cloud) Start() {
	c.t.Helper()
	first := c.Hosts[0]
	first.Up()
	for _, h := range c.Hosts[1:] {
		token := strings.TrimSpace(first.Must("host", "token", "-o", "name"))
		h.Join(token)
	}
	for _, h := range c.Hosts {
		first.Eventually(30*time.Second, "host "+h.Name+" is alive", func() bool {
			out, err := first.Virga("host", "show", h.Name)
			return err == nil && strings.Contains(out, "alive")
		})
	}
}

// Up starts the host's daemon, as the server of a new cloud or as what it was before.
func (h *Host) Up() {
	h.cloud.t.Helper()
	h.Must("up", "--state", h.State, "--name", h.Name, "--address", h.Address, "--listen", h.Address+":7443", "--uplink", "ul0")
}

// Join makes the host part of the cloud.
func (h *Host) Join(token string) {
	h.cloud.t.Helper()
	h.Must("join", token, "--state", h.State, "--name", h.Name, "--address", h.Address, "--uplink", "ul0")
}

// Command prepares a program inside the host's namespace.
func (h *Host) Command(ctx context.Context, program string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "nsenter", append([]string{"--net=/run/netns/" + h.NS, program}, args...)...)
	return cmd
}

// Virga runs the command line on the host.
func (h *Host) Virga(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := h.Command(ctx, h.cloud.binary, append(args, "--run", h.Run)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if err != nil {
		err = fmt.Errorf("virga %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(errs.String()))
	}
	return out.String(), err
}

// Must is Virga that ends the test on an error.
func (h *Host) Must(args ...string) string {
	h.cloud.t.Helper()
	out, err := h.Virga(args...)
	if err != nil {
		h.cloud.t.Fatalf("on %s: %v\n%s", h.Name, err, h.tail())
	}
	return out
}

// Exec runs a program in the host's namespace.
func (h *Host) Exec(program string, args ...string) (string, error) {
	out, err := h.Command(context.Background(), program, args...).CombinedOutput()
	return string(out), err
}

// PID is the host's daemon.
func (h *Host) PID() int { return h.pidIn("virga.pid") }

func (h *Host) pidIn(file string) int {
	data, _ := os.ReadFile(filepath.Join(h.Run, file))
	pid, _, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	n, _ := strconv.Atoi(pid)
	return n
}

// Kill9 kills the daemon, and first what would start another.
func (h *Host) Kill9() {
	h.cloud.t.Helper()
	kill9(h.pidIn("supervisor.pid"))
	kill9(h.PID())
}

func kill9(pid int) {
	if pid <= 1 {
		return
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	for end := time.Now().Add(10 * time.Second); alive(pid) && time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
	}
}

// alive reports whether a process is there and no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !bytes.Contains(stat, []byte(") Z "))
}

// Eventually waits for a fact; the test ends when it does not come.
func (h *Host) Eventually(within time.Duration, what string, is func() bool) {
	h.cloud.t.Helper()
	for end := time.Now().Add(within); !is(); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(end) {
			h.cloud.t.Fatalf("on %s, after %v it is still not true that %s\n%s", h.Name, within, what, h.tail())
		}
	}
}

// tail is the end of the daemon's log, for the report of a failure.
func (h *Host) tail() string {
	data, _ := os.ReadFile(filepath.Join(h.State, "virga.log"))
	lines := strings.Split(string(data), "\n")
	if len(lines) > 40 {
		lines = lines[len(lines)-40:]
	}
	return "log of " + h.Name + ":\n" + strings.Join(lines, "\n")
}

func (c *Cloud) must(program string, args ...string) {
	c.t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		c.t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
}

// remove ends the cloud the proper way, and then whatever did not end.
func (c *Cloud) remove() {
	if c.t.Failed() && len(c.Hosts) > 0 {
		c.explain()
		if pause, err := time.ParseDuration(os.Getenv("VIRGA_LAB_PAUSE")); err == nil {
			c.t.Logf("paused for %v: look around in %s", pause, c.dir)
			time.Sleep(pause)
		}
	}
	for _, h := range c.Hosts {
		if c.t.Failed() {
			c.t.Log(h.tail())
		}
		if _, err := os.Stat(h.State); err == nil {
			if _, err := h.Virga("down", "--all", "--force", "--state", h.State); err != nil {
				c.t.Errorf("on %s: %v", h.Name, err)
			}
		}
		if left := pids(h.NS); len(left) > 0 {
			c.t.Errorf("%s left processes behind: %v", h.Name, describe(left))
		}
	}
	wipe(c.prefix)
	removeFolder(c.dir)
}

// explain tells what the cloud itself says of its VMs, for the report of a failure.
func (c *Cloud) explain() {
	first := c.Hosts[0]
	names, _ := first.Virga("vm", "list", "-o", "name")
	for i, name := range strings.Fields(names) {
		if i == 10 {
			break
		}
		out, _ := first.Virga("explain", "vm", name)
		c.t.Log(out)
	}
}

// sweep removes what killed runs have left.
func sweep() {
	entries, _ := os.ReadDir("/run/netns")
	for _, e := range entries {
		name, _, ok := strings.Cut(e.Name(), "-")
		pid, err := strconv.Atoi(strings.TrimPrefix(name, "vl"))
		if !ok || !strings.HasPrefix(name, "vl") || err != nil || syscall.Kill(pid, 0) == nil {
			continue
		}
		wipe(name + "-")
		removeFolder(labFolder(pid))
	}
}

func wipe(prefix string) {
	entries, _ := os.ReadDir("/run/netns")
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), prefix) {
			continue
		}
		for _, pid := range pids(e.Name()) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		_ = exec.Command("ip", "netns", "del", e.Name()).Run()
	}
}

// removeFolder removes a lab's folder, and what killed daemons have left mounted in it.
func removeFolder(dir string) {
	mounts, _ := os.ReadFile("/proc/mounts")
	for _, line := range strings.Split(string(mounts), "\n") {
		if words := strings.Fields(line); len(words) > 1 && strings.HasPrefix(words[1], dir+"/") {
			_ = syscall.Unmount(words[1], syscall.MNT_DETACH)
		}
	}
	_ = os.RemoveAll(dir)
}

func pids(ns string) []int {
	out, _ := exec.Command("ip", "netns", "pids", ns).Output()
	var all []int
	for _, word := range strings.Fields(string(out)) {
		if pid, err := strconv.Atoi(word); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

func describe(all []int) []string {
	var out []string
	for _, pid := range all {
		line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		out = append(out, fmt.Sprintf("%d %s", pid, bytes.ReplaceAll(line, []byte{0}, []byte(" "))))
	}
	return out
}
