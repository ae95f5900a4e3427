package compute

import (
	"cmp"
	"slices"

	"github.com/virga-cloud/virga/engine/fairshare"
	"github.com/virga-cloud/virga/engine/resource"
)

// poolHost is a host of a cluster, with what can be divided there.
type poolHost struct {
	id       resource.ID
	mhz, mib int64
	// threadMHz is the clock of one thread.
	threadMHz int64
}

// poolMember is a VM that has an instance on a host.
type poolMember struct {
	pool, host resource.ID // pool empty: in none
	cpus, mib  int64
	CPUPolicy
	MemoryPolicy
	// demandMHz and activeMiB are what it would use if it had all; fairshare.Unlimited: nobody knows.
	demandMHz, activeMiB int64
}

// poolFacts are all that the division of one cluster's pools depends on.
type poolFacts struct {
	pools   []*Pool
	hosts   []poolHost
	members []poolMember
}

// spreadPools gives each pool its parts on the hosts that have VMs of it, ordered by host.
func spreadPools(f poolFacts) map[resource.ID][]PoolPart {
	pools, hosts := parentsFirst(f.pools), slices.Clone(f.hosts)
	slices.SortFunc(hosts, func(a, b poolHost) int { return cmp.Compare(a.id, b.id) })
	poolAt, hostAt := map[resource.ID]int{}, map[resource.ID]int{}
	for i, p := range pools {
		poolAt[p.ID] = i
	}
	for i, h := range hosts {
		hostAt[h.id] = i
	}
	at := func(places map[resource.ID]int, id resource.ID) int {
		if i, there := places[id]; there {
			return i
		}
		return -1
	}
	capacity, nested, members := [2][]int64{}, [2][]fairshare.Nested{}, [2][]fairshare.Member{} // of processors, and of memory
	for _, h := range hosts {
		capacity[0], capacity[1] = append(capacity[0], h.mhz), append(capacity[1], h.mib)
	}
	for _, p := range pools {
		cpu := fairshare.Claim{Reservation: p.Spec.CPUReservationMHz, Shares: p.Spec.CPUPolicy.Shares(poolCPUs), Limit: orNone(p.Spec.CPULimitMHz)}
		memory := fairshare.Claim{Reservation: p.Spec.MemoryReservationMiB, Shares: p.Spec.MemoryPolicy.Shares(poolMemoryMiB), Limit: orNone(p.Spec.MemoryLimitMiB)}
		nested[0] = append(nested[0], fairshare.Nested{Claim: cpu, Parent: at(poolAt, p.Spec.ParentID)})
		nested[1] = append(nested[1], fairshare.Nested{Claim: memory, Parent: at(poolAt, p.Spec.ParentID)})
	}
	for _, m := range f.members {
		place := at(hostAt, m.host)
		if place < 0 {
			continue
		}
		cpu := fairshare.Claim{Reservation: m.CPUReservationMHz, Shares: m.CPUPolicy.Shares(m.cpus), Demand: m.demandMHz,
			Limit: min(orNone(m.CPULimitMHz), m.cpus*hosts[place].threadMHz)}
		memory := fairshare.Claim{Reservation: m.MemoryReservationMiB, Shares: m.MemoryPolicy.Shares(m.mib), Demand: m.activeMiB, Limit: m.MemoryPolicy.Limit(m.mib)}
		members[0] = append(members[0], fairshare.Member{Claim: cpu, Pool: at(poolAt, m.pool), Place: place})
		members[1] = append(members[1], fairshare.Member{Claim: memory, Pool: at(poolAt, m.pool), Place: place})
	}
	cpu, memory := fairshare.Spread(capacity[0], nested[0], members[0]), fairshare.Spread(capacity[1], nested[1], members[1])
	out := map[resource.ID][]PoolPart{}
	for i, p := range pools {
		for j, h := range hosts {
			c, m := cpu[i][j], memory[i][j]
			if !c.Present {
				continue
			}
			out[p.ID] = append(out[p.ID], PoolPart{HostID: h.id,
				CPUPolicy:    CPUPolicy{CPUShares: c.Shares, CPUReservationMHz: c.Reservation, CPULimitMHz: limitOf(c)},
				MemoryPolicy: MemoryPolicy{MemoryShares: m.Shares, MemoryReservationMiB: m.Reservation, MemoryLimitMiB: limitOf(m)}})
		}
	}
	return out
}

// parentsFirst orders pools so that each comes after the one that it lies in.
func parentsFirst(pools []*Pool) []*Pool {
	depth := map[resource.ID]int{}
	byID := map[resource.ID]*Pool{}
	for _, p := range pools {
		byID[p.ID] = p
	}
	for _, p := range pools {
		for up := byID[p.Spec.ParentID]; up != nil && depth[p.ID] < len(pools); up = byID[up.Spec.ParentID] {
			depth[p.ID]++
		}
	}
	return slices.SortedFunc(slices.Values(pools), func(a, b *Pool) int {
		return cmp.Or(cmp.Compare(depth[a.ID], depth[b.ID]), cmp.Compare(a.ID, b.ID))
	})
}

// orNone is a limit, of which 0 is none.
func orNone(limit int64) int64 {
	if limit == 0 {
		return fairshare.Unlimited
	}
	return limit
}

// limitOf is the limit of a part; one of nothing would be none, so it is 1 at least.
func limitOf(p fairshare.Part) int64 {
	if p.Limit == fairshare.Unlimited {
		return 0
	}
	return max(1, p.Limit)
}

// worthTelling is by how much a part must change, in percent, before the hosts are told: demand is never still, and
// each change is a commit.
const worthTelling = 5

// sameParts reports whether what the hosts have been told is near enough to what they would be told now.
func sameParts(told, now []PoolPart) bool {
	return slices.EqualFunc(told, now, func(a, b PoolPart) bool {
		return a.HostID == b.HostID && near(a.CPUShares, b.CPUShares) && near(a.CPUReservationMHz, b.CPUReservationMHz) && near(a.CPULimitMHz, b.CPULimitMHz) &&
			near(a.MemoryShares, b.MemoryShares) && near(a.MemoryReservationMiB, b.MemoryReservationMiB) && near(a.MemoryLimitMiB, b.MemoryLimitMiB)
	})
}

func near(a, b int64) bool {
	if a == 0 || b == 0 {
		return a == b
	}
	return max(a, b)-min(a, b) <= max(a, b)/100*worthTelling+max(a, b)%100*worthTelling/100
}
