package fairshare

// Pool is a claimant with claimants of its own: they divide what it gets. A leaf has neither Pools nor
// Claims below it and is a Claim of its pool.
type Pool struct {
	// Claim is the pool's own reservation, limit and shares; its Demand is not read: a pool demands what
	// those in it demand.
	Claim
	Pools  []Pool
	Claims []Claim
}

// Division is what a pool gets, and those in it, in their order.
type Division struct {
	Amount int64
	Pools  []Division
	Claims []int64
}

// DivideTree divides capacity among the pools and claims below root, whose own Claim is not read. A pool
// passes on the demand of those in it up to its limit. Its floor is what it reserves and demands, or the
// floors of those in it where these are more: a reservation holds in whatever pool it stands.
func DivideTree(capacity int64, root Pool) Division {
	root.Claim = Claim{Limit: Unlimited}
	return divide(max(capacity, 0), root)
}

func divide(amount int64, p Pool) Division {
	claims := make([]Claim, 0, len(p.Pools)+len(p.Claims))
	for _, child := range p.Pools {
		claims = append(claims, child.sum())
	}
	parts := Divide(amount, append(claims, p.Claims...))
	out := Division{Amount: amount, Pools: make([]Division, len(p.Pools)), Claims: parts[len(p.Pools):]}
	for i, child := range p.Pools {
		out.Pools[i] = divide(parts[i], child)
	}
	return out
}

// sum is a pool as one claim.
func (p Pool) sum() Claim {
	var demand, floors int64
	count := func(c Claim) {
		demand, floors = add(demand, c.Ceiling()), add(floors, c.Floor())
	}
	for _, child := range p.Pools {
		count(child.sum())
	}
	for _, c := range p.Claims {
		count(c)
	}
	out := p.Claim
	out.Demand = demand
	out.Reservation = max(out.Reservation, floors)
	return out
}

// add is a sum that stops at Unlimited.
func add(a, b int64) int64 {
	if a > Unlimited-b {
		return Unlimited
	}
	return a + b
}
