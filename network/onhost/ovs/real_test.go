package ovs_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/onhost"
	"github.com/virga-cloud/virga/network/onhost/ovs"
)

var programs = []string{"ovs-vswitchd", "ovn-northd", "ovn-controller", "nft", "ping"}

// outside joins the host with a namespace that is the world: 203.0.113.9 there.
func outside(t *testing.T, h *space) *space {
	t.Helper()
	world := newSpace(t)
	h.do(func() {
		attrs := netlink.NewLinkAttrs()
		attrs.Name = "world"
		fd := world.fd()
		defer unix.Close(int(fd))
		check(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: attrs, PeerName: "host", PeerNamespace: fd}))
	})
	address(t, h, "world", "203.0.113.1/24")
	address(t, world, "host", "203.0.113.9/24")
	return world
}

func TestVMsOfOneHostHaveAWholeNetwork(t *testing.T) {
	needs(t, programs...)
	h := newSpace(t)
	world := outside(t, h)
	c, ms := newCloud(t, map[*space]ovs.Config{h: {TunnelAddress: "127.0.0.1", HostPorts: []int{9001}}}, []*space{h})
	n, s := c.network("a", "10.20.0.0/20")
	other, otherSubnet := c.network("b", "10.20.0.0/20")
	p1, x1, g1 := c.boots(n, s, ms[0], "one")
	p2, _, g2 := c.boots(n, s, ms[0], "two")
	p3, _, stranger := c.boots(other, otherSubnet, ms[0], "one")
	for what, to := range map[string]string{"its neighbour": p2.Status.Address, "its gateway": s.Spec.Gateway,
		"the way out": "100.64.0.1", "the world": "203.0.113.9", "the service": s.Spec.Service} {
		if !g1.reaches(to) {
			t.Errorf("a VM does not reach %s at %s", what, to)
		}
	}

	t.Run("TCPReachesTheWorldTranslated", func(t *testing.T) { tcpToTheWorld(t, g1, world) })
	t.Run("LargeAnswersOfTheWorldArrive", func(t *testing.T) { largeAnswers(t, g1, world) })
	t.Run("DHCPTellsAllThatAVMNeeds", func(t *testing.T) { dhcp(t, g1, p1, s) })
	t.Run("DNSAnswers", func(t *testing.T) { askNames(t, g1, p2, s) })
	t.Run("MetadataAnswers", func(t *testing.T) { askMetadata(t, g1, p1, x1, s) })
	t.Run("TenantsWithTheSameRangeAreApart", func(t *testing.T) {
		// Both have the same addresses: the stranger's neighbour of that address does not exist.
		if p3.Status.Address != p1.Status.Address {
			t.Fatalf("the test wants equal addresses, not %s and %s", p3.Status.Address, p1.Status.Address)
		}
		if lost := stranger.pings(5, p2.Status.Address); lost != 5 {
			t.Errorf("a VM of another tenant got %d answers of 5", 5-lost)
		}
	})
	t.Run("AForgedSourceIsDropped", func(t *testing.T) {
		address(t, g1, "eth0", "10.20.0.77/20")
		route(t, g2, "10.20.0.77/32", p1.Status.Address) // the way back is there: only the check is in the way
		out, _ := g1.run("ping", "-n", "-c", "3", "-i", "0.05", "-W", "1", "-I", "10.20.0.77", p2.Status.Address)
		if !strings.Contains(out, " 0 received") {
			t.Errorf("answers came to a forged address:\n%s", out)
		}
	})
	t.Run("AVMDoesNotReachTheHostsOwnStack", func(t *testing.T) { isolation(t, h, g1, x1) })
	t.Run("AVMReachesNoServiceOfTheHost", func(t *testing.T) {
		var l net.Listener
		h.do(func() { l = must(net.Listen("tcp", "0.0.0.0:9000")) })
		defer l.Close()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		if conn, err := g1.dial(ctx, "tcp", "100.64.0.1:9000"); err == nil {
			conn.Close()
			t.Error("a VM connected to a service of the host by the way out")
		}
		var open net.Listener
		h.do(func() { open = must(net.Listen("tcp", "0.0.0.0:9001")) })
		defer open.Close()
		conn, err := g1.dial(t.Context(), "tcp", "100.64.0.1:9001")
		if err != nil {
			t.Fatalf("a VM does not reach the one port that is open to it: %v", err)
		}
		conn.Close()
	})
	t.Run("AnUnpluggedPortLeavesNothing", func(t *testing.T) {
		c.unplug(x1.ID)
		c.until("the port binding is gone", func() bool { return store.Find(c.db.Snapshot(), network.PortBindings, x1.ID) == nil })
		h.do(func() {
			if _, err := netlink.LinkByName(x1.Status.Device); err == nil {
				t.Errorf("the tap %s is still there", x1.Status.Device)
			}
		})
		if at := must(ms[0].on.ListPorts(t.Context())); len(at) != 2 {
			t.Errorf("%d ports are left, not 2", len(at))
		}
		check(t, onhost.Sweep(t.Context(), reconcile.Knowledge{DB: c.db}, ms[0].on))
		if at := must(ms[0].on.ListPorts(t.Context())); len(at) != 2 {
			t.Errorf("the sweep left %d ports, not 2", len(at))
		}
	})
}

func tcpToTheWorld(t *testing.T, g, world *space) {
	var l net.Listener
	world.do(func() { l = must(net.Listen("tcp", "203.0.113.9:80")) })
	defer l.Close()
	from := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		from <- conn.RemoteAddr().String()
		_, _ = conn.Write(make([]byte, 1<<20))
		conn.Close()
	}()
	conn, err := g.dial(t.Context(), "tcp", "203.0.113.9:80")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	got, err := io.Copy(io.Discard, conn)
	if got != 1<<20 || err != nil {
		t.Errorf("%d bytes came of a MiB: %v", got, err)
	}
	if who := <-from; !strings.HasPrefix(who, "203.0.113.1:") {
		t.Errorf("the world saw %s, not the host", who)
	}
}

// largeAnswers asks the world for datagrams that do not fit into the network in one packet, and for
// TCP by a VM that does not know how much fits.
func largeAnswers(t *testing.T, g, world *space) {
	var l net.PacketConn
	world.do(func() { l = must(net.ListenPacket("udp", "203.0.113.9:5000")) })
	defer l.Close()
	go func() {
		question := make([]byte, 100)
		for {
			n, from, err := l.ReadFrom(question)
			if err != nil {
				return
			}
			size, _ := strconv.Atoi(string(question[:n]))
			_, _ = l.WriteTo(make([]byte, size), from)
		}
	}()
	conn, err := g.dial(t.Context(), "udp", "203.0.113.9:5000")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, size := range []int{1400, 1430, 1472, 3000, 8000} {
		// The first answer that is too large tells its sender; from then on it cuts.
		got := 0
		for try := 0; try < 4 && got != size; try++ {
			_, _ = fmt.Fprint(conn, size)
			_ = conn.SetReadDeadline(time.Now().Add(time.Second))
			got, _ = conn.Read(make([]byte, 9000))
		}
		if got != size {
			t.Errorf("an answer of %d bytes did not come (%d)", size, got)
		}
	}
	g.do(func() { check(t, netlink.LinkSetMTU(must(netlink.LinkByName("eth0")), 1500)) })
	defer g.do(func() { check(t, netlink.LinkSetMTU(must(netlink.LinkByName("eth0")), 1442)) })
	tcpToTheWorld(t, g, world)
}

func dhcp(t *testing.T, g *space, p *network.Port, s *network.Subnet) {
	script := filepath.Join(t.TempDir(), "lease")
	check(t, os.WriteFile(script, []byte("#!/bin/sh\nenv\n"), 0o755))
	out, err := g.run("busybox", "udhcpc", "-f", "-n", "-q", "-t", "5", "-T", "1", "-i", "eth0", "-O", "staticroutes", "-O", "mtu", "-O", "domain", "-O", "hostname", "-s", script)
	if err != nil {
		t.Fatalf("%v:\n%s", err, out)
	}
	for _, want := range []string{"ip=" + p.Status.Address, "subnet=255.255.240.0", "router=" + s.Spec.Gateway, "dns=" + s.Spec.Service,
		"domain=internal", "mtu=1442", "hostname=" + p.Spec.Hostname,
		"staticroutes=169.254.169.254/32 " + s.Spec.Service + " 0.0.0.0/0 " + s.Spec.Gateway} {
		if !strings.Contains(out, want+"\n") {
			t.Errorf("the lease lacks %q:\n%s", want, out)
		}
	}
}

func askNames(t *testing.T, g *space, p *network.Port, s *network.Subnet) {
	for _, transport := range []string{"udp", "tcp"} {
		conn, err := g.dial(t.Context(), transport, s.Spec.Service+":53")
		if err != nil {
			t.Fatalf("%s: %v", transport, err)
		}
		client := &dns.Client{Net: transport}
		q := new(dns.Msg).SetQuestion("two.internal.", dns.TypeA)
		q.SetEdns0(1232, false)
		a, _, err := client.ExchangeWithConn(q, &dns.Conn{Conn: conn})
		if err != nil || len(a.Answer) != 1 || a.Answer[0].(*dns.A).A.String() != p.Status.Address {
			t.Errorf("%s: two.internal is %v: %v", transport, a, err)
		}
		start := time.Now()
		a, _, err = client.ExchangeWithConn(new(dns.Msg).SetQuestion("example.org.", dns.TypeA), &dns.Conn{Conn: conn})
		if err != nil || a.Rcode != dns.RcodeServerFailure || time.Since(start) > time.Second {
			t.Errorf("%s: with nobody to ask the answer was %v: %v", transport, a, err)
		}
		conn.Close()
	}
}

func askMetadata(t *testing.T, g *space, p *network.Port, x *network.PortBinding, s *network.Subnet) {
	route(t, g, "169.254.169.254/32", s.Spec.Service)
	client := &http.Client{Transport: &http.Transport{DialContext: g.dial, DisableKeepAlives: true}, Timeout: 5 * time.Second}
	for path, want := range map[string]string{
		"/latest/meta-data/instance-id":                 string(x.Spec.InstanceID),
		"/latest/meta-data/local-ipv4":                  p.Status.Address,
		"/2009-04-04/meta-data/mac":                     p.Status.MAC,
		"/latest/meta-data/public-keys/0/openssh-key":   "ssh-ed25519 AAAA me",
		"/latest/user-data":                             "#cloud-config\n",
		"/latest/meta-data/placement/availability-zone": "here",
	} {
		r, err := client.Get("http://169.254.169.254" + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(r.Body)
		r.Body.Close()
		if string(body) != want {
			t.Errorf("%s is %q, not %q", path, body, want)
		}
	}
}

// isolation tries to reach the host's own stack by the tap's own hardware address, with IPv4 and
// IPv6: the user-space switch leaves every frame for the host's stack to see as well.
func isolation(t *testing.T, h, g *space, x *network.PortBinding) {
	var mac net.HardwareAddr
	var before, after string
	h.do(func() { mac = must(netlink.LinkByName(x.Status.Device)).Attrs().HardwareAddr; before = icmpIn() })
	g.do(func() {
		eth0 := must(netlink.LinkByName("eth0"))
		for _, ip := range []string{"203.0.113.1", "100.64.0.1"} {
			check(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: eth0.Attrs().Index, IP: net.ParseIP(ip), HardwareAddr: mac, State: netlink.NUD_PERMANENT}))
			_, dst, _ := net.ParseCIDR(ip + "/32")
			check(t, netlink.RouteReplace(&netlink.Route{Dst: dst, LinkIndex: eth0.Attrs().Index, Scope: netlink.SCOPE_LINK}))
		}
	})
	for _, ip := range []string{"203.0.113.1", "100.64.0.1"} {
		if lost := g.pings(3, ip); lost != 3 {
			t.Errorf("the host answered %d of 3 pings that were sent to the tap itself", 3-lost)
		}
	}
	linkLocal := fmt.Sprintf("fe80::%02x%02x:%02xff:fe%02x:%02x%02x%%eth0", mac[0]^2, mac[1], mac[2], mac[3], mac[4], mac[5])
	if lost := g.pings(3, linkLocal); lost != 3 {
		t.Errorf("the host answered %d of 3 pings to the tap's IPv6 address", 3-lost)
	}
	h.do(func() { after = icmpIn() })
	if before != after {
		t.Errorf("the host's stack saw the pings: %s, then %s", before, after)
	}
	g.do(func() { // the world is reached as before
		eth0 := must(netlink.LinkByName("eth0"))
		for _, ip := range []string{"203.0.113.1", "100.64.0.1"} {
			_, dst, _ := net.ParseCIDR(ip + "/32")
			check(t, netlink.RouteDel(&netlink.Route{Dst: dst, LinkIndex: eth0.Attrs().Index, Scope: netlink.SCOPE_LINK}))
		}
	})
}

// icmpIn is the count of echo requests that the host's stack was given.
func icmpIn() string {
	data, _ := os.ReadFile("/proc/thread-self/net/snmp")
	for line := range strings.Lines(string(data)) {
		if fields := strings.Fields(line); len(fields) > 9 && fields[0] == "Icmp:" && fields[1] != "InMsgs" {
			return fields[9]
		}
	}
	return "?"
}
