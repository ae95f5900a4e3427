package fairshare

import "math"

// Taxed is a claim to something that can be held idle, as memory is. Its Demand is not read: whoever holds
// it idle would take all.
type Taxed struct {
	Claim
	// Active is how much it uses; what it gets above that lies idle.
	Active int64
}

// DivideTaxed gives each claim its part of capacity as Divide does, but what would lie idle costs more shares:
// of what the shares of a claim are worth above its Active, only 100 minus tax percent count. With a tax of 0
// idle and active parts are worth the same; with one of 100 nobody gets anything to hold idle. So memory
// goes from who leaves it idle to who needs it, and only as much of it as shares allow (Waldspurger, "Memory
// Resource Management in VMware ESX Server", OSDI 2002, section 5).
//
// What a claim gets never falls when the worth of a share rises: the worth is found by halving, to less than
// one unit a claim. Something may be left undivided where capacity times the ratio of the most shares to the
// fewest, times 100 / (100 - tax), is above 2^62.
func DivideTaxed(capacity int64, claims []Taxed, tax int64) []int64 {
	capacity = max(capacity, 0)
	plain := make([]Claim, len(claims))
	var floors, most int64
	for i, c := range claims {
		c.Demand = Unlimited
		plain[i] = c.Claim
		floors, most = add(floors, min(c.Floor(), capacity)), max(most, c.Shares)
	}
	if floors > capacity || most <= 0 {
		return Divide(capacity, plain)
	}
	out := make([]int64, len(claims))
	give := func(worth int64) (sum int64) {
		for i, c := range claims {
			c.Demand = Unlimited
			out[i] = max(min(c.Floor(), capacity), min(c.taxed(portion(worth, max(c.Shares, 0), most), tax), c.Ceiling(), capacity))
			sum = add(sum, out[i])
		}
		return sum
	}
	low, high := int64(0), int64(math.MaxInt64/2) // low is affordable
	for low < high {
		if mid := low + (high-low+1)/2; give(mid) <= capacity {
			low = mid
		} else {
			high = mid - 1
		}
	}
	give(low)
	return out
}

// taxed is what an amount that the shares are worth leaves after the tax on its idle part.
func (c Taxed) taxed(worth, tax int64) int64 {
	active := max(c.Active, 0)
	if worth <= active {
		return worth
	}
	return active + portion(worth-active, 100-min(max(tax, 0), 100), 100)
}
