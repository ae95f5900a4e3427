package sim

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

const (
	calm      = 40 * time.Second // without a change: longer than any pause of a loop that fails
	unsettled = 2 * time.Hour    // a cloud that has not come to rest by then never will
)

func (c *Cluster) ctx() context.Context { return context.Background() }

// Settle lets time pass until nothing changes any more; then every loop looks at every record
// once more, and nothing may change. Something that was due just then by the clock (an image that
// nobody needed for a while) may come between, but not again and again.
func (c *Cluster) Settle() {
	diff := ""
	for range 3 {
		c.rest()
		before := c.records()
		for _, p := range c.daemons() {
			if p.up() {
				p.lookAtAll()
			}
		}
		c.Advance(2 * time.Second)
		if diff = difference(before, c.records()); diff == "" {
			c.judgeKeys()
			c.judgeClaimants()
			return
		}
	}
	c.fail("a second look at everything changed: %s", diff)
}

// rest lets time pass until nothing has changed for a while.
func (c *Cluster) rest() {
	for end := c.now.Add(unsettled); ; {
		before := c.truthRevision()
		c.Advance(calm)
		if c.truthRevision() == before {
			return
		}
		if c.now.After(end) {
			c.fail("no rest after %s; what changes: %s", unsettled, c.changing())
		}
	}
}

func (c *Cluster) truthRevision() int64 { return c.all.Revision() }

// changing watches for a while what is written.
func (c *Cluster) changing() string {
	before := c.records()
	c.Advance(calm)
	return difference(before, c.records())
}

// records are all that the store holds.
func (c *Cluster) records() map[string]string {
	entries, _, err := c.truth.memory.List(c.ctx())
	c.must(err)
	out := map[string]string{}
	for _, e := range entries {
		out[e.Key.String()] = string(e.Value)
	}
	return out
}

func difference(before, after map[string]string) string {
	var out []string
	for key, value := range after {
		if before[key] != value {
			out = append(out, fmt.Sprintf("%s\n    was %s\n    is  %s", key, before[key], value))
		}
	}
	for key, value := range before {
		if _, there := after[key]; !there {
			out = append(out, fmt.Sprintf("%s is gone: %s", key, value))
		}
	}
	return strings.Join(out, "\n  ")
}

// about shows a record and all that speak of it, and the guests of a VM.
func (c *Cluster) about(id resource.ID) string {
	snap := c.all.Snapshot()
	data, _ := json.Marshal(snap.Lookup(id))
	out := []string{c.trace.id(id) + " " + string(data)}
	for x := range snap.Mentioning(id) {
		data, _ := json.Marshal(x)
		out = append(out, c.trace.id(x.Head().ID)+" "+string(data))
	}
	for _, g := range c.guests() {
		if g.vm.VMID == id {
			out = append(out, fmt.Sprintf("on %s: %+v", g.h.Name, g.Guest))
		}
	}
	return strings.Join(out, "\n  ")
}

// leftovers says what is left of VMs, everywhere; empty if all are gone.
func (c *Cluster) leftovers() string {
	var out []string
	snap := c.all.Snapshot()
	for _, kind := range []resource.Kind{compute.VMs.Kind, compute.Instances.Kind, storage.Volumes.Kind, storage.Allocations.Kind,
		storage.Attachments.Kind, network.Ports.Kind, network.PortBindings.Kind, placement.Claims.Kind} {
		for x := range snap.OfKind(kind) {
			data, _ := json.Marshal(x)
			out = append(out, string(data))
		}
	}
	for _, g := range c.guests() {
		out = append(out, fmt.Sprintf("guest %s (%s) on %s", g.ID, g.State, g.h.Name))
	}
	for _, h := range c.hosts {
		for _, p := range h.wires.list() {
			out = append(out, fmt.Sprintf("port %s on %s", p.Device, h.Name))
		}
	}
	for _, name := range c.reached() {
		for _, id := range c.disks.Volumes(name) {
			out = append(out, fmt.Sprintf("the file of volume %s on %s", id, name))
		}
	}
	return strings.Join(out, "\n  ")
}

// emptyHanded fails if anything is left of VMs.
func (c *Cluster) emptyHanded() {
	if left := c.leftovers(); left != "" {
		c.fail("left after all VMs were deleted:\n  %s", left)
	}
}
