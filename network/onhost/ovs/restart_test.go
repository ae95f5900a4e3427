package ovs_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network/onhost"
	"github.com/virga-cloud/virga/network/onhost/ovs"
)

func TestWhatDiesComesBackAndIsAdopted(t *testing.T) {
	needs(t, programs...)
	h := newSpace(t)
	config := ovs.Config{TunnelAddress: "127.0.0.1"}
	c, ms := newCloud(t, map[*space]ovs.Config{h: config}, []*space{h})
	n, s := c.network("a", "10.20.0.0/20")
	_, x1, g1 := c.boots(n, s, ms[0], "one")
	p2, _, _ := c.boots(n, s, ms[0], "two")
	if !g1.reaches(p2.Status.Address) {
		t.Fatal("VMs of one network do not reach each other")
	}

	t.Run("ASecondDaemonAdoptsTheSwitch", func(t *testing.T) {
		config := config
		config.HostID, config.State, config.Run = ms[0].id, c.dir+"/h1", c.dir+"/h1"
		config.Remote, config.Hostname = c.central.South(), "h1"
		again := must(ovs.New(config))
		defer again.Close()
		on := onThread{again, h}
		before := pids(t, c.dir)
		lost := make(chan int)
		go func() { lost <- g1.pings(50, p2.Status.Address) }()
		check(t, on.Setup(c.ctx))
		at, err := on.EnsurePort(c.ctx, onhost.Port{PortBindingID: x1.ID, PortID: x1.Spec.PortID, MTU: 1442, UID: 65534})
		if err != nil || !at.Ready || at.Device != x1.Status.Device {
			t.Errorf("the port is not adopted: %+v %v", at, err)
		}
		check(t, c.central.Start(c.ctx))
		if n := <-lost; n > 0 {
			t.Errorf("%d pings were lost while a second daemon adopted the switch", n)
		}
		if after := pids(t, c.dir); after != before {
			t.Errorf("daemons were started anew: %s, then %s", before, after)
		}
	})
	t.Run("EveryDaemonThatIsKilledIsStartedAgain", func(t *testing.T) {
		files, _ := filepath.Glob(c.dir + "/*/*/*.pid")
		if len(files) != 6 {
			t.Fatalf("%d daemons, not 6: %v", len(files), files)
		}
		for _, f := range files {
			check(t, killed(f))
		}
		check(t, c.central.Start(c.ctx))
		check(t, ms[0].on.Setup(c.ctx))
		if !g1.reaches(p2.Status.Address) {
			t.Error("VMs do not reach each other after all daemons were killed")
		}
		// The records were not lost either: a new port comes up.
		p3 := c.port(n, s, "three")
		c.ready(c.binding(p3, ms[0], 1).ID)
	})
	t.Run("SwitchWithoutItsRunFolderIsTakenAgain", func(t *testing.T) {
		empty(t, c.dir)
		lost := make(chan int)
		go func() { lost <- g1.pings(600, p2.Status.Address) }()
		check(t, c.central.Start(c.ctx))
		check(t, ms[0].on.Setup(c.ctx))
		if n := <-lost; n == 600 || !g1.reaches(p2.Status.Address) {
			t.Errorf("VMs do not reach each other after the run folder was emptied; %d pings of 600 were lost", n)
		} else {
			t.Logf("%d pings of 600 were lost, one each 10 ms", n)
		}
		p4 := c.port(n, s, "four")
		c.ready(c.binding(p4, ms[0], 1).ID)
		if all := running(c.dir); len(all) != 6 {
			t.Errorf("%d daemons run, not 6: %q", len(all), all)
		}
	})
	t.Run("ATapThatWasMadeAnewForwards", func(t *testing.T) {
		// A host that was switched off and on has the port in its database, but no tap.
		h.do(func() { check(t, netlink.LinkDel(must(netlink.LinkByName(x1.Status.Device)))) })
		var at onhost.Attached
		c.until("the port is ready again", func() bool {
			at, _ = ms[0].on.EnsurePort(c.ctx, onhost.Port{PortBindingID: x1.ID, PortID: x1.Spec.PortID, MTU: 1442, UID: 65534})
			return at.Ready
		})
		fresh := newSpace(t)
		plugIn(t, h, at.Device, x1.Spec.MAC, fresh)
		address(t, fresh, "eth0", x1.Spec.Address+"/20")
		if !fresh.reaches(p2.Status.Address) {
			t.Error("a tap that was made anew does not forward")
		}
	})
	t.Run("ALeftoverIsSweptAway", func(t *testing.T) {
		id := resource.NewID()
		_, err := ms[0].on.EnsurePort(c.ctx, onhost.Port{PortBindingID: id, PortID: resource.NewID(), MTU: 1442})
		check(t, err)
		ports := len(must(ms[0].on.ListPorts(c.ctx)))
		check(t, onhost.Sweep(c.ctx, reconcile.Knowledge{DB: c.db}, ms[0].on))
		left := must(ms[0].on.ListPorts(c.ctx))
		if len(left) != ports-1 {
			t.Errorf("%d ports before the sweep, %d after", ports, len(left))
		}
		if services := must(ms[0].on.ListServices(c.ctx)); len(services) != 1 {
			t.Errorf("the sweep left %d services, not 1", len(services))
		}
	})
	time.Sleep(10 * time.Millisecond)
}

// empty removes what a run folder has; in these tests it is the state folder too.
func empty(t *testing.T, dir string) {
	t.Helper()
	for _, pattern := range []string{"*.pid", "*.ctl", "*.sock", "*.mgmt", "*.snoop"} {
		files := must(filepath.Glob(dir + "/*/*/" + pattern))
		for _, f := range files {
			check(t, os.Remove(f))
		}
	}
}

// running are the command lines of all daemons of a folder.
func running(dir string) (out []string) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		data, _ := os.ReadFile(f)
		if strings.Contains(string(data), "--log-file="+dir+"/") {
			out = append(out, strings.ReplaceAll(string(data), "\x00", " "))
		}
	}
	return out
}

func pids(t *testing.T, dir string) string {
	t.Helper()
	files, _ := filepath.Glob(dir + "/*/*/*.pid")
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSpace(string(must(os.ReadFile(f)))))
	}
	return strings.Join(out, " ")
}
