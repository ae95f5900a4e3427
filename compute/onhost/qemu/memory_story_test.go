package qemu

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/storage"
)

// crowded is a host with memory for two of its three guests.
type crowded struct {
	t       *testing.T
	d       *Driver
	divider *onhost.MemoryDivider
	vms     []onhost.VMConfig
	talks   []*talk
	// most is the most that all QEMU processes have held together; least is the least that a balloon has left.
	most, least int64
}

const (
	eachMiB  = 512
	crowdMiB = 2 * eachMiB
)

func newCrowded(t *testing.T) *crowded {
	c := &crowded{t: t, d: house(t, Config{}), least: eachMiB << 20}
	db := store.NewDB(memory.New(), resource.NewCatalog(compute.Instances))
	db.Inline = true
	l := store.NewRegistry()
	specs, statuses := store.Specs(l, compute.Instances, "test"), store.Statuses(l, compute.Instances, "test")
	commit := func(fill func(*store.Batch)) {
		b := db.Begin()
		fill(b)
		must(t, db.Commit(t.Context(), b))
		must(t, db.CatchUp(t.Context()))
	}
	for n := range 3 {
		m := vm(t, "")
		m.MemoryMiB = eachMiB
		disk := filepath.Join(runDir(t), fmt.Sprintf("files%d", n))
		must(t, os.WriteFile(disk, nil, 0o644))
		must(t, os.Truncate(disk, 256<<20))
		must(t, os.Chown(disk, int(m.UID), int(m.UID)))
		m.Disks = []onhost.Disk{{ID: resource.NewID(), Source: storage.InFile(disk, "raw"), Address: onhost.Address{Bus: compute.PCIe, Slot: 0}}}
		must(t, c.d.Ensure(t.Context(), m))
		must(t, c.d.Resume(t.Context(), m.ID))
		i := &compute.Instance{Meta: resource.Meta{ID: m.ID, Name: string(m.ID), Project: "p"}, Spec: compute.InstanceSpec{MemoryMiB: m.MemoryMiB}}
		commit(func(b *store.Batch) { specs.Create(b, i) })
		commit(func(b *store.Batch) {
			statuses.Set(b, store.Find(db.Snapshot(), compute.Instances, m.ID), func(s *compute.InstanceStatus) {
				s.PID, s.Phase = int64(look(t, c.d, m.ID).PID), compute.InstanceRunning
			})
		})
		c.vms, c.talks = append(c.vms, m), append(c.talks, console(t, c.d, m.ID))
	}
	for _, talk := range c.talks {
		talk.until("UP ")
	}
	c.divider = onhost.NewMemoryDivider(db, c.d, nil, nil, func() host.Inventory { return host.Inventory{MemoryMiB: crowdMiB} })
	return c
}

// keep divides the memory as the agent does it, until the test ends or stop is called.
func (c *crowded) keep() (stop func()) {
	ended, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for {
			if err := c.divider.Divide(c.t.Context()); err != nil {
				c.t.Error(err)
			}
			var sum int64
			_, figures := c.divider.Figures()
			for _, f := range figures {
				sum += f.Resident
				c.least = min(c.least, f.Given)
			}
			c.most = max(c.most, sum)
			select {
			case <-ended:
				return
			case <-time.After(time.Second / 2):
			}
		}
	}()
	return func() { close(ended); <-done }
}

// Three guests of 512 MiB on 1024 MiB: each in turn uses half of its memory and then leaves it to files that it
// has read, which are worth keeping as long as nobody else needs the memory.
func TestThreeGuestsLiveOnAHostForTwo(t *testing.T) {
	if os.Getenv("VIRGA_LAB") != "full" {
		t.Skip("slow: make lab sets VIRGA_LAB=full")
	}
	c := newCrowded(t)
	begun, stop := time.Now(), c.keep()
	for turn := range 3 {
		c.talks[turn].say(`mount -t tmpfs -o size=300m none /mnt; for i in $(seq 14); do head -c 16m /dev/zero >/mnt/$i; sleep 0.5; done; rm /mnt/*; echo US''ED`)
		c.talks[turn].until("USED")
		c.talks[turn].say(`exec 3</dev/vda; for i in $(seq 16); do dd if=/dev/vda of=/dev/null bs=1M count=16 skip=$((16*i-16)) 2>/dev/null; sleep 0.5; done; echo RE''AD`)
		c.talks[turn].until("READ")
	}
	stop()
	_, figures := c.divider.Figures()
	for n, m := range c.vms {
		if g := look(t, c.d, m.ID); g.State != onhost.Running {
			t.Errorf("guest %d is %s", n, g.State)
		}
		f := figures[m.ID]
		t.Logf("guest %d: target %d, given %d, active %d, resident %d MiB", n, f.Target>>20, f.Given>>20, f.Active>>20, f.Resident>>20)
	}
	t.Logf("in %v all held %d of %d MiB at most; a balloon left %d MiB at least", time.Since(begun).Round(time.Second), c.most>>20, crowdMiB, c.least>>20)
	if c.most > crowdMiB<<20 {
		t.Errorf("the guests held %d MiB, and there are %d for them", c.most>>20, crowdMiB)
	}
	if c.least == eachMiB<<20 {
		t.Error("no balloon took anything: the guests had no need of it")
	}
}
