package ovs_test

import (
	"testing"

	"github.com/virga-cloud/virga/network/onhost/ovs"
)

func TestMachinesOfOneHostHaveAWholeNetwork(t *testing.T) {
	needs(t, "ovs-vswitchd", "ovn-northd", "ovn-controller", "nft", "ping")
	h := newSpace(t)
	c, ms := newCloud(t, map[*space]ovs.Config{h: {TunnelAddress: "127.0.0.1"}}, []*space{h})
	n, s := c.network("a", "10.20.0.0/20")
	p1, _, g1 := c.boots(n, s, ms[0], "one")
	p2, _, _ := c.boots(n, s, ms[0], "two")
	_ = p1
	if !g1.reaches(p2.Spec.Address) {
		t.Error("machines of one network do not reach each other")
	}
	if !g1.reaches(s.Spec.Gateway) {
		t.Error("a machine does not reach its gateway")
	}
	if !g1.reaches("100.64.0.1") {
		t.Error("a machine does not reach the way out")
	}
}
