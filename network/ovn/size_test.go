package ovn

import (
	"fmt"
	"testing"
	"time"

	"github.com/virga-cloud/virga/network"
)

// TestALargeCloudIsComparedQuickly: a change is sent within a blink at 100 networks of 50 ports.
func TestALargeCloudIsComparedQuickly(t *testing.T) {
	var c Cloud
	for i := range 100 {
		n := aNetwork(fmt.Sprintf("n%03d", i), "p", network.NAT, fmt.Sprintf("100.64.1.%d", i))
		s := aSubnet(fmt.Sprintf("s%03d", i), n, "10.0.0.0/24")
		c.Networks, c.Subnets = append(c.Networks, n), append(c.Subnets, s)
		for k := range 50 {
			p := aPort(fmt.Sprintf("p%03d-%02d", i, k), s, fmt.Sprintf("10.0.0.1%02d", k))
			c.Ports, c.PortBindings = append(c.Ports, p), append(c.PortBindings, aBinding("b-"+string(p.ID), p, "host", 1))
		}
	}
	have := apply(existing{}, makePlan(existing{}, Compile(c)))
	start := time.Now()
	if p := makePlan(have, Compile(c)); !p.empty() {
		t.Error("a second plan is not empty")
	}
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("to compare 5000 ports took %v", took)
	} else {
		t.Logf("to compare 5000 ports took %v", took)
	}
}
