package ovs_test

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/onhost/ovs"
)

// twoHosts are joined by a bridge in a namespace of its own.
func twoHosts(t *testing.T) (*cloud, []*node) {
	t.Helper()
	wire := newSpace(t)
	wire.do(func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "wire"
		check(t, netlink.LinkAdd(&netlink.Bridge{LinkAttrs: attrs}))
		check(t, netlink.LinkSetUp(must(netlink.LinkByName("wire"))))
	})
	configs := map[*space]ovs.Config{}
	var hosts []*space
	for _, ip := range []string{"192.168.77.1", "192.168.77.2"} {
		h := newSpace(t)
		h.do(func() {
			attrs := netlink.NewLinkAttrs()
			attrs.Name = "nic"
			fd := wire.fd()
			defer unix.Close(int(fd))
			check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "to" + ip[len(ip)-1:], PeerNamespace: fd}))
		})
		address(t, h, "nic", ip+"/24")
		wire.do(func() {
			end := must(netlink.LinkByName("to" + ip[len(ip)-1:]))
			check(t, netlink.LinkSetMaster(end, must(netlink.LinkByName("wire"))))
			check(t, netlink.LinkSetUp(end))
		})
		configs[h] = ovs.Config{TunnelAddress: ip, Uplink: "nic"}
		hosts = append(hosts, h)
	}
	return newCloud(t, configs, hosts)
}

func TestAVMMovesBetweenHostsUnderPings(t *testing.T) {
	needs(t, programs...)
	c, ms := twoHosts(t)
	if lost := ms[0].space.pings(3, "192.168.77.2"); lost == 3 {
		t.Fatal("the hosts do not reach each other by their bridges")
	}
	n, s := c.network("a", "10.20.0.0/20")
	p1, x1, g1 := c.boots(n, s, ms[0], "one")
	p2, _, g2 := c.boots(n, s, ms[1], "two")
	if !g2.reaches(p1.Status.Address) {
		t.Fatal("VMs on two hosts do not reach each other")
	}
	if !g2.reaches("100.64.0.1") || !g1.reaches("100.64.0.1") {
		t.Error("VMs on two hosts do not both reach the way out")
	}

	var guarded []net.Listener
	for i, h := range ms {
		h.space.do(func() { guarded = append(guarded, must(net.Listen("tcp", fmt.Sprintf("192.168.77.%d:22", i+1)))) })
		defer guarded[i].Close()
		to := guarded[i].Addr().String()
		if !g1.reaches(to[:len(to)-3]) {
			t.Errorf("a VM does not reach the host at %s by ping", to)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if conn, err := g1.dial(ctx, "tcp", to); err == nil {
			conn.Close()
			t.Errorf("a VM connected to the service of a host at %s", to)
		}
		cancel()
	}

	// The target: its port binding is ready beside the source's, before anything moves.
	x2 := c.ready(c.binding(p1, ms[1], 2).ID)
	c.until("the port is bound to both hosts", func() bool {
		return slices.Equal(store.Find(c.db.Snapshot(), network.Ports, p1.ID).Status.HostIDs, []resource.ID{ms[0].id, ms[1].id})
	})
	lost := make(chan int)
	go func() { lost <- g2.pings(200, p1.Status.Address) }()
	time.Sleep(500 * time.Millisecond)
	// The VM itself: the same addresses appear behind the target's tap; the source is still.
	there := newSpace(t)
	plugIn(t, ms[1].space, x2.Status.Device, p1.Status.MAC, there)
	g1.do(func() { check(t, netlink.LinkSetDown(must(netlink.LinkByName("eth0")))) })
	address(t, there, "eth0", p1.Status.Address+"/20")
	c.unplug(x1.ID)
	c.until("the port is bound to the target alone", func() bool {
		return slices.Equal(store.Find(c.db.Snapshot(), network.Ports, p1.ID).Status.HostIDs, []resource.ID{ms[1].id})
	})
	if n := <-lost; n > 15 {
		t.Errorf("%d of 200 pings were lost while the VM moved", n)
	} else {
		t.Logf("%d of 200 pings were lost while the VM moved", n)
	}
	if !there.reaches(p2.Status.Address) {
		t.Error("the moved VM reaches nobody")
	}
}

func TestTheUplinkIsGivenBack(t *testing.T) {
	needs(t, programs...)
	c, ms := twoHosts(t)
	h := ms[0].space
	has := func(device string) bool {
		out, _ := h.run("ip", "-4", "addr", "show", "dev", device)
		return strings.Contains(out, "192.168.77.1/24")
	}
	if has("nic") || !has("br-ul") {
		t.Error("the bridge did not take the NIC's address")
	}
	check(t, ms[0].on.Setup(c.ctx)) // again: nothing is done twice
	if has("nic") || !has("br-ul") {
		t.Error("a second setup moved the address")
	}
	check(t, ms[0].on.Teardown(c.ctx))
	if !has("nic") {
		t.Error("the NIC did not get its address back")
	}
	out, _ := h.run("nft", "list", "ruleset")
	links, _ := h.run("ip", "-o", "link")
	if strings.Contains(out, "virga") || strings.Contains(links, "br-") || strings.Contains(links, "vt") {
		t.Errorf("something is left:\n%s\n%s", out, links)
	}
}
