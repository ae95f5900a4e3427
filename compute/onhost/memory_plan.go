package onhost

import (
	"slices"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fairshare"
	"github.com/virga-cloud/virga/engine/resource"
)

// MemoryState is how short a host is of memory. In each one more is done than in the one before.
type MemoryState string

// The states, which are those of ESX.
const (
	MemoryHigh MemoryState = "high" // plenty is free: nothing is taken, and what was taken is given back
	MemorySoft MemoryState = "soft" // balloons take what guests leave idle
	MemoryHard MemoryState = "hard" // nobody grows, and what is above a guest's part is swapped
	MemoryLow  MemoryState = "low"  // almost nothing is free: likewise, at once
)

const mib = 1 << 20

// memoryLevel is the least that is free in a state, in percent of what the guests may have.
type memoryLevel struct {
	state MemoryState
	least int64
}

var memoryStates = []memoryLevel{{MemoryHigh, 6}, {MemorySoft, 4}, {MemoryHard, 2}, {MemoryLow, 0}}

const (
	// plentyFree is the part free, in percent, from which on all that was taken is given back; below that only
	// who needs it gets some. wellFree is what the division leaves free, betterBy what has to be free beyond the
	// least of a state before a host that was short comes back to it.
	plentyFree, wellFree, betterBy = 12, 7, 1
	// idleTax is how many percent of the worth of its shares a VM loses for memory that it leaves idle.
	idleTax = 75
	// memorySteps is in how many looks a guest can lose or get back all of its memory.
	memorySteps = 8
	// leastStep is less than anybody notices.
	leastStep = 8 * mib
	// headroom is what a guest has beside what it uses, as a part of that and at least, so that it can begin to grow.
	headroom, leastHeadroom = 8, 16 * mib
	// leftPart is the part of its memory that a balloon leaves a guest, whatever it says of itself.
	leftPart = 4
	// memoryOverhead is the least that a QEMU process holds beside the memory of its guest. In software emulation
	// it holds much more.
	memoryOverhead = 32 * mib
)

// memoryFacts are all that the division of a host's memory depends on. Amounts are in bytes.
type memoryFacts struct {
	// all is what the guests of this host may have together; available is what the kernel could give to anybody
	// now, below 0: nobody knows.
	all, available int64
	before         MemoryState
	// swapFree is what can still be swapped; kept is what of the host's memory is for the host itself.
	swapFree, kept int64
	// merged are pages that the kernel keeps once for several guests; each of those has them in shared.
	merged int64
	// mayMerge and merging say whether pages of the same content may be kept once, and whether more are looked for.
	mayMerge, merging bool
	guests            []memoryGuest
}

// memoryGuest is a VM that has a process here.
type memoryGuest struct {
	id resource.ID // the instance
	// memory is the size of the guest, given what it has of that, and resident what its QEMU holds of the host's.
	memory, given, resident int64
	// shared is what of resident is one with pages of others.
	shared int64
	// reservation and limit are its policy's; shares are its weight.
	reservation, limit, shares int64
	// answers says that the guest tells of itself; active is then what its programs use. One that swaps uses all.
	answers bool
	active  int64
	// wall is where its group is stopped now; 0: nowhere.
	wall int64
}

// memoryPart is what a guest is to have.
type memoryPart struct {
	id resource.ID
	// target is what it is entitled to now.
	target int64
	// ask is what its balloon is to leave it; 0: as it is.
	ask int64
	// wall is what its group may hold, beyond which the kernel swaps; 0: anything.
	wall int64
}

// memoryGuestOf reads a policy.
func memoryGuestOf(id resource.ID, memoryMiB int64, p compute.MemoryPolicy) memoryGuest {
	return memoryGuest{id: id, memory: memoryMiB * mib, reservation: p.MemoryReservationMiB * mib, limit: p.Limit(memoryMiB) * mib, shares: p.Shares(memoryMiB)}
}

// free is what the guests could have besides what they have: no more than is theirs, and no more than there is.
func (f memoryFacts) free() int64 {
	free := f.all - f.merged
	for _, g := range f.guests {
		free -= max(g.resident-g.shared, 0)
	}
	if f.available >= 0 {
		free = min(free, f.available)
	}
	return free
}

// part is so many percent of what the guests may have.
func (f memoryFacts) part(percent int64) int64 { return f.all * percent / 100 }

// state is how short the host is.
func (f memoryFacts) state() MemoryState {
	free, before := f.free(), slices.IndexFunc(memoryStates, func(s memoryLevel) bool { return s.state == f.before })
	for i, s := range memoryStates {
		least := s.least
		if i < before { // it would be better than before
			least += betterBy
		}
		if free >= f.part(least) {
			return s.state
		}
	}
	return MemoryLow
}

// divideMemory gives each guest its part, in the order of the guests.
//
// What a guest is entitled to is what reservation, shares and limit give it, with a tax on what it leaves idle.
// A balloon only takes what the guest does not use, and in small steps: memory comes back by the same steps, so
// that a guest that is wrong about itself is not hurt. What is used above a guest's part is not the balloon's
// to take; where the host is very short and can swap, that is swapped.
func divideMemory(f memoryFacts) (MemoryState, []memoryPart) {
	state := f.state()
	out := make([]memoryPart, len(f.guests))
	growth, wanted := make([]int64, len(f.guests)), int64(0)
	for i, target := range f.targets() {
		g := f.guests[i]
		out[i] = memoryPart{id: g.id, target: target, wall: f.wall(g, target, state)}
		if !g.answers {
			continue
		}
		step := max(g.memory/memorySteps, leastStep)
		switch goal := f.goal(g, target, state); {
		case goal > g.given:
			growth[i] = min(goal-g.given, step)
			wanted += growth[i]
		case goal < g.given-leastStep:
			out[i].ask = max(goal, g.given-step)
		}
	}
	for i, grant := range f.grant(growth, wanted, state) {
		g := f.guests[i]
		if grant >= leastStep || grant > 0 && g.given+grant == g.limit {
			out[i].ask = g.given + grant
		}
	}
	return state, out
}

// targets divide what is there, less what has to be free for the host to have plenty.
func (f memoryFacts) targets() []int64 {
	capacity := f.all - f.part(wellFree)
	claims := make([]fairshare.Taxed, len(f.guests))
	for i, g := range f.guests {
		capacity -= g.overhead()
		claims[i] = fairshare.Taxed{Active: g.need(), Claim: fairshare.Claim{
			Reservation: max(g.reservation, f.stuck(g)), Limit: g.limit, Shares: g.shares,
		}}
	}
	return fairshare.DivideTaxed(capacity, claims, idleTax)
}

// stuck is what nobody can take from a guest: all that it holds, where it has no balloon and the host no swap.
func (f memoryFacts) stuck(g memoryGuest) int64 {
	if g.answers || f.swaps() {
		return 0
	}
	return min(g.resident, g.given)
}

// merge says whether pages of the same content are to be looked for: where the host is short, until there is plenty.
func (f memoryFacts) merge(state MemoryState) bool {
	return f.mayMerge && (state != MemoryHigh || f.merging && f.free() < f.part(plentyFree))
}

// swaps says that the host can swap what a guest will not give: enough to be less short than in the worst state.
func (f memoryFacts) swaps() bool {
	return f.swapFree > 0 && f.swapFree >= f.part(memoryStates[2].least)
}

// wall is where the kernel begins to swap of a guest: its part, which it comes down to in steps. A wall stands
// until there is plenty again, so that what was swapped is not read back into a host that is short.
func (f memoryFacts) wall(g memoryGuest, target int64, state MemoryState) int64 {
	part, step := target+g.overhead(), max(g.memory/memorySteps, leastStep)
	switch {
	case state == MemoryHigh || !f.swaps():
		return 0
	case g.wall > 0:
		return max(part, g.wall-step)
	case state == MemorySoft || g.resident <= part:
		return 0
	}
	return max(part, g.resident-step)
}

// need is what a guest uses, with what it needs to grow. One that tells nothing uses what it holds.
func (g memoryGuest) need() int64 {
	if !g.answers {
		return g.used()
	}
	return min(g.active+max(g.active/headroom, leastHeadroom), g.memory)
}

// used is what a guest uses, or, where it does not tell, what it holds.
func (g memoryGuest) used() int64 {
	if !g.answers {
		return min(g.resident, g.memory)
	}
	return g.active
}

// overhead is what its QEMU holds beside the memory of the guest, as far as it can be seen.
func (g memoryGuest) overhead() int64 { return max(g.resident-g.given, memoryOverhead) }

// floor is the least that a balloon leaves a guest.
func (g memoryGuest) floor() int64 {
	return min(max(g.reservation, g.need(), g.memory/leftPart, compute.MinMemoryMiB*mib), g.memory)
}

// goal is what a guest that answers would have in the end, if nothing changed.
func (f memoryFacts) goal(g memoryGuest, target int64, state MemoryState) int64 {
	most := max(g.limit, g.floor())
	switch {
	case state != MemoryHigh:
		return min(max(target, g.floor()), most)
	case f.free() >= f.part(plentyFree):
		return most
	case g.need() > g.given: // it needs more, and there is some
		return min(g.need()+g.need()/headroom, most)
	}
	return min(g.given, most)
}

// grant divides what may be given out in this look among those who grow: half of what is free above the least
// of the state, so that no look alone makes the host short.
func (f memoryFacts) grant(growth []int64, wanted int64, state MemoryState) []int64 {
	least := memoryStates[0].least
	switch state {
	case MemorySoft:
		least = memoryStates[2].least
	case MemoryHard, MemoryLow:
		least = 100
	}
	claims := make([]fairshare.Claim, len(growth))
	for i := range growth {
		claims[i] = fairshare.Claim{Limit: fairshare.Unlimited, Demand: growth[i], Shares: growth[i]}
	}
	return fairshare.Divide(min(max(f.free()-f.part(least), 0)/2, wanted), claims)
}
