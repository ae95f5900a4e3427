package sim

import (
	"bytes"
	"context"
	"io"
	"time"

	"github.com/virga-cloud/virga/cluster"
	"github.com/virga-cloud/virga/compute"
	computeon "github.com/virga-cloud/virga/compute/onhost"
	hypervisor "github.com/virga-cloud/virga/compute/onhost/fake"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/remote"
	"github.com/virga-cloud/virga/host"
	hoston "github.com/virga-cloud/virga/host/onhost"
	"github.com/virga-cloud/virga/storage"
	storageon "github.com/virga-cloud/virga/storage/onhost"
	disks "github.com/virga-cloud/virga/storage/onhost/fake"
	"github.com/virga-cloud/virga/wiring"
)

// clockMHz is the clock of all processors.
const clockMHz = 2500

// Host is the hardware: what runs on it outlives its agent, but not the host's own death.
type Host struct {
	ID   resource.ID
	Name string

	c            *Cluster
	threads, mib int64
	guests       *hypervisor.Hypervisor
	disks        *disks.Driver
	wires        *wires
	faults       faults
	dead, cut    bool
	known        store.Acquaintance // the lives of the records that it has heard of
	deceived     bool               // it takes itself for one that hears its servers
	agent        *agent
}

type agent struct {
	daemon
	h *Host
}

func (h *Host) address() string { return h.Name + ":7444" }

// AddHost makes a host with an agent.
func (c *Cluster) AddHost(name string, threads, memoryMiB int64) *Host {
	h := &Host{ID: resource.NewID(), Name: name, c: c, threads: threads, mib: memoryMiB, disks: c.disks.Host(), wires: newWires(c), faults: faults{}}
	h.guests = hypervisor.New(c.Now)
	h.guests.Changed = func(id resource.ID) { h.agent.wake(compute.Instances.Kind, id) }
	h.guests.Reach = h.reach
	h.guests.SizeOf = func(d computeon.Disk) int64 { return c.disks.SizeMiB(d.ID) }
	h.guests.Resize = func(d computeon.Disk, mib int64) error {
		c.disks.Grow(d.ID, mib)
		return nil
	}
	h.agent = &agent{daemon: daemon{c: c, name: "agent " + name}, h: h}
	h.agent.unreachable = func() string {
		switch {
		case h.cut:
			return "the network is down"
		case host.Removed(c.all.Snapshot(), h.ID):
			return "the host was removed"
		case !c.server.up():
			return "no server answers"
		}
		return ""
	}
	c.must(c.request(func(snap *store.Snapshot, b *store.Batch) error {
		record := host.New(h.ID, name)
		record.Spec.ClusterID = cluster.EnsureDefault(b, snap, c.server.Clusters)
		c.server.Rights.Host.Hosts.Create(b, record)
		return nil
	}))
	c.hosts = append(c.hosts, h)
	h.agent.start()
	return h
}

// reach finds the hypervisor that waits for memory, if the way there is open.
func (h *Host) reach(to compute.Outgoing) *hypervisor.Hypervisor {
	for _, other := range h.c.hosts {
		if other.address() != to.Address || other.dead || other.cut || h.cut || !other.agent.up() {
			continue
		}
		for _, g := range other.guests.Guests() {
			if g.ID == to.InstanceID && g.State == computeon.Incoming {
				return other.guests
			}
		}
	}
	return nil
}

// Inventory implements hoston.Hardware.
func (h *Host) Inventory() (host.Inventory, error) {
	return host.Inventory{Threads: h.threads, MHz: clockMHz, MemoryMiB: h.mib + 512, ReservedMemoryMiB: 512}, nil
}

// Profile implements hoston.Hardware.
func (h *Host) Profile(context.Context) (host.Profile, error) { return h.profile(), nil }

func (h *Host) profile() host.Profile {
	return host.Profile{Accelerator: host.TCG, AcceleratorWhy: "it is simulated", Datapath: host.NetdevDatapath, MachineType: "pc-q35-7.2", QEMUVersion: "7.2.22"}
}

// start wires an agent as cmd/virga does.
func (a *agent) start() {
	h, c := a.h, a.c
	scope := remote.HostScope(kinds, h.ID, c.all.View)
	a.begin(scope, func() time.Duration {
		if c.rng.IntN(20) == 0 {
			return c.between(100*time.Millisecond, 2*time.Second)
		}
		return c.between(time.Millisecond, 30*time.Millisecond)
	})
	l := store.NewRegistry()
	parts := wiring.NewHost(wiring.HostDeps{
		DB: a.db, Registry: l, Hardware: h, Self: hoston.Self{HostID: h.ID, Address: h.address(), Version: "sim"},
		Hypervisor: &guestDriver{h: h}, Switch: &switchDriver{h: h}, Storage: storageon.Options{Drivers: storageon.Drivers{storage.Folder: &diskDriver{h: h}}, Fetch: a.fetch},
		Current: a.current,
	})
	if err := l.Err(); err != nil {
		c.fail("the agent's rights: %v", err)
	}
	a.runs(parts.Parts)
	a.chore("heartbeat", 0, func(context.Context) time.Duration {
		if !h.cut && c.server.up() && host.Removed(c.all.Snapshot(), h.ID) {
			h.retire(parts.Sweeper)
			return time.Second
		}
		if a.feed.reachable() == nil {
			h.known = h.known.Hear(c.truth.life.ID, c.truth.life.Settled)
			c.server.listener.Heartbeat(h.ID, c.Now())
		}
		return c.between(900*time.Millisecond, 1100*time.Millisecond)
	})
	a.connect()
}

// current says why the agent's view may be behind.
func (a *agent) current() error {
	if a.h.deceived {
		return nil
	}
	if err := a.feed.reachable(); err != nil {
		return err
	}
	if a.feed.watch != nil {
		return a.h.known.Doubt()
	}
	return fault.New(fault.Unavailable, "nothing is told of changes")
}

func (a *agent) fetch(_ context.Context, digest string) (io.ReadCloser, int64, error) {
	if err := a.feed.reachable(); err != nil {
		return nil, 0, err
	}
	content, ok := a.c.images[digest]
	if !ok {
		return nil, 0, fault.New(fault.NotFound, "no image %s", digest)
	}
	return io.NopCloser(bytes.NewReader(content)), int64(len(content)), nil
}

// retire does what an agent does that is told that its host was removed.
func (h *Host) retire(sweeper *computeon.Sweeper) {
	h.c.trace.add("  host %s learns that it was removed", h.Name)
	if err := sweeper.EndAll(context.Background()); err != nil {
		return // it is told again
	}
	h.wires.lose()
	h.agent.end()
}

// Crash ends the agent; guests, taps and files stay.
func (h *Host) Crash() {
	h.c.trace.add("  agent %s crashes", h.Name)
	h.agent.end()
}

// Start starts the agent, if the host lives.
func (h *Host) Start() {
	if !h.dead && !h.agent.up() {
		h.c.trace.add("  agent %s starts", h.Name)
		h.agent.start()
	}
}

// Die ends the host with all that runs on it.
func (h *Host) Die() {
	h.c.trace.add("  host %s dies", h.Name)
	h.dead = true
	h.agent.end()
	h.guests.Lose()
	h.wires.lose()
}

// Boot starts a dead host.
func (h *Host) Boot() {
	h.dead = false
	h.Start()
}

// crashed ends a daemon in the middle of a step.
func (c *Cluster) crashed(p *daemon) {
	c.trace.add("  %s crashes in a step", p.name)
	p.end()
}

var (
	_ hoston.Hardware  = (*Host)(nil)
	_ storageon.Driver = (*diskDriver)(nil)

	_ storageon.Snapshotter = (*diskDriver)(nil)
)
