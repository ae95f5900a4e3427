package ovs_test

import (
	"net"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/onhost/ovs"
)

// TestAPortIsHeldToItsLimitsInBothDirections: what a guest really sends to another, in UDP, before, while and
// after its port has a limit; and the same of what it receives.
func TestAPortIsHeldToItsLimitsInBothDirections(t *testing.T) {
	needs(t, programs...)
	h := newSpace(t)
	c, ms := newCloud(t, map[*space]ovs.Config{h: {TunnelAddress: "127.0.0.1"}}, []*space{h})
	n, s := c.network("a", "10.20.0.0/20")
	p1, _, g1 := c.boots(n, s, ms[0], "one")
	p2, _, g2 := c.boots(n, s, ms[0], "two")
	if !g1.reaches(p2.Status.Address) {
		t.Fatal("the guests do not reach each other")
	}
	limit := func(send, receive int64) {
		b := c.db.Begin()
		c.ports.Set(b, store.Find(c.db.Snapshot(), network.Ports, p1.ID), func(x *network.PortSpec) { x.SendKbps, x.ReceiveKbps = send, receive })
		check(t, c.db.Commit(c.ctx, b))
		time.Sleep(time.Second) // until the switch has it; nobody tells when
	}
	const rate = 8000 // kbit/s
	held := func(what string, from, to *space, at string, wanted bool) {
		t.Helper()
		got := flood(t, from, to, at)
		t.Logf("%s: %d kbit/s", what, got)
		if wanted && (got < rate*6/10 || got > rate*14/10) {
			t.Errorf("%s: %d kbit/s, and should be about %d", what, got, rate)
		}
		if !wanted && got < rate*2 {
			t.Errorf("%s: %d kbit/s, and should be far above %d", what, got, rate)
		}
	}
	held("without a limit", g1, g2, p2.Status.Address, false)
	limit(rate, 0)
	held("sent, with a limit", g1, g2, p2.Status.Address, true)
	held("received, while only sending has one", g2, g1, p1.Status.Address, false)
	limit(0, rate)
	held("received, with a limit", g2, g1, p1.Status.Address, true)
	held("sent, while only receiving has one", g1, g2, p2.Status.Address, false)
	limit(0, 0)
	held("when it is lifted", g1, g2, p2.Status.Address, false)
}

// flood sends about 40 Mbit/s for some seconds, and gives what arrives after the burst is used up, in kbit/s.
func flood(t *testing.T, from, to *space, at string) int64 {
	t.Helper()
	var sink net.PacketConn
	to.do(func() { sink = must(net.ListenPacket("udp4", at+":9")) })
	defer sink.Close()
	conn, err := from.dial(t.Context(), "udp4", at+":9")
	check(t, err)
	defer conn.Close()
	const size, burst, measured = 1000, 1200 * time.Millisecond, 2 * time.Second
	start := time.Now()
	go func() {
		packet := make([]byte, size)
		for sent := 0; time.Since(start) < burst+measured; {
			for due := int(time.Since(start).Seconds() * 5000); sent < due; sent++ {
				_, _ = conn.Write(packet)
			}
			time.Sleep(time.Millisecond)
		}
	}()
	got, buf := int64(0), make([]byte, 2*size)
	_ = sink.SetReadDeadline(start.Add(burst + measured))
	for {
		k, _, err := sink.ReadFrom(buf)
		if err != nil {
			return got * 8 / int64(measured/time.Millisecond)
		}
		if time.Since(start) > burst {
			got += int64(k)
		}
	}
}
