package ovs_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network/onhost"
)

// A space is a network namespace that lives as long as one thread.
type space struct {
	calls chan func()
	ended chan struct{}
	path  string
}

func newSpace(t *testing.T) *space {
	t.Helper()
	s := &space{calls: make(chan func()), ended: make(chan struct{})}
	up := make(chan error)
	go func() {
		defer close(s.ended)
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNET)
		s.path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		up <- err
		for call := range s.calls {
			call()
		}
	}()
	if err := <-up; err != nil {
		t.Skipf("network namespaces cannot be made here: %v", err)
	}
	t.Cleanup(func() { close(s.calls); <-s.ended })
	s.do(func() { _ = netlink.LinkSetUp(must(netlink.LinkByName("lo"))) })
	return s
}

func (s *space) do(fn func()) {
	done := make(chan any)
	s.calls <- func() {
		defer func() { done <- recover() }()
		fn()
	}
	if p := <-done; p != nil {
		panic(p)
	}
}

func (s *space) fd() netlink.NsFd {
	return netlink.NsFd(must(unix.Open(s.path, unix.O_RDONLY|unix.O_CLOEXEC, 0)))
}

// run runs a program inside and gives what it said.
func (s *space) run(words ...string) (out string, err error) {
	cmd := exec.Command(words[0], words[1:]...)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	s.do(func() { err = cmd.Start() })
	if err == nil {
		err = cmd.Wait()
	}
	return said.String(), err
}

func (s *space) dial(ctx context.Context, network, address string) (conn net.Conn, err error) {
	s.do(func() { conn, err = (&net.Dialer{Timeout: 3 * time.Second}).DialContext(ctx, network, address) })
	return conn, err
}

// pings says how many of n pings, one every 10 ms, had no answer.
func (s *space) pings(n int, address string) int {
	out, _ := s.run("ping", "-n", "-q", "-i", "0.01", "-c", fmt.Sprint(n), "-W", "1", address)
	var sent, received int
	for line := range strings.Lines(out) {
		if strings.Contains(line, "packets transmitted") {
			fmt.Sscanf(strings.ReplaceAll(line, ",", ""), "%d packets transmitted %d received", &sent, &received)
		}
	}
	return n - received
}

// reaches tries for some seconds: the first packets may wait for neighbours and tunnels.
func (s *space) reaches(address string) bool {
	for range 20 {
		if s.pings(1, address) == 0 {
			return true
		}
		time.Sleep(100 * time.Millisecond)
	}
	return false
}

// plugIn joins a tap on a host with a tap of the same kind in a namespace, as a QEMU process does
// with its guest: every frame goes through this process.
func plugIn(t *testing.T, h *space, device, mac string, guest *space) {
	t.Helper()
	hostEnd := openTap(t, h, device)
	guestEnd := openTap(t, guest, "eth0")
	guest.do(func() {
		link := must(netlink.LinkByName("eth0"))
		check(t, netlink.LinkSetHardwareAddr(link, must(net.ParseMAC(mac))))
		check(t, netlink.LinkSetMTU(link, 1442))
		check(t, netlink.LinkSetUp(link))
	})
	copyFrames := func(to, from *os.File) {
		buffer := make([]byte, 65536)
		for {
			n, err := from.Read(buffer)
			if err != nil {
				return
			}
			_, _ = to.Write(buffer[:n])
		}
	}
	go copyFrames(hostEnd, guestEnd)
	go copyFrames(guestEnd, hostEnd)
}

func openTap(t *testing.T, s *space, name string) *os.File {
	t.Helper()
	var file *os.File
	s.do(func() {
		fd := must(unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0))
		request := must(unix.NewIfreq(name))
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		check(t, unix.IoctlIfreq(fd, unix.TUNSETIFF, request))
		file = os.NewFile(uintptr(fd), "tap "+name)
	})
	t.Cleanup(func() { file.Close() })
	return file
}

func address(t *testing.T, s *space, device, cidr string) {
	t.Helper()
	s.do(func() {
		link := must(netlink.LinkByName(device))
		check(t, netlink.AddrReplace(link, must(netlink.ParseAddr(cidr))))
		check(t, netlink.LinkSetUp(link))
	})
}

func route(t *testing.T, s *space, to, via string) {
	t.Helper()
	s.do(func() {
		_, dst, err := net.ParseCIDR(to)
		check(t, err)
		check(t, netlink.RouteReplace(&netlink.Route{Dst: dst, Gw: net.ParseIP(via)}))
	})
}

// onThread calls a switch on the thread of its host.
type onThread struct {
	sw onhost.Switch
	h  *space
}

func (o onThread) Setup(ctx context.Context) (err error) {
	o.h.do(func() { err = o.sw.Setup(ctx) })
	return err
}

func (o onThread) EnsurePort(ctx context.Context, p onhost.Port) (at onhost.Attached, err error) {
	o.h.do(func() { at, err = o.sw.EnsurePort(ctx, p) })
	return at, err
}

func (o onThread) RemovePort(ctx context.Context, id resource.ID) (err error) {
	o.h.do(func() { err = o.sw.RemovePort(ctx, id) })
	return err
}

func (o onThread) ListPorts(ctx context.Context) (out []onhost.Attached, err error) {
	o.h.do(func() { out, err = o.sw.ListPorts(ctx) })
	return out, err
}

func (o onThread) EnsureService(ctx context.Context, s onhost.Service) (p onhost.Place, err error) {
	o.h.do(func() { p, err = o.sw.EnsureService(ctx, s) })
	return p, err
}

func (o onThread) RemoveService(ctx context.Context, id resource.ID) (err error) {
	o.h.do(func() { err = o.sw.RemoveService(ctx, id) })
	return err
}

func (o onThread) ListServices(ctx context.Context) (out []resource.ID, err error) {
	o.h.do(func() { out, err = o.sw.ListServices(ctx) })
	return out, err
}

func (o onThread) Teardown(ctx context.Context) (err error) {
	o.h.do(func() { err = o.sw.Teardown(ctx) })
	return err
}

// folder makes a short folder, and a watchman that ends its daemons should this process be killed.
func folder(t *testing.T) string {
	t.Helper()
	dir := must(os.MkdirTemp("/tmp", "vn"))
	watchman := exec.Command("sh", "-c", `cat >/dev/null; for p in /proc/[0-9]*; do grep -qa -e "--log-file=$0/" $p/cmdline && kill -9 ${p#/proc/}; done; for m in $(grep -o "$0[^ ]*" /proc/self/mounts); do umount -l $m; done; rm -rf "$0"`, dir)
	watchman.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	in := must(watchman.StdinPipe())
	check(t, watchman.Start())
	t.Cleanup(func() {
		if t.Failed() {
			logs, _ := filepath.Glob(dir + "/*/*/*.log")
			for _, l := range logs {
				if data, _ := os.ReadFile(l); len(data) > 0 {
					t.Logf("%s:\n%s", l, data[max(0, len(data)-2000):])
				}
			}
		}
		in.Close()
		_ = watchman.Wait()
	})
	return dir
}

func needs(t *testing.T, programs ...string) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root for namespaces and taps")
	}
	if testing.Short() {
		t.Skip("starts real daemons")
	}
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
	if _, err := os.Stat("/dev/net/tun"); err != nil {
		t.Skip("there is no /dev/net/tun")
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
