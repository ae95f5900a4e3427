package fairshare

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// all is a claim that takes what it gets.
func all(reservation, shares, limit int64) Claim {
	return Claim{Reservation: reservation, Shares: shares, Limit: limit, Demand: Unlimited}
}

// wanting is a claim without a limit or a reservation.
func wanting(shares, demand int64) Claim {
	return Claim{Shares: shares, Limit: Unlimited, Demand: demand}
}

func TestDivisionFollowsTheTextbook(t *testing.T) {
	for name, c := range map[string]struct {
		capacity int64
		claims   []Claim
		want     []int64
	}{
		"one 2.8 GHz processor, A reserves 700 MHz": {2800, []Claim{all(700, 1000, Unlimited), all(0, 2000, Unlimited), all(0, 4000, Unlimited)}, []int64{700, 700, 1400}},
		"the same without a reservation":            {2800, []Claim{all(0, 1000, Unlimited), all(0, 2000, Unlimited), all(0, 4000, Unlimited)}, []int64{400, 800, 1600}},
		"the same and C idle":                       {2800, []Claim{all(700, 1000, Unlimited), all(0, 2000, Unlimited), wanting(4000, 0)}, []int64{933, 1866, 0}},
		"the same and A idle":                       {2800, []Claim{{Reservation: 700, Shares: 1000, Limit: Unlimited}, all(0, 2000, Unlimited), all(0, 4000, Unlimited)}, []int64{0, 933, 1866}},
		"the same and C limited to 700":             {2800, []Claim{all(700, 1000, Unlimited), all(0, 2000, Unlimited), all(0, 4000, 700)}, []int64{700, 1400, 700}},
		"a limit holds though all is idle":          {2800, []Claim{all(0, 1000, 500)}, []int64{500}},
		"a limit below the reservation":             {2800, []Claim{all(900, 1000, 500), all(0, 1, Unlimited)}, []int64{500, 2300}},
		"equal shares, equal parts":                 {1000, []Claim{all(0, 7, Unlimited), all(0, 7, Unlimited)}, []int64{500, 500}},
		"memory: 6 GiB at 150 % for three of 3 GiB": {6144, []Claim{wanting(10, 3072), wanting(10, 3072), wanting(10, 3072)}, []int64{2048, 2048, 2048}},
		"one of them uses 1 GiB":                    {6144, []Claim{wanting(10, 1024), wanting(10, 3072), wanting(10, 3072)}, []int64{1024, 2560, 2560}},
		"reservations are more than there is":       {1000, []Claim{all(1500, 1, Unlimited), all(500, 9, Unlimited), all(0, 9, Unlimited)}, []int64{666, 333, 0}},
		"without shares the floor and no more":      {1000, []Claim{all(100, 0, Unlimited), all(0, 1, 300)}, []int64{100, 300}},
		"nothing there":                             {0, []Claim{all(100, 1, Unlimited)}, []int64{0}},
		"less than nothing there":                   {-5, []Claim{all(100, 1, Unlimited)}, []int64{0}},
		"negative numbers are none":                 {100, []Claim{{Reservation: -1, Shares: -1, Limit: -1, Demand: -1}, all(0, 1, Unlimited)}, []int64{0, 100}},
		"nobody there":                              {1000, nil, []int64{}},
	} {
		if got := Divide(c.capacity, c.claims); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

// drawn are claims whose numbers meet, differ by one, and are far apart.
func drawn(t *rapid.T) (int64, []Claim) {
	amount := rapid.OneOf(rapid.Int64Range(0, 20), rapid.Int64Range(0, 100_000), rapid.Int64Range(0, 1<<45))
	bound := rapid.OneOf(amount, rapid.Just(int64(Unlimited)))
	claims := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Claim {
		return Claim{
			Reservation: amount.Draw(t, "reservation"), Limit: bound.Draw(t, "limit"), Demand: bound.Draw(t, "demand"),
			Shares: rapid.OneOf(rapid.Int64Range(1, 4), rapid.Int64Range(1, 1_000_000)).Draw(t, "shares"),
		}
	}), 1, 12).Draw(t, "claims")
	return rapid.OneOf(amount, rapid.Int64Range(0, 1<<48)).Draw(t, "capacity"), claims
}

func sum(of []int64) (out int64) {
	for _, n := range of {
		out = add(out, n)
	}
	return out
}

func floors(claims []Claim) (out int64) {
	for _, c := range claims {
		out = add(out, c.Floor())
	}
	return out
}

func TestDivisionKeepsEveryPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity, claims := drawn(t)
		got := Divide(capacity, claims)
		if sum(got) > capacity {
			t.Fatalf("%v is more than %d", got, capacity)
		}
		kept := floors(claims) <= capacity
		for i, c := range claims {
			if got[i] > c.Ceiling() {
				t.Fatalf("claim %d has %d, more than it may or wants: %+v", i, got[i], c)
			}
			if kept && got[i] < c.Floor() {
				t.Fatalf("claim %d has %d, less than it reserves and wants: %+v", i, got[i], c)
			}
			if !kept && got[i] > c.Floor() {
				t.Fatalf("claim %d has %d, more than its floor, though floors are short: %+v", i, got[i], c)
			}
		}
	})
}

func TestDivisionLeavesNothingIdleThatIsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity, claims := drawn(t)
		got, wanted := Divide(capacity, claims), int64(0)
		for i, c := range claims {
			wanted = add(wanted, c.Ceiling()-got[i])
		}
		left := capacity - sum(got)
		if floors(claims) <= capacity && left > int64(len(claims)) && wanted > 0 {
			t.Fatalf("%d is left and %d is wanted: %v", left, wanted, got)
		}
	})
}

func TestDivisionGivesEqualAmountsAShare(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity, claims := drawn(t)
		if floors(claims) > capacity {
			t.Skip("floors are short")
		}
		got := Divide(capacity, claims)
		for i, a := range claims {
			for j, b := range claims {
				// Who is above its floor has no more a share than one who is below its ceiling, but for rounding.
				if got[i] > a.Floor() && got[j] < b.Ceiling() && less(got[j]+1, a.Shares, got[i], b.Shares) {
					t.Fatalf("%d for %d shares, but %d for %d", got[i], a.Shares, got[j], b.Shares)
				}
			}
		}
	})
}

func TestDivisionGivesNoLessForMore(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity, claims := drawn(t)
		i := rapid.IntRange(0, len(claims)-1).Draw(t, "which")
		before := Divide(capacity, claims)
		more := rapid.Int64Range(1, 1_000_000).Draw(t, "more")
		what := rapid.SampledFrom([]string{"shares", "limit", "demand", "capacity"}).Draw(t, "what")
		after, c := slices.Clone(claims), &claims[i]
		switch what {
		case "shares":
			after[i].Shares = c.Shares + more
		case "limit":
			after[i].Limit = add(c.Limit, more)
		case "demand":
			after[i].Demand = add(c.Demand, more)
		case "capacity":
			capacity += more
		}
		if floors(after) > capacity {
			t.Skip("floors are short")
		}
		if got := Divide(capacity, after); got[i] < before[i] {
			t.Fatalf("%d more %s, and %d became %d", more, what, before[i], got[i])
		}
	})
}

func TestDivisionDoesNotDependOnTheOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity, claims := drawn(t)
		got := Divide(capacity, claims)
		turned := slices.Clone(claims)
		slices.Reverse(turned)
		back := Divide(capacity, turned)
		slices.Reverse(back)
		if !slices.Equal(got, back) {
			t.Fatalf("%v, and in the other order %v", got, back)
		}
	})
}
