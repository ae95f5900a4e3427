package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/storage/onhost/fake"
)

// Cluster is a cloud in virtual time.
type Cluster struct {
	Seed uint64

	rng        *rand.Rand
	now        time.Time     // what queues wait for
	jumped     time.Duration // what the clock on the wall is ahead
	truth      *truth
	all        *store.DB // sees everything at once; for invariants and conditions
	server     *server
	hosts      []*Host
	disks      *fake.World
	plans      []appointment // what the script has planned
	trace      *trace
	invariants invariants

	interrupts []*interruption
	manners    map[resource.ID]string // how a VM's guest answers when it is asked to power off
	lost       map[resource.ID]func() // files of volumes that are missing, and how they come back
	orphans    map[resource.ID]bool   // guests that a script made by hand
	images     map[string][]byte      // content by digest
	folders    []folder               // of the datastores
	lastError  error                  // of the last request
	steps      int
	touched    bool // since the invariants were checked last
	loss       int  // one in so many answers to an agent is lost; 0: none
}

// folder is what a datastore lies on.
type folder struct {
	name string
	on   []*Host
}

// reached are the folders that a host reaches which was not removed.
func (c *Cluster) reached() []string {
	var out []string
	for _, f := range c.folders {
		if slices.ContainsFunc(f.on, func(h *Host) bool { return !host.Removed(c.all.Snapshot(), h.ID) }) {
			out = append(out, f.name)
		}
	}
	return out
}

type appointment struct {
	at time.Time
	do func()
}

// failure ends a run; Try turns it into an error.
type failure struct{ what string }

// New makes a cloud with a server and no host.
func New(seed uint64) *Cluster {
	c := &Cluster{
		Seed: seed, rng: rand.New(rand.NewPCG(seed, 0x5eed)), now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
		disks: fake.NewWorld(), trace: newTrace(), manners: map[resource.ID]string{}, lost: map[resource.ID]func(){}, orphans: map[resource.ID]bool{},
		images: map[string][]byte{},
	}
	c.truth = newTruth(c)
	c.all = store.NewDB(c.truth.memory, kinds)
	c.all.Inline, c.all.Now = true, c.Now
	c.invariants = newInvariants()
	c.see()
	c.server = newServer(c)
	c.server.start()
	c.seedCloud()
	return c
}

// Now is the time on the wall.
func (c *Cluster) Now() time.Time { return c.now.Add(c.jumped) }

// Try runs fn and turns what fails in it into an error with the last steps.
func (c *Cluster) Try(fn func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			f, ours := p.(failure)
			if !ours {
				panic(p)
			}
			err = fmt.Errorf("seed %d, %s after the start: %s\n%s", c.Seed, c.sinceStart(), f.what, c.trace.tail())
		}
	}()
	fn()
	return nil
}

func (c *Cluster) fail(format string, args ...any) {
	panic(failure{fmt.Sprintf(format, args...)})
}

func (c *Cluster) sinceStart() time.Duration {
	return c.now.Sub(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
}

// see brings the all-seeing view up to date.
func (c *Cluster) see() {
	if err := c.all.CatchUp(context.Background()); err != nil {
		c.fail("the all-seeing view: %v", err)
	}
}

// between draws a time.
func (c *Cluster) between(least, most time.Duration) time.Duration {
	if most <= least {
		return least
	}
	return least + time.Duration(c.rng.Int64N(int64(most-least)))
}

// later plans something.
func (c *Cluster) later(after time.Duration, do func()) {
	c.plans = append(c.plans, appointment{c.now.Add(after), do})
}

// daemons are the server and all agents, up or down, in a fixed order.
func (c *Cluster) daemons() []*daemon {
	out := []*daemon{&c.server.daemon}
	for _, h := range c.hosts {
		out = append(out, &h.agent.daemon)
	}
	return out
}

// Host finds a host by its name.
func (c *Cluster) Host(name string) *Host {
	i := slices.IndexFunc(c.hosts, func(h *Host) bool { return h.Name == name })
	if i < 0 {
		c.fail("the script knows no host %q", name)
	}
	return c.hosts[i]
}

func (c *Cluster) hostOf(id resource.ID) *Host {
	for _, h := range c.hosts {
		if h.ID == id {
			return h
		}
	}
	return nil
}

// Hash is the trace of the run so far: equal for equal seeds and scripts.
func (c *Cluster) Hash() string { return c.trace.sum() }
