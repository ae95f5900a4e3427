package ovs_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/onhost/ovs"
)

func (c *cloud) group(name string, rules ...network.SecurityRule) *network.SecurityGroup {
	c.t.Helper()
	g := &network.SecurityGroup{Meta: resource.Meta{ID: resource.NewID(), Name: name, Project: "a"}, Spec: network.SecurityGroupSpec{Rules: rules}}
	g.Spec.Default()
	b := c.db.Begin()
	c.groups.Create(b, g)
	check(c.t, c.db.Commit(c.ctx, b))
	return g
}

// joins puts a port into groups, and waits until OVN has that.
func (c *cloud) joins(p *network.Port, groups ...*network.SecurityGroup) {
	c.t.Helper()
	b := c.db.Begin()
	c.ports.Set(b, store.Find(c.db.Snapshot(), network.Ports, p.ID), func(s *network.PortSpec) {
		s.SecurityGroupIDs = nil
		for _, g := range groups {
			s.SecurityGroupIDs = append(s.SecurityGroupIDs, g.ID)
		}
	})
	check(c.t, c.db.Commit(c.ctx, b))
}

func (c *cloud) rules(g *network.SecurityGroup, rules ...network.SecurityRule) {
	c.t.Helper()
	b := c.db.Begin()
	c.groups.Set(b, store.Find(c.db.Snapshot(), network.SecurityGroups, g.ID), func(s *network.SecurityGroupSpec) {
		s.Rules = rules
		s.Default()
	})
	check(c.t, c.db.Commit(c.ctx, b))
}

// serves answers each connection with what it was told.
func serves(t *testing.T, s *space, at string) {
	var l net.Listener
	s.do(func() { l = must(net.Listen("tcp4", at)) })
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				buf := make([]byte, 16)
				for {
					n, err := conn.Read(buf)
					if err != nil {
						return
					}
					_, _ = conn.Write(buf[:n])
				}
			}()
		}
	}()
}

// connects says whether a TCP connection comes about.
func connects(t *testing.T, from *space, to string) bool {
	ctx, cancel := context.WithTimeout(t.Context(), 400*time.Millisecond)
	defer cancel()
	conn, err := from.dial(ctx, "tcp4", to)
	if err == nil {
		_ = conn.Close()
	}
	return err == nil
}

// echoes says whether an open connection still carries a word there and back.
func echoes(conn net.Conn) bool {
	_ = conn.SetDeadline(time.Now().Add(700 * time.Millisecond))
	if _, err := conn.Write([]byte("word")); err != nil {
		return false
	}
	n, err := conn.Read(make([]byte, 16))
	return err == nil && n > 0
}

// TestRulesDecideWhichPacketsArrive: real connections between guests, before, while and after groups let them through.
func TestRulesDecideWhichPacketsArrive(t *testing.T) {
	needs(t, programs...)
	h := newSpace(t)
	c, ms := newCloud(t, map[*space]ovs.Config{h: {TunnelAddress: "127.0.0.1"}}, []*space{h})
	n, s := c.network("a", "10.20.0.0/20")
	p1, _, g1 := c.boots(n, s, ms[0], "one")
	p2, _, g2 := c.boots(n, s, ms[0], "two")
	web, other := p2.Status.Address+":80", p2.Status.Address+":81"
	serves(t, g2, web)
	serves(t, g2, other)
	serves(t, g1, p1.Status.Address+":80")
	var said network.Trace
	is := func(what string, want bool, ok func() bool) {
		t.Helper()
		said = network.Trace{Arrives: want}
		defer func() {
			if said.Arrives != want {
				t.Errorf("%s: %v, and the trace says %+v", what, want, said)
			}
		}()
		for end := time.Now().Add(8 * time.Second); ok() != want; time.Sleep(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: %v, and should be %v", what, !want, want)
			}
		}
	}
	// What really happens, which is compared with what the trace says.
	to := func(at string) func() bool {
		end := must(netip.ParseAddrPort(at))
		return func() bool {
			came, s := connects(t, g1, at), c.db.Snapshot()
			flow := network.Flow{Protocol: network.TCP, Port: int64(end.Port())}
			trace := network.TraceFlow(s, store.Find(s, network.Ports, p1.ID), store.Find(s, network.Ports, p2.ID), end.Addr(), flow, true)
			said = trace
			return came
		}
	}
	is("a port in no group is reached", true, to(web))

	out := network.SecurityRule{Name: "out", Direction: network.Egress}
	group := c.group("web", out)
	c.joins(p2, group)
	is("a group without rules for others lets nobody in", false, to(web))
	is("its member connects to others, and their answers come back", true, func() bool { return connects(t, g2, p1.Status.Address+":80") })
	if g1.reaches(p2.Status.Address) {
		t.Error("a ping came through without a rule")
	}
	if !g2.reaches(s.Spec.Service) || !g2.reaches(p1.Status.Address) {
		t.Error("the member does not reach the service or its neighbour")
	}

	http := network.SecurityRule{Name: "http", Protocol: network.TCP, FirstPort: 80}
	c.rules(group, out, http)
	is("a rule lets its port through", true, to(web))
	is("and no other", false, to(other))

	conn := must(g1.dial(t.Context(), "tcp4", web))
	defer conn.Close()
	if !echoes(conn) {
		t.Fatal("an open connection carries nothing")
	}
	friends := c.group("friends", out)
	fromFriends := network.SecurityRule{Name: "from-friends", Protocol: network.TCP, FirstPort: 80, GroupID: friends.ID}
	c.rules(group, out, fromFriends)
	is("a rule for a group does not let others in", false, to(web))
	is("what was open before the rule went is cut", false, func() bool { return echoes(conn) })
	c.joins(p1, friends)
	is("a member of the group comes in", true, to(web))
	c.joins(p1)
	is("who leaves the group does not", false, to(web))

	c.rules(group, http) // nothing out
	is("a group without a rule for it lets nothing out", false, func() bool { return connects(t, g2, p1.Status.Address+":80") })
	is("answers go out all the same", true, func() bool { c := connects(t, g1, web); return c })
	if !g2.reaches(s.Spec.Service) {
		t.Error("the platform's own service cannot be reached behind a closed group")
	}
	dhcp(t, g2, p2, s)
	c.joins(p2)
	is("a port that leaves its groups is reached again", true, to(other))
}
