package fairshare

// Nested is a pool over several places. Its Demand is not read: a pool demands what those in it demand.
type Nested struct {
	Claim
	// Parent is the pool around it, by its place in the list, which comes before it; -1: none.
	Parent int
}

// Member is a claim at one place. Its Demand may be unknown, which is Unlimited: it counts up to its limit.
type Member struct {
	Claim
	// Pool is the one it is in, -1: none. Place is where it is.
	Pool, Place int
}

// Part is what one place has of a pool.
type Part struct {
	Reservation, Limit, Shares int64
	// Present says that the pool has somebody there; the others are 0 where it has nobody.
	Present bool
}

// idleWorth is the least that a member counts when a pool is spread, in parts of its ceiling: one that sleeps
// must find something where it is when it wakes, until the pool is spread anew.
const idleWorth = 10

// Spread gives each place its part of each pool, by pool and place. Capacities are those of the places.
//
// The places are first seen as one, and divided among all: what the members of a pool would get then says how
// much of it each place needs. Its reservation, shares and limit are spread in that proportion (Gulati et al.,
// "VMware Distributed Resource Management: Design, Implementation, and Lessons Learned", VMware Technical
// Journal 2012, section 4.1, calls it divvying).
//
// The parts of a reservation are never more than it together, unless the reservations in the pool are; they are
// no less than the reservations in the pool at each place; and at each place they leave the reservations of
// others, as far as these fit. The parts of a limit are the limit together, or all that the members could use
// where that is less, and none is below the part of the reservation.
func Spread(capacities []int64, pools []Nested, members []Member) [][]Part {
	s := spreading{capacities: capacities, pools: pools, members: members, out: make([][]Part, len(pools))}
	for i := range s.out {
		s.out[i] = make([]Part, len(capacities))
	}
	s.measure()
	s.reserve()
	for i, p := range pools {
		s.share(i, p)
		s.limit(i, p)
	}
	return s.out
}

type spreading struct {
	capacities []int64
	pools      []Nested
	members    []Member
	out        [][]Part
	// worth is what the members of a pool at a place would get if all places were one, usable the most they can use.
	worth, usable [][]int64
}

// measure finds what each pool is worth at each place.
func (s *spreading) measure() {
	var capacity int64
	for _, c := range s.capacities {
		capacity = add(capacity, max(c, 0))
	}
	entitled := s.entitled(capacity)
	s.worth, s.usable = grid(len(s.pools), len(s.capacities)), grid(len(s.pools), len(s.capacities))
	for i, m := range s.members {
		most := min(max(m.Limit, 0), max(s.capacities[m.Place], 0))
		for p := m.Pool; p >= 0; p = s.pools[p].Parent {
			s.out[p][m.Place].Present = true
			s.worth[p][m.Place] = add(s.worth[p][m.Place], max(entitled[i], most/idleWorth, 1))
			s.usable[p][m.Place] = min(add(s.usable[p][m.Place], most), s.capacities[m.Place])
		}
	}
}

func grid(rows, columns int) [][]int64 {
	out := make([][]int64, rows)
	for i := range out {
		out[i] = make([]int64, columns)
	}
	return out
}

// entitled is what each member would get if all places were one.
func (s *spreading) entitled(capacity int64) []int64 {
	children, leaves := make([][]int, len(s.pools)+1), make([][]int, len(s.pools)+1) // the last row: in no pool
	row := func(pool int) int { return (pool + len(s.pools) + 1) % (len(s.pools) + 1) }
	for i, p := range s.pools {
		children[row(p.Parent)] = append(children[row(p.Parent)], i)
	}
	for i, m := range s.members {
		leaves[row(m.Pool)] = append(leaves[row(m.Pool)], i)
	}
	var tree func(pool int) Pool
	tree = func(pool int) (out Pool) {
		if pool >= 0 {
			out.Claim = s.pools[pool].Claim
		}
		for _, child := range children[row(pool)] {
			out.Pools = append(out.Pools, tree(child))
		}
		for _, leaf := range leaves[row(pool)] {
			out.Claims = append(out.Claims, s.members[leaf].Claim)
		}
		return out
	}
	got := make([]int64, len(s.members))
	var read func(pool int, d Division)
	read = func(pool int, d Division) {
		for i, child := range children[row(pool)] {
			read(child, d.Pools[i])
		}
		for i, leaf := range leaves[row(pool)] {
			got[leaf] = d.Claims[i]
		}
	}
	read(-1, DivideTree(capacity, tree(-1)))
	return got
}

// reserve spreads the reservations, the innermost pools first: what is reserved in a pool is part of its own
// reservation, and only the rest of that is spread.
func (s *spreading) reserve() {
	free := make([]int64, len(s.capacities)) // what nobody has reserved
	copy(free, s.capacities)
	for _, m := range s.members {
		free[m.Place] -= m.reserved()
		if m.Pool >= 0 {
			s.out[m.Pool][m.Place].Reservation += m.reserved()
		}
	}
	for p := len(s.pools) - 1; p >= 0; p-- {
		rest, claims := s.pools[p].Reservation, make([]Claim, len(s.capacities))
		for at, part := range s.out[p] {
			rest -= part.Reservation
			claims[at] = Claim{Limit: max(0, min(free[at], s.usable[p][at]-part.Reservation)), Shares: s.worth[p][at], Demand: Unlimited}
		}
		for at, more := range Divide(max(rest, 0), claims) {
			s.out[p][at].Reservation += more
			free[at] -= more
		}
		if parent := s.pools[p].Parent; parent >= 0 {
			for at, part := range s.out[p] {
				s.out[parent][at].Reservation += part.Reservation
			}
		}
	}
}

// reserved is what a member keeps however little it demands.
func (m Member) reserved() int64 { return max(min(m.Reservation, m.Limit), 0) }

// share spreads the shares of a pool; somebody who is there has one at least.
func (s *spreading) share(i int, p Nested) {
	var all int64
	for _, worth := range s.worth[i] {
		all = add(all, worth)
	}
	for at, worth := range s.worth[i] {
		if worth > 0 {
			s.out[i][at].Shares = max(1, portion(max(p.Shares, 0), worth, all))
		}
	}
}

// limit spreads the limit of a pool; without one each place has none.
func (s *spreading) limit(i int, p Nested) {
	if p.Limit == Unlimited {
		for at := range s.out[i] {
			if s.out[i][at].Present {
				s.out[i][at].Limit = Unlimited
			}
		}
		return
	}
	claims := make([]Claim, len(s.capacities))
	for at, part := range s.out[i] {
		claims[at] = Claim{Reservation: part.Reservation, Limit: max(s.usable[i][at], part.Reservation), Shares: s.worth[i][at], Demand: Unlimited}
	}
	for at, limit := range Divide(p.Limit, claims) {
		s.out[i][at].Limit = limit
	}
}
