package ovn

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
)

// largeCloud has 1,000 networks of 10 ports, on 300 hosts.
func largeCloud() (c Cloud) {
	for i := range 300 {
		c.Hosts = append(c.Hosts, &host.Host{Meta: resource.Meta{ID: resource.ID(fmt.Sprintf("h%03d", i))}})
	}
	for i := range 1000 {
		n := aNetwork(fmt.Sprintf("n%03d", i), "p", network.NAT, fmt.Sprintf("100.64.%d.%d", 1+i/200, 2+i%200))
		s := aSubnet(fmt.Sprintf("s%03d", i), n, "10.0.0.0/24")
		c.Networks, c.Subnets = append(c.Networks, n), append(c.Subnets, s)
		for k := range 10 {
			p := aPort(fmt.Sprintf("p%03d-%02d", i, k), s, fmt.Sprintf("10.0.0.1%02d", k))
			c.Ports, c.PortBindings = append(c.Ports, p), append(c.PortBindings, aBinding("b-"+string(p.ID), p, fmt.Sprintf("h%03d", i%300), 1))
		}
	}
	return c
}

// TestAChangeOfALargeCloudCostsWhatItConcerns: one change is compiled and compared within a blink, and all of it
// is in a time that does no harm now and then.
func TestAChangeOfALargeCloudCostsWhatItConcerns(t *testing.T) {
	c := largeCloud()
	var k Compiler
	start := time.Now()
	inForce := k.Compile(c)
	compiled := time.Since(start)
	have := apply(existing{}, makePlan(existing{}, rowsOf(inForce)))
	start = time.Now()
	if p := makePlan(have, rowsOf(inForce)); !p.empty() {
		t.Error("a second plan is not empty")
	}
	compared := time.Since(start)

	var took []time.Duration
	for i := range 9 {
		c.Ports = slices.Clone(c.Ports)
		c.Ports[500+i] = resource.Copy(c.Ports[500+i])
		c.Ports[500+i].Spec.SendKbps = 1000
		start = time.Now()
		want := k.Compile(c)
		now, before := changed(inForce, want)
		spent := time.Since(start)
		part := narrowed(have, before, now) // the database has an index for that
		start = time.Now()
		p := makePlan(part, now)
		took = append(took, spent+time.Since(start))
		if len(p.create) != 1 || len(p.update) != 1 || len(p.remove) != 0 {
			t.Fatalf("a limit of a port makes %d rows, changes %d, removes %d", len(p.create), len(p.update), len(p.remove))
		}
		have, inForce = apply(have, p), want
	}
	slices.Sort(took)
	t.Logf("all: compiled in %v, compared in %v; one change: compiled and compared in %v", compiled, compared, took[len(took)/2])
	if all := compiled + compared; took[len(took)/2] > all/4 {
		t.Errorf("one change took %v, all of it %v", took[len(took)/2], all)
	}
}
