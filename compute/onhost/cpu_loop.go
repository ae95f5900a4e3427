package onhost

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fairshare"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

const (
	divideEvery = time.Second
	// shortOfCPU is the idle part of all processors below which they are short, in percent.
	shortOfCPU = 10
	// sliceWeight is what the slice of all guests weighs for each virtual CPU: as much as a group of
	// which nobody has said anything.
	sliceWeight = 100
)

// Processors are the control groups of a host, and what its processors do.
type Processors interface {
	// Remove takes a group away that holds no process; one that is not there is no error.
	Remove(name string) error
	// List names all groups below one, each after the one that holds it.
	List(name string) ([]string, error)
	// Ensure makes a group and all above it.
	Ensure(name string) error
	// SetCPUWeight is a group's part among its siblings, 1 to 10000.
	SetCPUWeight(name string, weight int64) error
	// SetCPULimit bounds processor time a second; 0: no bound.
	SetCPULimit(name string, perSecond time.Duration) error
	// CPUTime is the processor time that a group has used since it was made.
	CPUTime(name string) (time.Duration, error)
	// CPUWait is how long the threads in a group have waited for a processor since they began. It reads
	// a file for each of them.
	CPUWait(name string) time.Duration
	// Idle is how long this host's processors were idle, and how long they were there, both since it started.
	Idle() (idle, all time.Duration, err error)
}

// CPUFigures are what a VM uses of its host's processors, in MHz of processor clock.
type CPUFigures struct {
	// UsedMHz was used in the last second, DemandMHz would have been, had it had all.
	UsedMHz, DemandMHz int64
	// EntitledMHz is its part as long as others want theirs.
	EntitledMHz int64
	// ReadyMillis is how long its threads waited for a processor, in ms of a second; -1: not measured.
	ReadyMillis int64
}

// demanded is the demand as it was seen, for people.
func (f CPUFigures) demanded() int64 {
	if f.DemandMHz == fairshare.Unlimited {
		return f.UsedMHz
	}
	return max(f.UsedMHz, f.DemandMHz*100/growth) // rounding takes none of what was used
}

// growth is what a guest is taken to demand of what was seen, in percent: who grows is not held back by what it was.
const growth = 110

// watchedFor is how long waits are measured, which costs a file for each thread, after somebody looked at figures.
const watchedFor = 10 * time.Second

// Divider divides the processors of a host among its VMs, each second anew. What it knows it sees: after
// a restart it begins again.
type Divider struct {
	db        *store.DB
	grouper   Grouper
	cpu       Processors
	inventory func() host.Inventory

	last     map[resource.ID]sample
	lastIdle idleness
	given    map[string]cpuGroup

	mu      sync.Mutex
	figures map[resource.ID]CPUFigures
	sheet   compute.HostFigures
	asked   time.Time // when somebody last looked at figures
}

// sample is what was read of a group at a time. Waited is unknown while processors are not short.
type sample struct {
	at           time.Time
	used, waited time.Duration
}

const unknown time.Duration = -1

type idleness struct{ idle, all time.Duration }

// NewDivider makes the divider of a host; nil where its hypervisor's guests lie in no control groups.
func NewDivider(db *store.DB, hv Hypervisor, cpu Processors, inventory func() host.Inventory) *Divider {
	grouper, ok := hv.(Grouper)
	if !ok || cpu == nil {
		return nil
	}
	return &Divider{db: db, grouper: grouper, cpu: cpu, inventory: inventory,
		last: map[resource.ID]sample{}, given: map[string]cpuGroup{}, figures: map[resource.ID]CPUFigures{}}
}

// Figures are the last ones, by instance.
func (d *Divider) Figures() map[resource.ID]CPUFigures {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.figures
}

// Sheet are the last figures of the host. As long as people look, waits are measured though processors are not short.
func (d *Divider) Sheet(people bool) compute.HostFigures {
	d.mu.Lock()
	defer d.mu.Unlock()
	if people {
		d.asked = d.db.Now()
	}
	out := d.sheet
	out.Guests = maps.Clone(d.sheet.Guests) // memory is added to it
	return out
}

func (d *Divider) watched() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.asked.IsZero() && d.db.Now().Sub(d.asked) < watchedFor
}

// sheetOf are the figures of a host with so many MHz, of which so much was used.
func sheetOf(all int64, load load, figures map[resource.ID]CPUFigures, plan []cpuGroup) compute.HostFigures {
	out := compute.HostFigures{CPUMHz: all, CPUUsedMHz: all * load.busyPermille / 1000, CPUShort: load.short,
		Guests: map[resource.ID]compute.Figures{}, PoolsMHz: map[resource.ID]int64{}}
	for id, f := range figures {
		out.Guests[id] = compute.Figures{CPUEntitledMHz: f.EntitledMHz, CPUDemandMHz: f.demanded(), CPUUsedMHz: f.UsedMHz, CPUReadyMillis: f.ReadyMillis}
	}
	for _, g := range plan {
		if _, isGuest := figures[g.id]; !isGuest && g.id != "" {
			out.PoolsMHz[g.id] = g.entitledMHz
		}
	}
	return out
}

// Divide looks at all that runs here and gives each group its part. Of a guest that no record knows
// nothing is changed.
func (d *Divider) Divide(ctx context.Context) error {
	inv := d.inventory()
	facts := cpuFacts{threads: inv.Threads, mhz: inv.MHz}
	if facts.threads*facts.mhz <= 0 {
		return nil // what the host has is not known yet
	}
	groups, figures := d.grouper.Grouped(), map[resource.ID]CPUFigures{}
	snap, load, watched := d.db.Snapshot(), d.load(), d.watched()
	var here resource.ID
	for id, group := range groups {
		i := store.Find(snap, compute.Instances, id)
		if i == nil {
			continue
		}
		figures[id] = d.measure(id, group, facts.mhz, load.short, watched)
		here = i.Spec.HostID
		vm := cpuVM{id: id, pool: i.Spec.PoolID, cpus: i.Spec.CPUs, CPUPolicy: i.Spec.CPUPolicy, demandMHz: fairshare.Unlimited}
		if load.short {
			vm.demandMHz = figures[id].DemandMHz
		}
		facts.vms = append(facts.vms, vm)
	}
	facts.pools = poolsOn(snap, here)
	plan := append([]cpuGroup{sliceOf(facts.vms)}, divideCPU(facts)...)
	for _, g := range plan {
		if f, is := figures[g.id]; is {
			f.EntitledMHz = g.entitledMHz
			figures[g.id] = f
		}
	}
	maps.DeleteFunc(d.last, func(id resource.ID, _ sample) bool { _, there := groups[id]; return !there })
	d.mu.Lock()
	d.figures, d.sheet = figures, sheetOf(facts.threads*facts.mhz, load, figures, plan)
	d.mu.Unlock()
	return d.apply(ctx, plan, groups)
}

// poolsOn are the resource pools of which a host has a part.
func poolsOn(snap *store.Snapshot, hostID resource.ID) (out []cpuPool) {
	for _, p := range store.Every(snap, compute.Pools) {
		for _, part := range p.Status.Parts {
			if part.HostID == hostID {
				out = append(out, cpuPool{id: p.ID, parent: p.Spec.ParentID, CPUPolicy: part.CPUPolicy})
			}
		}
	}
	return out
}

// load is what the processors did since the last look.
type load struct {
	busyPermille int64
	// short: they had hardly a pause. Where they had, the division is that of a host where all want all: it is what
	// the next moment of need finds.
	short bool
}

func (d *Divider) load() load {
	idle, all, err := d.cpu.Idle()
	if err != nil {
		return load{}
	}
	before := d.lastIdle
	d.lastIdle = idleness{idle, all}
	if before.all == 0 || all <= before.all {
		return load{}
	}
	past, paused := all-before.all, min(max(idle-before.idle, 0), all-before.all)
	return load{busyPermille: int64((past - paused) * 1000 / past), short: paused*100 < past*shortOfCPU}
}

// measure reads what a guest used since the last look. Where processors are short its demand is what its
// threads ran and what they waited to run, as soon as two looks have seen them wait; else it has all it wants.
func (d *Divider) measure(id resource.ID, group string, mhz int64, short, watched bool) CPUFigures {
	used, err := d.cpu.CPUTime(group)
	now := sample{d.db.Now(), used, unknown}
	if short || watched {
		now.waited = d.cpu.CPUWait(group)
	}
	before, seen := d.last[id]
	out := CPUFigures{DemandMHz: fairshare.Unlimited, ReadyMillis: -1}
	if err != nil {
		return out
	}
	d.last[id] = now
	past := now.at.Sub(before.at)
	if !seen || past <= 0 {
		return out
	}
	clock := func(t time.Duration) int64 { return int64(max(t, 0)) * mhz / int64(past) }
	out.UsedMHz = clock(used - before.used)
	var waited time.Duration
	switch measured := now.waited != unknown && before.waited != unknown; {
	case measured:
		waited = max(now.waited-before.waited, 0)
		out.ReadyMillis = int64(waited * 1000 / past)
	case short:
		return out
	}
	out.DemandMHz = clock(max(used-before.used, 0)+waited) * growth / 100
	return out
}

// apply makes the groups as planned, and writes what differs from what they were given before. Version 1
// takes a limit only within that of the group around it, and that one only above those in it: what is
// refused in one order is tried in the other.
func (d *Divider) apply(ctx context.Context, plan []cpuGroup, groups map[resource.ID]string) error {
	var errs []error
	var limits []cpuGroup
	given := map[string]cpuGroup{}
	for _, g := range plan {
		before, there := d.given[g.name]
		if !there {
			if err := d.place(ctx, g, groups); err != nil {
				errs = append(errs, err)
				continue
			}
		}
		given[g.name] = g
		if !there || before.weight != g.weight {
			if err := d.cpu.SetCPUWeight(g.name, g.weight); err != nil {
				errs = append(errs, err)
				delete(given, g.name) // it is tried again
				continue
			}
		}
		if !there || before.limit != g.limit { // also none, which one of an earlier daemon may stand against
			limits = append(limits, g)
		}
	}
	errs = append(errs, d.limit(limits, given))
	d.given = given
	return errors.Join(append(errs, d.sweep(given))...)
}

// sliceOf is the slice of all guests: it weighs as much as their processors would beside what else runs
// on the host.
func sliceOf(vms []cpuVM) cpuGroup {
	var cpus int64
	for _, v := range vms {
		cpus += v.cpus
	}
	return cpuGroup{weight: min(max(1, sliceWeight*cpus), maxCPUWeight)}
}

// place makes the group of a pool, and puts a guest into its own.
func (d *Divider) place(ctx context.Context, g cpuGroup, groups map[resource.ID]string) error {
	at, isGuest := groups[g.id]
	if !isGuest {
		return d.cpu.Ensure(g.name)
	}
	if at != g.name {
		return d.grouper.Group(ctx, g.id, g.name)
	}
	return nil
}

func (d *Divider) limit(left []cpuGroup, given map[string]cpuGroup) error {
	var err error
	for range 4 {
		var refused []cpuGroup
		err = nil
		for _, g := range left {
			if failed := d.cpu.SetCPULimit(g.name, g.limit); failed != nil {
				err = errors.Join(err, failed)
				refused = append(refused, g)
			}
		}
		if err == nil {
			return nil
		}
		left = refused
		slices.Reverse(left)
	}
	for _, g := range left {
		delete(given, g.name) // it is tried again
	}
	return err
}

// sweep removes groups of pools that are gone. One that holds a guest is busy, and stays until it is empty.
func (d *Divider) sweep(given map[string]cpuGroup) error {
	there, err := d.cpu.List("")
	if err != nil {
		return err
	}
	slices.Reverse(there)
	for _, name := range there {
		if _, wanted := given[name]; !wanted && isPoolGroup(name) && !holds(there, name) {
			err = errors.Join(err, d.cpu.Remove(name))
		}
	}
	return err
}
