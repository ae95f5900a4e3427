package fairshare

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// holding is a claim without a reservation that uses so much of what it may have.
func holding(shares, limit, active int64) Taxed {
	return Taxed{Claim: Claim{Shares: shares, Limit: limit}, Active: active}
}

func TestTheTaxFollowsTheTextbook(t *testing.T) {
	reserved := holding(1, 1000, 0)
	reserved.Reservation = 600
	for name, c := range map[string]struct {
		capacity, tax int64
		claims        []Taxed
		want          []int64
	}{
		// Waldspurger's figure 7: two VMs of 256 MB with equal shares in 360 MB, one of them idle.
		"without a tax, idle or not":           {360, 0, []Taxed{holding(1, 256, 0), holding(1, 256, 256)}, []int64{180, 180}},
		"with one of 75 %, the idle one pays":  {360, 75, []Taxed{holding(1, 256, 0), holding(1, 256, 256)}, []int64{104, 256}},
		"both idle":                            {360, 75, []Taxed{holding(1, 256, 0), holding(1, 256, 0)}, []int64{180, 180}},
		"both busy":                            {360, 75, []Taxed{holding(1, 256, 256), holding(1, 256, 256)}, []int64{180, 180}},
		"shares hold among the busy":           {300, 75, []Taxed{holding(1, 1000, 1000), holding(2, 1000, 1000)}, []int64{100, 200}},
		"four idle pages for the price of one": {500, 75, []Taxed{holding(1, 1000, 0), holding(1, 1000, 1000)}, []int64{100, 400}},
		"a reservation is not taxed":           {1000, 75, []Taxed{reserved, holding(1, 1000, 1000)}, []int64{600, 400}},
		"nothing is taken where all fits":      {2000, 75, []Taxed{holding(1, 1000, 0), holding(9, 1000, 1000)}, []int64{1000, 1000}},
		"all of it taxed":                      {1000, 100, []Taxed{holding(1, 1000, 100), holding(1, 1000, 300)}, []int64{100, 300}},
		"6 GiB for three of 3 GiB, one busy":   {6144, 75, []Taxed{holding(30, 3072, 2900), holding(30, 3072, 200), holding(30, 3072, 200)}, []int64{3072, 1536, 1536}},
		"and two busy":                         {6144, 75, []Taxed{holding(30, 3072, 2900), holding(30, 3072, 2900), holding(30, 3072, 200)}, []int64{2664, 2664, 816}},
		"reservations are more than there is":  {300, 75, []Taxed{reserved, holding(1, 9, 9)}, []int64{300, 0}},
		"nobody has shares":                    {300, 75, []Taxed{holding(0, 9, 9)}, []int64{0}},
		"nothing there":                        {-1, 75, []Taxed{holding(1, 9, 9)}, []int64{0}},
		"nobody there":                         {300, 75, nil, []int64{}},
	} {
		if got := DivideTaxed(c.capacity, c.claims, c.tax); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func drawnTaxed(t *rapid.T) (capacity int64, claims []Taxed, tax int64) {
	capacity, plain := drawn(t)
	for _, c := range plain {
		claims = append(claims, Taxed{c, rapid.OneOf(rapid.Int64Range(0, 1000), rapid.Int64Range(0, 1<<45)).Draw(t, "active")})
	}
	return capacity, claims, rapid.SampledFrom([]int64{0, 1, 50, 75, 99, 100}).Draw(t, "tax")
}

// bounds are the least and the most that each may get, and what the floors are together.
func bounds(capacity int64, claims []Taxed) (floor, ceiling []int64, floors int64) {
	for _, c := range claims {
		c.Demand = Unlimited
		floor, ceiling = append(floor, c.Floor()), append(ceiling, min(c.Ceiling(), capacity))
		floors = add(floors, c.Floor())
	}
	return floor, ceiling, floors
}

func TestTheTaxKeepsEveryPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity, claims, tax := drawnTaxed(t)
		got := DivideTaxed(capacity, claims, tax)
		floor, ceiling, floors := bounds(capacity, claims)
		if sum(got) > capacity {
			t.Fatalf("%v is more than %d", got, capacity)
		}
		for i := range claims {
			if got[i] > ceiling[i] {
				t.Fatalf("claim %d has %d, more than its %d", i, got[i], ceiling[i])
			}
			if floors <= capacity && got[i] < floor[i] {
				t.Fatalf("claim %d has %d, less than the %d that it reserves", i, got[i], floor[i])
			}
		}
	})
}

// beWithinRange ends a test where the worth of a share is beyond the range that it is looked for in.
func beWithinRange(t *rapid.T, capacity int64, claims []Taxed, tax int64) {
	fewest, most := int64(math.MaxInt64), int64(0)
	for _, c := range claims {
		if c.Shares > 0 {
			fewest, most = min(fewest, c.Shares), max(most, c.Shares)
		}
	}
	if float64(capacity)*float64(most)/float64(fewest)*100/float64(100-tax) > 1<<62 {
		t.Skip("out of range")
	}
}

func TestTheTaxLeavesNothingThatSomebodyCouldHave(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity, claims, tax := drawnTaxed(t)
		if tax == 100 {
			t.Skip("nobody holds anything idle")
		}
		beWithinRange(t, capacity, claims, tax)
		got := DivideTaxed(capacity, claims, tax)
		_, ceiling, floors := bounds(capacity, claims)
		if left := capacity - sum(got); floors <= capacity && left > int64(len(claims)) && sum(got) < sum(ceiling) {
			t.Fatalf("%d is left and %v could be %v", left, got, ceiling)
		}
	})
}

func TestMoreSharesOrMoreActivityNeverGiveLess(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity, claims, tax := drawnTaxed(t)
		i := rapid.IntRange(0, len(claims)-1).Draw(t, "which")
		before, after := DivideTaxed(capacity, claims, tax), slices.Clone(claims)
		more := rapid.Int64Range(1, 1_000_000).Draw(t, "more")
		switch rapid.SampledFrom([]string{"shares", "active", "capacity"}).Draw(t, "what") {
		case "shares":
			after[i].Shares += more
		case "active":
			after[i].Active += more
		case "capacity":
			capacity += more
		}
		if _, _, floors := bounds(capacity, after); floors > capacity {
			t.Skip("floors are short")
		}
		// One unit a claim is lost to rounding.
		if got := DivideTaxed(capacity, after, tax); got[i]+int64(len(claims)) < before[i] {
			t.Fatalf("%d became %d", before[i], got[i])
		}
	})
}

func TestWithoutATaxItIsThePlainDivision(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity, claims, _ := drawnTaxed(t)
		var plain []Claim
		for _, c := range claims {
			c.Demand = Unlimited
			plain = append(plain, c.Claim)
		}
		beWithinRange(t, capacity, claims, 0)
		got, want := DivideTaxed(capacity, claims, 0), Divide(capacity, plain)
		for i := range got {
			if d := got[i] - want[i]; d > int64(len(claims)) || d < -int64(len(claims)) {
				t.Fatalf("%v, and plainly %v", got, want)
			}
		}
	})
}
