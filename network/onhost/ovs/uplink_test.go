package ovs_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/onhost/ovs"
)

// uplinked is a host with a NIC, and a switch that takes it over.
type uplinked struct {
	t        *testing.T
	h, world *space
	config   ovs.Config
	on       onThread
}

func newUplinked(t *testing.T) *uplinked {
	needs(t, programs...)
	u := &uplinked{t: t, h: newSpace(t), world: newSpace(t)}
	u.h.do(func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "nic0"
		fd := u.world.fd()
		defer unix.Close(int(fd))
		check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "far", PeerNamespace: fd}))
	})
	u.must(u.world, "ip address add 192.168.77.254/24 dev far", "ip address add fd00:77::fe/64 dev far nodad", "ip link set far up", "ethtool -K far tx off")
	u.must(u.h, "ip link set nic0 up")
	dir := folder(t)
	u.config = ovs.Config{HostID: resource.NewID(), Hostname: "h1", State: dir + "/h", Run: dir + "/h", Datapath: host.NetdevDatapath,
		Remote: "unix:" + dir + "/none.sock", TunnelAddress: "192.168.77.1", Uplink: "nic0",
		Outside: network.OutsideGateway + "/16", OutsideMAC: network.OutsideGatewayMAC, ExternalNetwork: "outside"}
	u.start()
	t.Cleanup(func() { check(t, u.on.Teardown(context.WithoutCancel(t.Context()))) })
	return u
}

// start makes a switch of the next daemon.
func (u *uplinked) start() {
	sw := must(ovs.New(u.config))
	u.t.Cleanup(sw.Close)
	u.on = onThread{sw, u.h}
}

func (u *uplinked) setup() { u.t.Helper(); check(u.t, u.on.Setup(u.t.Context())) }

// follow runs what the daemon runs beside, on a thread in the host's namespace.
func (u *uplinked) follow() {
	ctx, cancel := context.WithCancel(u.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		fd := must(unix.Open(u.h.path, unix.O_RDONLY|unix.O_CLOEXEC, 0))
		defer unix.Close(fd)
		if err := unix.Setns(fd, unix.CLONE_NEWNET); err != nil {
			panic(err)
		}
		u.on.sw.(*ovs.Switch).Follow(ctx)
	}()
	u.t.Cleanup(func() { cancel(); <-done })
	time.Sleep(50 * time.Millisecond) // it listens
}

func (u *uplinked) must(s *space, commands ...string) {
	u.t.Helper()
	for _, c := range commands {
		if out, err := s.run(strings.Fields(c)...); err != nil {
			u.t.Fatalf("%s: %v: %s", c, err, out)
		}
	}
}

var passing = regexp.MustCompile(` expires \d+sec|(valid_lft|preferred_lft) \d+sec`)

// of tells the addresses, routes and settings of a device, as text that can be compared.
func (u *uplinked) of(device string) string {
	var lines []string
	for _, c := range []string{"ip -d -o address show dev " + device, "ip -d -4 route show table all", "ip -d -6 route show table all"} {
		out, _ := u.h.run(strings.Fields(c)...)
		for line := range strings.Lines(out) {
			line = strings.Join(strings.Fields(strings.ReplaceAll(line, "\\", " ")), " ")
			if strings.Contains(line, "link") && strings.Contains(line, "inet6 fe80") || strings.Contains(line, "fe80::") || strings.Contains(line, "ff00::") ||
				strings.Contains(line, "table local") || !strings.Contains(line+" ", device+" ") {
				continue
			}
			_, line, _ = cutNumber(line)
			line = strings.ReplaceAll(passing.ReplaceAllString(line, "$1"), " linkdown", "")
			lines = append(lines, line)
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// cutNumber takes the number of the device from the line of an address.
func cutNumber(line string) (string, string, bool) {
	if before, after, ok := strings.Cut(line, ": "); ok {
		if _, err := strconv.Atoi(before); err == nil {
			return before, after, true
		}
	}
	return "", line, false
}

// furnish gives the NIC all that a NIC may have.
func (u *uplinked) furnish() {
	u.must(u.h,
		"ip address add 192.168.77.1/24 brd + dev nic0 metric 50",
		"ip address add 192.168.77.5/24 dev nic0 label nic0:five",
		"ip address add 10.9.0.2/24 dev nic0 valid_lft 3600 preferred_lft 1800",
		"ip address add 10.8.0.1 peer 10.8.0.2/32 dev nic0",
		"ip address add 10.7.0.1/24 dev nic0 noprefixroute",
		"ip address add fd00:77::1/64 dev nic0 nodad",
		"ip address add fd00:78::1/64 dev nic0 nodad noprefixroute valid_lft 7200 preferred_lft 3600",
		"ip route add default via 192.168.77.254 dev nic0 metric 100",
		"ip route add 10.1.0.0/16 via 192.168.77.254 src 192.168.77.5",
		"ip route add 10.2.0.0/16 via 172.16.0.1 dev nic0 onlink",
		"ip route add 10.3.0.0/16 dev nic0 scope link mtu 1400 initcwnd 20",
		"ip route add default via 192.168.77.254 dev nic0 table 77 proto static",
		"ip route add 10.4.0.0/16 nexthop via 192.168.77.254 weight 2 nexthop via 192.168.77.253",
		"ip -6 route add default via fd00:77::fe dev nic0 metric 200",
		"ip -6 route add fd00:99::/64 via fd00:77::fe dev nic0 table 77",
	)
}

func (u *uplinked) expectMoved(before string) {
	u.t.Helper()
	if left := u.of("nic0"); left != "" {
		u.t.Errorf("the NIC still has\n%s", left)
	}
	// A lease has no end on the bridge, and a label is the NIC's own.
	want := strings.ReplaceAll(before, "nic0:five", "nic0")
	want = strings.ReplaceAll(strings.ReplaceAll(want, "nic0", "br-ul"), "brd 10.9.0.255 ", "")
	if got := u.of("br-ul"); normal(got) != normal(want) {
		u.t.Errorf("the bridge has\n%s\nwanted is\n%s", got, want)
	}
	for _, to := range []string{"192.168.77.254", "fd00:77::fe"} {
		if !u.h.reaches(to) {
			u.t.Errorf("the host does not reach %s by the bridge", to)
		}
	}
}

// normal is a text without what differs by intent, or by when it is looked at.
func normal(text string) string {
	for _, word := range []string{" dynamic", " valid_lft forever", " preferred_lft forever", " valid_lft", " preferred_lft", " nodad", " brd 10.9.0.255", " tentative"} {
		text = strings.ReplaceAll(text, word, "")
	}
	lines := strings.Split(text, "\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

func (u *uplinked) expectBack(before string) {
	u.t.Helper()
	if after := u.of("nic0"); strings.ReplaceAll(after, " nodad", "") != strings.ReplaceAll(before, " nodad", "") {
		u.t.Errorf("the NIC has now\n%s\nbefore it had\n%s", after, before)
	}
	for _, to := range []string{"192.168.77.254", "fd00:77::fe"} {
		if !u.h.reaches(to) {
			u.t.Errorf("the host does not reach %s by its NIC", to)
		}
	}
	if _, err := os.Stat(filepath.Join(u.config.State, "ovs", "uplink.json")); !os.IsNotExist(err) {
		u.t.Errorf("what was taken is still written down: %v", err)
	}
}

func TestAllThatANICHasMovesAndComesBack(t *testing.T) {
	u := newUplinked(t)
	u.furnish()
	before := u.of("nic0")
	u.setup()
	u.expectMoved(before)
	u.setup()
	u.start() // the next daemon
	u.setup()
	u.expectMoved(before)
	check(t, u.on.Teardown(t.Context()))
	u.expectBack(before)
	if out, _ := u.h.run("ethtool", "-k", "nic0"); !strings.Contains(out, "tx-checksumming: on") {
		t.Error("the NIC no longer calculates checksums")
	}
	u.setup() // and again
	u.expectMoved(before)
}

// TestANICThatWasHalfTakenIsTakenOrGivenBackWhole puts things back where they were before: as a
// daemon leaves them that dies in between.
func TestANICThatWasHalfTakenIsTakenOrGivenBackWhole(t *testing.T) {
	for _, next := range []string{"setup", "teardown"} {
		t.Run(next, func(t *testing.T) {
			u := newUplinked(t)
			u.furnish()
			before := u.of("nic0")
			u.setup()
			u.must(u.h, "sysctl -q -w net.ipv6.conf.nic0.disable_ipv6=0",
				"ip address del 10.7.0.1/24 dev br-ul", "ip address add 10.7.0.1/24 dev nic0 noprefixroute",
				"ip -6 route del default dev br-ul", "ip address add fd00:78::1/64 dev nic0 nodad noprefixroute valid_lft 7200 preferred_lft 3600")
			u.start()
			if next == "setup" {
				u.setup()
				u.expectMoved(before)
			}
			check(t, u.on.Teardown(t.Context()))
			u.expectBack(before)
		})
	}
}

// TestAFileOfTheUplinkThatCannotBeReadCostsNoAddress has the form of the first builds, damage of all
// kinds, and a bridge that has gone as well.
func TestAFileOfTheUplinkThatCannotBeReadCostsNoAddress(t *testing.T) {
	const first = `{"nic":"nic0","addresses":["192.168.77.1/24"]}`
	for name, c := range map[string]struct {
		file, next string
		gone       bool
	}{
		"the first form, torn down":        {file: first, next: "teardown"},
		"the first form, set up":           {file: first, next: "setup"},
		"the first form, without a bridge": {file: first, next: "teardown", gone: true},
		"half of a file":                   {file: `{"device":"ca`, next: "teardown"},
		"an empty file, set up":            {file: "", next: "setup"},
		"half of a file, without a bridge": {file: `{"device":"ca`, next: "refused", gone: true},
	} {
		t.Run(name, func(t *testing.T) {
			u := newUplinked(t)
			u.must(u.h, "ip address add 192.168.77.1/24 dev nic0", "ip address add fd00:77::1/64 dev nic0 nodad",
				"ip route add default via 192.168.77.254 dev nic0 metric 100", "ip route add 10.1.0.0/16 via 192.168.77.254")
			before := u.of("nic0")
			u.setup()
			u.expectMoved(before)
			file := filepath.Join(u.config.State, "ovs", "uplink.json")
			check(t, os.WriteFile(file, []byte(c.file), 0o600))
			if c.gone {
				u.must(u.h, "ip link delete br-ul")
			}
			u.start()
			if c.next == "setup" {
				u.setup()
				u.expectMoved(before)
			}
			err := u.on.Teardown(t.Context())
			if c.next == "refused" {
				if err == nil || !strings.Contains(err.Error(), "give the NIC its addresses and routes, then remove that file") {
					t.Errorf("torn down with %v", err)
				}
				u.must(u.h, "ip address add 192.168.77.1/24 dev nic0")
				check(t, os.Remove(file))
				return
			}
			check(t, err)
			if after := u.of("nic0"); after != before && !c.gone {
				t.Errorf("the NIC has now\n%s\nbefore it had\n%s", after, before)
			}
			if !u.h.reaches("192.168.77.254") {
				t.Error("the host does not reach the world by its NIC")
			}
		})
	}
}

func TestAfterARebootNothingStaleIsGivenBack(t *testing.T) {
	u := newUplinked(t)
	u.furnish()
	u.setup()
	// A reboot: the switch is gone, the NIC is made anew and configured by the system.
	check(t, u.on.Teardown(t.Context()))
	u.must(u.h, "ip address flush dev nic0", "ip address add 192.168.77.9/24 dev nic0")
	u.setup()
	file := filepath.Join(u.config.State, "ovs", "uplink.json")
	var record map[string]any
	check(t, json.Unmarshal(must(os.ReadFile(file)), &record))
	stale := must(os.ReadFile(file))
	check(t, u.on.Teardown(t.Context()))
	u.must(u.h, "ip address flush dev nic0", "ip address add 192.168.77.1/24 dev nic0")
	text := strings.Replace(string(stale), record["boot"].(string), "another", 1)
	check(t, os.WriteFile(file, []byte(text), 0o600))
	u.setup()
	check(t, u.on.Teardown(t.Context()))
	if out := u.of("nic0"); strings.Contains(out, "192.168.77.9") || !strings.Contains(out, "192.168.77.1/24") {
		t.Errorf("after the reboot the NIC has\n%s", out)
	}
}

func (u *uplinked) eventually(what string, is func() bool) {
	u.t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			u.t.Fatalf("it is still not true that %s; the NIC has\n%s\nand the bridge\n%s", what, u.of("nic0"), u.of("br-ul"))
		}
	}
}

func TestAKilledSwitchLeavesTheHostItsAddresses(t *testing.T) {
	u := newUplinked(t)
	u.furnish()
	before := u.of("nic0")
	u.setup()
	u.h.do(func() { check(t, killed(filepath.Join(u.config.Run, "ovs", "ovs-vswitchd.pid"))) })
	u.setup()
	u.eventually("the host reaches its gateway", func() bool { return u.h.pings(1, "192.168.77.254") == 0 })
	u.expectMoved(before)
}

// killed ends a daemon by force and waits for its end.
func killed(file string) error {
	pid, err := strconv.Atoi(strings.TrimSpace(string(must(os.ReadFile(file)))))
	if err == nil && pid < 2 {
		err = fmt.Errorf("%s names process %d", file, pid)
	}
	if err == nil {
		err = syscall.Kill(pid, syscall.SIGKILL)
	}
	for err == nil {
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid)); len(line) == 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	return err
}

const leaseScript = `#!/bin/sh
case "$1" in
deconfig) ip -4 address flush dev "$interface" ;;
bound|renew)
	ip address replace "$ip/$mask" dev "$interface" valid_lft "$lease" preferred_lft "$lease"
	ip route replace default via "$router" dev "$interface" metric 100
	echo "$1" >>"$0.log" ;;
esac
`

func TestALeaseIsKeptRenewedAndGivenBack(t *testing.T) {
	u := newUplinked(t)
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Skip("busybox is not installed")
	}
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(text), 0o755))
		return path
	}
	file("leases", "")
	server := file("server", fmt.Sprintf("start 192.168.77.100\nend 192.168.77.100\ninterface far\nlease_file %[1]s/leases\npidfile %[1]s/server.pid\nopt subnet 255.255.255.0\nopt router 192.168.77.254\nopt lease 600\n", dir))
	script := file("script", leaseScript)
	client := u.background(u.h, busybox, "udhcpc", "-f", "-i", "nic0", "-s", script)
	u.background(u.world, busybox, "udhcpd", "-f", server)
	u.eventually("the NIC has a lease", func() bool { return strings.Contains(u.of("nic0"), "default via") })
	before := u.of("nic0")
	u.config.TunnelAddress = "192.168.77.100"
	u.start()
	u.setup()
	u.follow()
	onBridge := func() bool {
		return !strings.Contains(u.of("nic0"), "inet ") && strings.Contains(u.of("br-ul"), "inet 192.168.77.100/24")
	}
	if !onBridge() || !u.h.reaches("192.168.77.254") {
		t.Fatalf("the bridge has not taken the lease:\n%s", u.of("br-ul"))
	}
	if out := u.of("br-ul"); !strings.Contains(out, "valid_lft forever") {
		t.Errorf("the lease ends on the bridge though nobody renews it there:\n%s", out)
	}

	// The client goes on by its NIC; what it gets there belongs on the bridge.
	for try := 0; try < 5; try++ { // the first asks the server alone, which no route leads to by the NIC; the next asks all
		check(t, client.Process.Signal(syscall.SIGUSR1))
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if data, _ := os.ReadFile(script + ".log"); strings.Count(string(data), "\n") > 1 {
				try = 5
				break
			}
		}
	}
	if data, _ := os.ReadFile(script + ".log"); strings.Count(string(data), "\n") < 2 {
		t.Fatalf("the client has not got its lease again: %s", data)
	}
	u.eventually("the renewed lease is on the bridge", onBridge)
	check(t, u.on.Teardown(t.Context()))
	if after := u.of("nic0"); after != before {
		t.Errorf("the NIC has now\n%s\nbefore it had\n%s", after, before)
	}

	// Another lease takes the place of the first, on the bridge too. A client tells it as this one does.
	check(t, client.Process.Kill())
	u.setup()
	u.must(u.h, "ip address add 192.168.77.101/24 dev nic0 valid_lft 600 preferred_lft 600", "ip route add default via 192.168.77.254 dev nic0 metric 90")
	u.eventually("the new lease is on the bridge, alone", func() bool {
		out := u.of("br-ul")
		return u.of("nic0") == "" && strings.Contains(out, "192.168.77.101/24") && !strings.Contains(out, "192.168.77.100") && strings.Contains(out, "metric 90") && !strings.Contains(out, "metric 100")
	})
}

// background runs a program inside until the test ends.
func (u *uplinked) background(s *space, words ...string) *exec.Cmd {
	cmd := exec.Command(words[0], words[1:]...)
	s.do(func() { check(u.t, cmd.Start()) })
	u.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	})
	return cmd
}
