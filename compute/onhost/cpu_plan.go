package onhost

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fairshare"
	"github.com/virga-cloud/virga/engine/resource"
)

// cpuFacts are all that the division of a host's processors depends on.
type cpuFacts struct {
	threads, mhz int64 // of the host
	pools        []cpuPool
	vms          []cpuVM
}

// cpuPool is a resource pool, with what of it is this host's.
type cpuPool struct {
	id, parent resource.ID // parent empty: the host itself
	compute.CPUPolicy
}

// cpuVM is a VM that has a process here.
type cpuVM struct {
	id, pool resource.ID // the instance; pool empty: the host itself
	cpus     int64
	compute.CPUPolicy
	// demandMHz is what it would use if it had all; fairshare.Unlimited: nobody knows, or all.
	demandMHz int64
}

// cpuGroup is what one control group is to be given.
type cpuGroup struct {
	id   resource.ID // the pool or instance
	name string
	// weight is among its siblings; limit is processor time a second, 0: none.
	weight int64
	limit  time.Duration
	// entitledMHz is what it is entitled to now.
	entitledMHz int64
}

// The unit of a division is a kHz, so that what rounding leaves is nothing.
const kHz = 1000

// cpuDivider turns facts into groups.
type cpuDivider struct {
	cpuFacts
	inPool  map[resource.ID][]cpuVM
	poolsIn map[resource.ID][]cpuPool
	out     []cpuGroup
}

// divideCPU gives each pool and VM its group, a pool's before those in it. A pool whose parent is not
// there counts as the host's own.
//
// The weight of a group among its siblings is what it is entitled to, so that those who run get just that.
// Who demands less weighs as much as it would be entitled to if everybody demanded all: when it wakes, the
// kernel gives it that at once, and the next division the rest.
func divideCPU(f cpuFacts) []cpuGroup {
	d := cpuDivider{cpuFacts: f, inPool: map[resource.ID][]cpuVM{}, poolsIn: map[resource.ID][]cpuPool{}}
	parents := map[resource.ID]resource.ID{}
	for _, p := range f.pools {
		parents[p.id] = p.parent
	}
	for _, p := range f.pools {
		d.poolsIn[rooted(parents, p.parent, p.id)] = append(d.poolsIn[rooted(parents, p.parent, p.id)], p)
	}
	for _, v := range f.vms {
		pool := v.pool
		if _, there := parents[pool]; !there {
			pool = ""
		}
		d.inPool[pool] = append(d.inPool[pool], v)
	}
	capacity := inKHz(f.threads * f.mhz)
	now := fairshare.DivideTree(capacity, d.grow("", fairshare.Claim{}, false))
	busy := fairshare.DivideTree(capacity, d.grow("", fairshare.Claim{}, true))
	d.give("", "", now, busy, 0)
	return d.out
}

// rooted is the parent that a pool hangs from: the one that it names, or the host where that is not
// there, or where the way up comes back to the pool.
func rooted(parents map[resource.ID]resource.ID, parent, id resource.ID) resource.ID {
	up := parent
	for range len(parents) {
		if up == "" {
			return parent
		}
		next, there := parents[up]
		if !there || up == id {
			return ""
		}
		up = next
	}
	return ""
}

// grow makes the tree of claims; busy: as if everybody demanded all.
func (d *cpuDivider) grow(id resource.ID, claim fairshare.Claim, busy bool) fairshare.Pool {
	p := fairshare.Pool{Claim: claim}
	slices.SortFunc(d.poolsIn[id], func(a, b cpuPool) int { return cmp.Compare(a.id, b.id) })
	slices.SortFunc(d.inPool[id], func(a, b cpuVM) int { return cmp.Compare(a.id, b.id) })
	for _, child := range d.poolsIn[id] {
		p.Pools = append(p.Pools, d.grow(child.id, claimOf(child.CPUPolicy, 1, fairshare.Unlimited, fairshare.Unlimited), busy))
	}
	for _, v := range d.inPool[id] {
		demand := v.demandMHz
		if busy {
			demand = fairshare.Unlimited
		}
		p.Claims = append(p.Claims, claimOf(v.CPUPolicy, v.cpus, v.cpus*d.mhz, demand))
	}
	return p
}

// claimOf is a policy in kHz; no VM gets more than its processors are.
func claimOf(p compute.CPUPolicy, cpus, mostMHz, demandMHz int64) fairshare.Claim {
	limit := mostMHz
	if p.CPULimitMHz > 0 {
		limit = min(limit, p.CPULimitMHz)
	}
	return fairshare.Claim{Reservation: p.CPUReservationMHz * kHz, Shares: p.Shares(cpus), Limit: inKHz(limit), Demand: inKHz(demandMHz)}
}

func inKHz(mhz int64) int64 {
	if mhz > fairshare.Unlimited/kHz {
		return fairshare.Unlimited
	}
	return mhz * kHz
}

// give writes the groups of one pool. limit is that of the groups around them, 0: none.
func (d *cpuDivider) give(id resource.ID, under string, now, busy fairshare.Division, limit time.Duration) {
	first := len(d.out)
	for i, child := range d.poolsIn[id] {
		d.out = append(d.out, cpuGroup{
			id: child.id, name: under + poolGroup + string(child.id), limit: d.tighter(child.CPULimitMHz, limit),
			entitledMHz: now.Pools[i].Amount / kHz, weight: max(now.Pools[i].Amount, busy.Pools[i].Amount),
		})
	}
	for i, v := range d.inPool[id] {
		d.out = append(d.out, cpuGroup{
			id: v.id, name: under + GroupOf(v.id), limit: d.tighter(v.CPULimitMHz, limit),
			entitledMHz: now.Claims[i] / kHz, weight: max(now.Claims[i], busy.Claims[i]),
		})
	}
	siblings := d.out[first:]
	scale(siblings)
	for i := range d.poolsIn[id] {
		g := siblings[i]
		d.give(g.id, g.name+"/", now.Pools[i], busy.Pools[i], cmp.Or(g.limit, limit))
	}
}

// tighter is the smaller of a limit in MHz and one around it.
func (d *cpuDivider) tighter(mhz int64, around time.Duration) time.Duration {
	if mhz == 0 || d.mhz == 0 {
		return 0 // one around it holds for it as well
	}
	own := time.Duration(mhz) * time.Second / time.Duration(d.mhz)
	if around > 0 {
		return min(own, around)
	}
	return own
}

// scale brings the weights of siblings to what the kernel takes, the heaviest to the most.
func scale(siblings []cpuGroup) {
	var most int64 = 1
	for _, g := range siblings {
		most = max(most, g.weight)
	}
	for i := range siblings {
		siblings[i].weight = max(1, siblings[i].weight*maxCPUWeight/most)
	}
}

// maxCPUWeight is the largest weight of a control group.
const maxCPUWeight = 10_000

// poolGroup begins the name of a pool's group.
const poolGroup = "pool-"

func isPoolGroup(name string) bool {
	return strings.HasPrefix(name[strings.LastIndexByte(name, '/')+1:], poolGroup)
}

// holds reports whether there is a group in one.
func holds(all []string, name string) bool {
	return slices.ContainsFunc(all, func(other string) bool { return strings.HasPrefix(other, name+"/") })
}
