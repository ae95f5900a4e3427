// Package fairshare divides an amount of something (processor cycles, memory, bandwidth) among those who
// claim it, by reservation, shares and limit. It is arithmetic: no clock, no records, no host.
//
// Each claimant gets between its floor (what is reserved and demanded) and its ceiling (what is demanded
// and allowed), and between the two as much as its shares are worth: the same amount a share for all who
// are neither at their floor nor at their ceiling. What one does not demand, or may not have, flows on to
// the others. This is weighted max-min fairness with bounds, a continuous knapsack whose amount a share is
// found by sorting the points where claimants meet their bounds (Helgason, Kennington and Lall, "A
// polynomially bounded algorithm for a singly constrained quadratic program", 1980). All is exact: integers
// that are 128 bits wide where they are multiplied.
package fairshare

import (
	"math"
	"math/bits"
	"slices"
)

// Unlimited is the limit of a claim that has none, and the demand of one that takes all it gets.
const Unlimited = math.MaxInt64

// Claim is what one claimant asks for. Amounts are in any unit, the same in all claims of a division; a
// fine one is best, because up to one unit a claimant stays undivided. Capacity times claimants, and the sum of
// the shares, must stay below 2^63.
type Claim struct {
	// Reservation is what it gets whatever the others want, as far as it demands it.
	Reservation int64
	// Limit is the most it gets, though more be idle; Unlimited: none.
	Limit int64
	// Shares are its weight in what is left; only their ratio counts. 0: the floor and no more.
	Shares int64
	// Demand is what it would use if it had all; Unlimited: everything.
	Demand int64
}

// Floor is the amount that a claim gets whatever the others want.
func (c Claim) Floor() int64 { return max(min(c.Reservation, c.Ceiling()), 0) }

// Ceiling is the amount that a claim never gets more of.
func (c Claim) Ceiling() int64 { return max(min(c.Limit, c.Demand), 0) }

// Divide gives each claim its part of capacity, in the order of the claims. The sum is never above
// capacity. Where the floors alone are more than capacity (hardware went away), each gets the same
// fraction of its floor and nobody gets more.
func Divide(capacity int64, claims []Claim) []int64 {
	capacity = max(capacity, 0)
	parts := make([]part, len(claims))
	var floors int64
	for i, c := range claims {
		// Nobody gets more than all there is, so that no sum overflows.
		floor, ceiling := min(c.Floor(), capacity), min(c.Ceiling(), capacity)
		parts[i] = part{floor: floor, ceiling: ceiling, shares: max(c.Shares, 0)}
		floors += floor
	}
	if floors > capacity {
		for i := range parts {
			parts[i] = part{ceiling: parts[i].floor, shares: parts[i].floor}
		}
	}
	fill(capacity, parts)
	out := make([]int64, len(claims))
	for i := range parts {
		out[i] = parts[i].amount
	}
	return out
}

// part is a claim while it is divided.
type part struct {
	floor, ceiling, shares int64
	amount                 int64
	place                  place
}

// place is where a part is, at some amount a share.
type place int

const (
	atFloor place = iota
	between
	atCeiling
)

// edge is the amount a share, at/per, at which a part leaves its floor or comes to its ceiling.
type edge struct {
	at, per int64
	part    int
	to      place
}

// fill decides all amounts. The sum of all parts grows with the amount a share, in a straight line from
// one edge to the next: it walks along the edges until the sum would reach capacity.
func fill(capacity int64, parts []part) {
	rest, shares := capacity, int64(0) // what those between get, and what their shares are
	for i := range parts {
		rest -= parts[i].floor
	}
	for _, e := range edges(parts) {
		if !less(shares, e.at, rest, e.per) {
			break
		}
		p := &parts[e.part]
		p.place = e.to
		if e.to == between {
			rest, shares = rest+p.floor, shares+p.shares
		} else {
			rest, shares = rest-p.ceiling, shares-p.shares
		}
	}
	for i := range parts {
		switch p := &parts[i]; p.place {
		case atFloor:
			p.amount = p.floor
		case between:
			p.amount = portion(rest, p.shares, shares)
		case atCeiling:
			p.amount = p.ceiling
		}
	}
}

// edges are all edges in order; a part leaves its floor before it comes to its ceiling.
func edges(parts []part) []edge {
	out := make([]edge, 0, 2*len(parts))
	for i, p := range parts {
		if p.shares > 0 {
			out = append(out, edge{p.floor, p.shares, i, between}, edge{p.ceiling, p.shares, i, atCeiling})
		}
	}
	slices.SortFunc(out, func(a, b edge) int {
		switch {
		case less(a.at, b.per, b.at, a.per):
			return -1
		case less(b.at, a.per, a.at, b.per):
			return 1
		case a.to != b.to:
			return int(a.to - b.to)
		}
		return a.part - b.part
	})
	return out
}

// less says whether a*b < c*d, without overflow; none is negative but c, which makes it false.
func less(a, b, c, d int64) bool {
	if c < 0 {
		return false
	}
	h, l := bits.Mul64(uint64(a), uint64(b))
	hi, lo := bits.Mul64(uint64(c), uint64(d))
	return h < hi || h == hi && l < lo
}

// portion is rest*shares/all, rounded down, without overflow.
func portion(rest, shares, all int64) int64 {
	hi, lo := bits.Mul64(uint64(rest), uint64(shares))
	quotient, _ := bits.Div64(hi, lo, uint64(all))
	return int64(quotient)
}
