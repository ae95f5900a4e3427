package onhost

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fairshare"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
)

// processors are a host's as the kernel would show them; version 1's rule of limits holds.
type processors struct {
	weights    map[string]int64
	limits     map[string]time.Duration
	used, wait map[string]time.Duration
	idle, all  time.Duration
	writes     []string
	broken     int // so many weights are refused
}

func (p *processors) Ensure(name string) error {
	for i := range len(name) + 1 {
		if i == len(name) || name[i] == '/' {
			if _, there := p.weights[name[:i]]; !there {
				p.weights[name[:i]] = 100
			}
		}
	}
	return nil
}

func (p *processors) Remove(name string) error {
	delete(p.weights, name)
	delete(p.limits, name)
	p.writes = append(p.writes, "remove "+name)
	return nil
}

func (p *processors) List(string) ([]string, error) {
	all := slices.Sorted(maps.Keys(p.weights))
	return slices.DeleteFunc(all, func(name string) bool { return name == "" }), nil
}

func (p *processors) SetCPUWeight(name string, weight int64) error {
	if p.broken > 0 {
		p.broken--
		return fault.New(fault.Unavailable, "the kernel does not take the weight of %s", name)
	}
	p.weights[name] = weight
	p.writes = append(p.writes, fmt.Sprint("weight ", name, " ", weight))
	return nil
}

func (p *processors) SetCPULimit(name string, limit time.Duration) error {
	for other, has := range p.limits {
		if has > 0 && limit > 0 && (strings.HasPrefix(other, name+"/") && has > limit || strings.HasPrefix(name, other+"/") && limit > has) {
			return fault.New(fault.Invalid, "%s: %v does not fit to %v of %s", name, limit, has, other)
		}
	}
	p.limits[name] = limit
	p.writes = append(p.writes, fmt.Sprint("limit ", name, " ", limit))
	return nil
}

func (p *processors) CPUTime(name string) (time.Duration, error) {
	if _, there := p.weights[name]; !there {
		return 0, fault.New(fault.NotFound, "no group %s", name)
	}
	return p.used[name], nil
}

func (p *processors) CPUWait(name string) time.Duration { return p.wait[name] }

func (p *processors) Idle() (time.Duration, time.Duration, error) { return p.idle, p.all, nil }

// grouped is a hypervisor of which only the groups are asked.
type grouped struct {
	Hypervisor
	cpu    *processors
	groups map[resource.ID]string
}

func (g *grouped) Grouped() map[resource.ID]string { return maps.Clone(g.groups) }

func (g *grouped) Group(_ context.Context, id resource.ID, name string) error {
	_ = g.cpu.Ensure(name)
	delete(g.cpu.weights, g.groups[id])
	g.groups[id] = name
	return nil
}

// dividing is a host of one 2800 MHz processor with the instances a, b and c.
type dividing struct {
	t   *testing.T
	db  *store.DB
	w   *store.SpecWriter[compute.InstanceSpec, compute.InstanceStatus]
	now time.Time
	cpu *processors
	hv  *grouped
	*Divider
}

func newDividing(t *testing.T) *dividing {
	d := &dividing{t: t, now: time.Unix(1_700_000_000, 0),
		cpu: &processors{weights: map[string]int64{}, limits: map[string]time.Duration{}, used: map[string]time.Duration{}, wait: map[string]time.Duration{}}}
	d.db = store.NewDB(memory.New(), resource.NewCatalog(compute.Instances, compute.Pools, host.Hosts))
	d.db.Now, d.db.Inline = func() time.Time { return d.now }, true
	d.w = store.Specs(store.NewRegistry(), compute.Instances, "test")
	d.hv = &grouped{cpu: d.cpu, groups: map[resource.ID]string{}}
	for id, policy := range map[resource.ID]compute.CPUPolicy{
		"a": {CPUShares: 1000, CPUReservationMHz: 700}, "b": {CPUShares: 2000}, "c": {CPUShares: 4000},
	} {
		i := &compute.Instance{Meta: resource.Meta{ID: id, Name: string(id), Project: "p"}, Spec: compute.InstanceSpec{CPUs: 1, CPUPolicy: policy}}
		d.commit(func(b *store.Batch) { d.w.Create(b, i) })
		d.hv.groups[id] = GroupOf(id)
		_ = d.cpu.Ensure(GroupOf(id))
	}
	d.Divider = NewDivider(d.db, d.hv, d.cpu, func() host.Inventory { return host.Inventory{Threads: 1, MHz: 2800} })
	return d
}

func (d *dividing) commit(fill func(*store.Batch)) {
	d.t.Helper()
	b := d.db.Begin()
	fill(b)
	if err := d.db.Commit(d.t.Context(), b); err != nil {
		d.t.Fatal(err)
	}
	if err := d.db.CatchUp(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *dividing) set(id resource.ID, change func(*compute.InstanceSpec)) {
	d.t.Helper()
	d.commit(func(b *store.Batch) { d.w.Set(b, store.Find(d.db.Snapshot(), compute.Instances, id), change) })
}

// second lets a second go by, in which groups ran and waited for parts of it, in percent.
func (d *dividing) second(idle int, ran map[string][2]int) {
	d.t.Helper()
	d.now = d.now.Add(time.Second)
	d.cpu.all += time.Second
	d.cpu.idle += time.Duration(idle) * time.Second / 100
	for name, part := range ran {
		d.cpu.used[name] += time.Duration(part[0]) * time.Second / 100
		d.cpu.wait[name] += time.Duration(part[1]) * time.Second / 100
	}
	d.cpu.writes = nil
	if err := d.Divide(d.t.Context()); err != nil {
		d.t.Fatal(err)
	}
}

func (d *dividing) weighs(want string) {
	d.t.Helper()
	var got []string
	for _, name := range slices.Sorted(maps.Keys(d.cpu.weights)) {
		got = append(got, fmt.Sprintf("%s %d", name, d.cpu.weights[name]))
	}
	if text := strings.Join(got, ", "); text != want {
		d.t.Errorf("groups weigh %s, want %s", text, want)
	}
}

func TestDividerGivesTheTextbookPartsAndThenRests(t *testing.T) {
	d := newDividing(t)
	d.second(50, nil)
	d.weighs(" 300, vm-a 5000, vm-b 5000, vm-c 10000")
	d.second(50, nil)
	if len(d.cpu.writes) > 0 {
		t.Errorf("a second look at the same writes %v", d.cpu.writes)
	}
}

func TestDividerLendsWhatIsIdleWhereProcessorsAreShort(t *testing.T) {
	d := newDividing(t)
	d.second(50, nil)
	d.second(0, nil) // the first look at who waits
	d.second(0, map[string][2]int{"vm-a": {50, 50}, "vm-b": {50, 50}, "vm-c": {0, 0}})
	d.weighs(" 300, vm-a 5000, vm-b 10000, vm-c 7500")
	f := d.Figures()
	if a, c := f["a"], f["c"]; a.UsedMHz != 1400 || a.DemandMHz != 3080 || a.EntitledMHz != 933 || c != (CPUFigures{}) {
		t.Errorf("the figures are %+v", f)
	}
	d.second(0, map[string][2]int{"vm-a": {25, 75}, "vm-b": {25, 75}, "vm-c": {50, 50}})
	d.weighs(" 300, vm-a 5000, vm-b 5000, vm-c 10000")
}

func TestDividerFollowsTheRecords(t *testing.T) {
	d := newDividing(t)
	d.second(50, nil)
	d.set("c", func(s *compute.InstanceSpec) { s.CPULimitMHz = 1400 })
	d.second(50, nil)
	if d.cpu.limits["vm-c"] != 500*time.Millisecond {
		t.Errorf("the limit is %v", d.cpu.limits["vm-c"])
	}
	d.set("c", func(s *compute.InstanceSpec) { s.CPULimitMHz = 0 })
	d.second(50, nil)
	if d.cpu.limits["vm-c"] != 0 {
		t.Errorf("the limit stays at %v", d.cpu.limits["vm-c"])
	}
	delete(d.hv.groups, "c")
	delete(d.cpu.weights, "vm-c")
	d.second(50, nil)
	d.weighs(" 200, vm-a 5000, vm-b 10000")
	if len(d.last) != 2 {
		t.Errorf("what was measured of guests that ended is kept: %v", d.last)
	}
}

func TestDividerLeavesAGuestAloneThatNoRecordKnows(t *testing.T) {
	d := newDividing(t)
	d.hv.groups["stranger"] = "vm-stranger"
	_ = d.cpu.Ensure("vm-stranger")
	d.second(50, nil)
	d.weighs(" 300, vm-a 5000, vm-b 5000, vm-c 10000, vm-stranger 100")
}

func TestDividerSweepsEmptyGroupsOfPoolsOnly(t *testing.T) {
	d := newDividing(t)
	for _, name := range []string{"pool-x/pool-y", "pool-z/vm-q"} {
		_ = d.cpu.Ensure(name)
	}
	d.second(50, nil)
	d.weighs(" 300, pool-x 100, pool-z 100, pool-z/vm-q 100, vm-a 5000, vm-b 5000, vm-c 10000")
	d.second(50, nil)
	d.weighs(" 300, pool-z 100, pool-z/vm-q 100, vm-a 5000, vm-b 5000, vm-c 10000")
}

func TestDividerWritesLimitsInAnOrderThatTheKernelTakes(t *testing.T) {
	for _, c := range []struct{ pool, vm, newPool, newVM time.Duration }{
		{800, 700, 300, 200}, {300, 200, 800, 700}, {0, 900, 500, 400}, {500, 400, 0, 900},
	} {
		d := newDividing(t)
		names := []string{"p", "p/vm-a"}
		_ = d.cpu.Ensure("p/vm-a")
		d.cpu.limits = map[string]time.Duration{"p": c.pool * time.Millisecond, "p/vm-a": c.vm * time.Millisecond}
		wanted := []cpuGroup{{name: names[0], limit: c.newPool * time.Millisecond}, {name: names[1], limit: c.newVM * time.Millisecond}}
		if err := d.limit(wanted, map[string]cpuGroup{}); err != nil || d.cpu.limits["p"] != c.newPool*time.Millisecond || d.cpu.limits["p/vm-a"] != c.newVM*time.Millisecond {
			t.Errorf("%+v: %v, %v", c, d.cpu.limits, err)
		}
	}
	d := newDividing(t)
	given := map[string]cpuGroup{"p/x": {}}
	d.cpu.limits = map[string]time.Duration{"p": time.Millisecond}
	if err := d.limit([]cpuGroup{{name: "p/x", limit: time.Second}}, given); err == nil || len(given) != 0 {
		t.Errorf("a limit that the kernel never takes is kept as given: %v, %v", given, err)
	}
}

func TestDividerWaitsUntilTheHostIsKnown(t *testing.T) {
	d := newDividing(t)
	d.inventory = func() host.Inventory { return host.Inventory{} }
	d.second(50, nil)
	if len(d.cpu.writes) > 0 {
		t.Errorf("it writes %v", d.cpu.writes)
	}
	if NewDivider(d.db, struct{ Hypervisor }{}, d.cpu, d.inventory) != nil {
		t.Error("a hypervisor without groups gets a divider")
	}
}

func TestDividerTriesAgainWhatTheKernelRefused(t *testing.T) {
	d := newDividing(t)
	d.cpu.broken = 2
	d.now = d.now.Add(time.Second)
	if err := d.Divide(t.Context()); err == nil {
		t.Error("what was refused is not told")
	}
	d.second(50, nil)
	d.weighs(" 300, vm-a 5000, vm-b 5000, vm-c 10000")
}

func TestDividerTakesALimitAwayThatAnEarlierDaemonSet(t *testing.T) {
	d := newDividing(t)
	d.set("c", func(s *compute.InstanceSpec) { s.CPULimitMHz = 1400 })
	d.second(50, nil)
	d.set("c", func(s *compute.InstanceSpec) { s.CPULimitMHz = 0 })
	d.Divider = NewDivider(d.db, d.hv, d.cpu, d.inventory)
	d.second(50, nil)
	if d.cpu.limits["vm-c"] != 0 {
		t.Errorf("the limit stays at %v", d.cpu.limits["vm-c"])
	}
}

func TestDividerPutsGuestsIntoTheGroupsOfTheirPools(t *testing.T) {
	d := newDividing(t)
	l := store.NewRegistry()
	pools, statuses := store.Specs(l, compute.Pools, "test"), store.Statuses(l, compute.Pools, "test")
	hosts := store.Specs(l, host.Hosts, "test")
	d.commit(func(b *store.Batch) { hosts.Create(b, &host.Host{Meta: resource.Meta{ID: "here", Name: "here"}}) })
	part := func(id resource.ID, shares int64, hosts ...resource.ID) {
		d.commit(func(b *store.Batch) {
			p := &compute.Pool{Meta: resource.Meta{ID: id, Name: string(id)}}
			if id == "web" {
				p.Spec.ParentID = "gold"
			}
			for _, h := range hosts {
				p.Status.Parts = append(p.Status.Parts, compute.PoolPart{HostID: h, CPUPolicy: compute.CPUPolicy{CPUShares: shares, CPULimitMHz: 1400}})
			}
			pools.Create(b, p)
		})
	}
	part("gold", 3000, "elsewhere", "here")
	part("web", 1000, "here")
	for _, id := range []resource.ID{"a", "b", "c"} {
		d.set(id, func(s *compute.InstanceSpec) { s.HostID = "here" })
	}
	d.set("a", func(s *compute.InstanceSpec) { s.PoolID, s.CPUReservationMHz = "web", 0 })
	d.set("b", func(s *compute.InstanceSpec) { s.PoolID = "gold" })
	d.second(50, nil)
	if d.hv.groups["a"] != "pool-gold/pool-web/vm-a" || d.hv.groups["b"] != "pool-gold/vm-b" || d.hv.groups["c"] != "vm-c" {
		t.Errorf("guests are in %v", d.hv.groups)
	}
	d.weighs(" 300, pool-gold 7500, pool-gold/pool-web 5000, pool-gold/pool-web/vm-a 10000, pool-gold/vm-b 10000, vm-c 10000")
	if d.cpu.limits["pool-gold"] != 500*time.Millisecond {
		t.Errorf("limits are %v", d.cpu.limits)
	}
	d.second(50, nil)
	if len(d.cpu.writes) > 0 {
		t.Errorf("a second look at the same writes %v", d.cpu.writes)
	}

	t.Run("and out of them", func(t *testing.T) {
		d.set("a", func(s *compute.InstanceSpec) { s.PoolID = "" })
		d.commit(func(b *store.Batch) {
			statuses.Set(b, store.Find(d.db.Snapshot(), compute.Pools, "web"), func(s *compute.PoolStatus) { s.Parts = nil })
		})
		d.second(50, nil)
		if d.hv.groups["a"] != "vm-a" {
			t.Errorf("it is in %s", d.hv.groups["a"])
		}
		if _, there := d.cpu.weights["pool-gold/pool-web"]; there {
			t.Error("the empty group of a pool stays")
		}
	})
}

func TestDividerTellsPeopleWhatItSaw(t *testing.T) {
	d := newDividing(t)
	d.second(50, nil)
	d.second(60, map[string][2]int{"vm-a": {40, 10}})
	sheet := d.Sheet(true)
	a := sheet.Guests["a"]
	if sheet.CPUMHz != 2800 || sheet.CPUUsedMHz != 1120 || sheet.CPUShort || a.CPUUsedMHz != 1120 || a.CPUReadyMillis != -1 || a.CPUEntitledMHz != 700 {
		t.Errorf("%+v", sheet)
	}
	d.second(60, nil) // waits are looked at from now on
	d.second(60, map[string][2]int{"vm-a": {40, 10}})
	if a := d.Sheet(false).Guests["a"]; a.CPUReadyMillis != 100 || a.CPUDemandMHz != 1400 {
		t.Errorf("who ran 40 %% of a second and waited 10 demands half: %+v", a)
	}
	d.now = d.now.Add(watchedFor)
	d.second(60, nil)
	if a := d.Sheet(false).Guests["a"]; a.CPUReadyMillis != -1 {
		t.Errorf("nobody looks any more, and waits are measured: %+v", a)
	}
	if got := (CPUFigures{UsedMHz: 7, DemandMHz: fairshare.Unlimited}).demanded(); got != 7 {
		t.Errorf("a demand that is not known is shown as %d", got)
	}
	short := Half{}
	if short.Figures() != nil {
		t.Error("a host without control groups has figures")
	}
}
