package fairshare

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func (p Part) is(reservation, limit, shares int64) bool {
	return p == Part{Reservation: reservation, Limit: limit, Shares: shares, Present: true}
}

func TestAPoolIsSpreadWhereItIsNeeded(t *testing.T) {
	hosts := []int64{10_000, 10_000, 10_000}
	pool := []Nested{{Claim{Reservation: 6000, Limit: 12_000, Shares: 4000}, -1}}
	vm := func(demand int64, place int) Member {
		return Member{Claim{Limit: 8000, Shares: 1000, Demand: demand}, 0, place}
	}

	t.Run("in proportion to what is demanded", func(t *testing.T) {
		got := Spread(hosts, pool, []Member{vm(6000, 0), vm(2000, 1)})[0]
		if !got[0].is(4500, 8000, 3000) || !got[1].is(1500, 4000, 1000) {
			t.Fatalf("%+v", got)
		}
		if got[2] != (Part{}) {
			t.Fatalf("a host without one of its VMs has %+v", got[2])
		}
	})
	t.Run("alone on a host it has all that it can use there", func(t *testing.T) {
		got := Spread(hosts, pool, []Member{vm(Unlimited, 1)})[0]
		if !got[1].is(6000, 8000, 4000) {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("who sleeps finds something when it wakes", func(t *testing.T) {
		got := Spread(hosts, pool, []Member{vm(8000, 0), vm(0, 1)})[0]
		if got[1].Limit < 1000 || got[1].Shares < 300 || got[1].Reservation < 500 {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("demand moves and the parts follow", func(t *testing.T) {
		before := Spread(hosts, pool, []Member{vm(6000, 0), vm(2000, 1)})[0]
		after := Spread(hosts, pool, []Member{vm(2000, 0), vm(6000, 1)})[0]
		if before[0] != after[1] || before[1] != after[0] {
			t.Fatalf("%+v, then %+v", before, after)
		}
	})
	t.Run("without a limit no place has one", func(t *testing.T) {
		got := Spread(hosts, []Nested{{Claim{Shares: 10, Limit: Unlimited}, -1}}, []Member{vm(1, 0), vm(1, 1)})[0]
		if got[0].Limit != Unlimited || got[1].Limit != Unlimited {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("a VM's reservation in it is part of its own", func(t *testing.T) {
		reserving := vm(8000, 0)
		reserving.Reservation = 4000
		got := Spread(hosts, pool, []Member{reserving, vm(8000, 1)})[0]
		if got[0].Reservation != 5000 || got[1].Reservation != 1000 {
			t.Fatalf("of 6000, 4000 are the VM's and the rest is halved: %+v", got)
		}
	})
	t.Run("what others have reserved on a host stays theirs", func(t *testing.T) {
		other := Member{Claim{Reservation: 9000, Limit: 9000, Shares: 1, Demand: 0}, -1, 0}
		got := Spread(hosts, pool, []Member{other, vm(8000, 0), vm(8000, 1)})[0]
		if got[0].Reservation != 1000 || got[1].Reservation != 5000 {
			t.Fatalf("only 1000 are free on the first host: %+v", got)
		}
	})
	t.Run("a pool in a pool", func(t *testing.T) {
		nested := append(slices.Clone(pool), Nested{Claim{Reservation: 2000, Limit: Unlimited, Shares: 1000}, 0})
		inner := vm(4000, 2)
		inner.Pool = 1
		got := Spread(hosts, nested, []Member{vm(4000, 0), inner})
		if got[1][2].Reservation != 2000 || got[0][2].Reservation != 4000 || got[0][0].Reservation != 2000 {
			t.Fatalf("the inner pool's 2000 are part of the outer one's: %+v", got)
		}
	})
	t.Run("nobody in it", func(t *testing.T) {
		if got := Spread(hosts, pool, nil)[0]; got[0] != (Part{}) {
			t.Fatalf("%+v", got)
		}
	})
}

// scattered is any pools over any places, whose members' reservations fit.
func scattered(t *rapid.T) (capacities []int64, pools []Nested, members []Member) {
	amount := rapid.OneOf(rapid.Int64Range(0, 20), rapid.Int64Range(0, 100_000))
	bound := rapid.OneOf(amount, rapid.Just(int64(Unlimited)))
	claim := func() Claim {
		return Claim{Reservation: amount.Draw(t, "reservation"), Limit: bound.Draw(t, "limit"), Demand: bound.Draw(t, "demand"),
			Shares: rapid.Int64Range(1, 100_000).Draw(t, "shares")}
	}
	capacities = rapid.SliceOfN(rapid.Int64Range(0, 200_000), 1, 5).Draw(t, "capacities")
	for i := range rapid.IntRange(1, 5).Draw(t, "pools") {
		pools = append(pools, Nested{claim(), rapid.IntRange(-1, i-1).Draw(t, "parent")})
	}
	free := slices.Clone(capacities)
	for range rapid.IntRange(0, 12).Draw(t, "members") {
		m := Member{claim(), rapid.IntRange(-1, len(pools)-1).Draw(t, "pool"), rapid.IntRange(0, len(capacities)-1).Draw(t, "place")}
		m.Reservation = min(m.reserved(), free[m.Place]) // a host admits no more than it has
		free[m.Place] -= m.reserved()
		members = append(members, m)
	}
	return capacities, pools, members
}

func TestSpreadingKeepsEveryPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacities, pools, members := scattered(t)
		got := Spread(capacities, pools, members)
		inside := grid(len(pools), len(capacities)) // reserved by members and pools directly in a pool
		top := make([]int64, len(capacities))
		present := grid(len(pools), len(capacities))
		for _, m := range members {
			if m.Pool >= 0 {
				inside[m.Pool][m.Place] += m.reserved()
			} else {
				top[m.Place] += m.reserved()
			}
			for p := m.Pool; p >= 0; p = pools[p].Parent {
				present[p][m.Place]++
			}
		}
		for p, parts := range got {
			for at, part := range parts {
				if parent := pools[p].Parent; parent >= 0 {
					inside[parent][at] += part.Reservation
				} else {
					top[at] += part.Reservation
				}
				if part.Present != (present[p][at] > 0) || !part.Present && part != (Part{}) || part.Present && part.Shares < 1 {
					t.Fatalf("pool %d has %d members at %d, and %+v", p, present[p][at], at, part)
				}
			}
		}
		for p, parts := range got {
			var reserved, limit, within int64
			for at, part := range parts {
				reserved, limit, within = reserved+part.Reservation, add(limit, part.Limit), within+inside[p][at]
				if part.Reservation < inside[p][at] {
					t.Fatalf("pool %d at %d has %d reserved, those in it %d", p, at, part.Reservation, inside[p][at])
				}
			}
			if reserved > max(pools[p].Reservation, within) {
				t.Fatalf("pool %d reserves %d, its parts %d, those in it %d", p, pools[p].Reservation, reserved, within)
			}
			if l := pools[p].Limit; l != Unlimited && limit > l {
				t.Fatalf("pool %d is limited to %d, its parts to %d", p, l, limit)
			}
		}
		for at, reserved := range top {
			if reserved > capacities[at] {
				t.Fatalf("%d are reserved at %d, which has %d", reserved, at, capacities[at])
			}
		}
	})
}

func TestNothingOfALimitIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacities, pools, members := scattered(t)
		usable := grid(len(pools), len(capacities))
		for _, m := range members {
			for p := m.Pool; p >= 0; p = pools[p].Parent {
				usable[p][m.Place] = min(add(usable[p][m.Place], min(m.Limit, capacities[m.Place])), capacities[m.Place])
			}
		}
		for p, parts := range Spread(capacities, pools, members) {
			var all, limit int64
			for at, part := range parts {
				all, limit = all+usable[p][at], add(limit, part.Limit)
			}
			if short := min(pools[p].Limit, all) - limit; short > int64(len(capacities)) {
				t.Fatalf("pool %d may have %d, its members could use %d, its parts are %d: %+v", p, pools[p].Limit, all, limit, parts)
			}
		}
	})
}

func BenchmarkSpread(b *testing.B) {
	capacities, pools, members := make([]int64, 100), []Nested{}, []Member{}
	for i := range capacities {
		capacities[i] = 96_000
	}
	for i := range 50 {
		pools = append(pools, Nested{Claim{Reservation: 1000, Limit: Unlimited, Shares: int64(1000 + i)}, i/5 - 1})
	}
	for i := range 5000 {
		members = append(members, Member{Claim{Limit: 3000, Shares: 1000, Demand: int64(i % 3000)}, i % 50, i % 100})
	}
	for b.Loop() {
		Spread(capacities, pools, members)
	}
}
