package fairshare

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestPoolsDivideWhatTheyGet(t *testing.T) {
	production := Pool{Claim: all(0, 3000, Unlimited), Claims: []Claim{all(0, 1, Unlimited), all(0, 2, Unlimited)}}
	test := Pool{Claim: all(0, 1000, Unlimited), Claims: []Claim{all(0, 100_000, Unlimited)}}
	got := DivideTree(4000, Pool{Pools: []Pool{production, test}})
	if got.Pools[0].Amount != 3000 || !slices.Equal(got.Pools[0].Claims, []int64{1000, 2000}) || got.Pools[1].Claims[0] != 1000 {
		t.Fatalf("shares of another pool count: %+v", got)
	}

	t.Run("what a pool does not use flows on", func(t *testing.T) {
		production.Claims = []Claim{wanting(1, 200), wanting(2, 100)}
		got := DivideTree(4000, Pool{Pools: []Pool{production, test}})
		if got.Pools[0].Amount != 300 || got.Pools[1].Claims[0] != 3700 {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("a pool's limit holds for all in it", func(t *testing.T) {
		limited := Pool{Claim: all(0, 1000, 900), Claims: []Claim{all(0, 1, Unlimited), all(0, 1, Unlimited)}}
		got := DivideTree(4000, Pool{Pools: []Pool{limited}, Claims: []Claim{all(0, 1000, Unlimited)}})
		if !slices.Equal(got.Pools[0].Claims, []int64{450, 450}) || got.Claims[0] != 3100 {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("a pool's reservation is for whoever in it wants it", func(t *testing.T) {
		reserved := Pool{Claim: all(3000, 1, Unlimited), Claims: []Claim{wanting(1, 0), all(0, 1, Unlimited)}}
		got := DivideTree(4000, Pool{Pools: []Pool{reserved}, Claims: []Claim{all(0, 1_000_000, Unlimited)}})
		if !slices.Equal(got.Pools[0].Claims, []int64{0, 3000}) || got.Claims[0] != 1000 {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("a reservation deep down holds", func(t *testing.T) {
		inner := Pool{Claim: all(0, 1, Unlimited), Claims: []Claim{all(2500, 1, Unlimited), all(0, 1, Unlimited)}}
		outer := Pool{Claim: all(0, 1, Unlimited), Pools: []Pool{inner}}
		got := DivideTree(4000, Pool{Pools: []Pool{outer}, Claims: []Claim{all(0, 1_000_000, Unlimited)}})
		if in := got.Pools[0].Pools[0].Claims; in[0] < 2500 || in[1] != 0 {
			t.Fatalf("%+v", got)
		}
	})
	t.Run("the root is nobody's claim", func(t *testing.T) {
		got := DivideTree(100, Pool{Claim: Claim{Limit: 1}, Claims: []Claim{all(0, 1, Unlimited)}})
		if got.Amount != 100 || got.Claims[0] != 100 || DivideTree(-1, Pool{}).Amount != 0 {
			t.Fatalf("%+v", got)
		}
	})
}

// grown is a tree of pools, at most two deep.
func grown(t *rapid.T, depth int) Pool {
	_, claims := drawn(t)
	p := Pool{Claim: claims[0], Claims: claims[1:]}
	if depth > 0 {
		for range rapid.IntRange(0, 3).Draw(t, "pools") {
			p.Pools = append(p.Pools, grown(t, depth-1))
		}
	}
	return p
}

func TestPoolsKeepEveryPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		root, capacity := grown(t, 2), rapid.Int64Range(0, 1<<48).Draw(t, "capacity")
		root.Claim = Claim{Limit: Unlimited}
		kept := root.sum().Reservation <= capacity
		check(t, root, DivideTree(capacity, root), kept)
	})
}

// check looks at one pool: those in it have no more than it, nobody has more than it may, and where all
// floors fit, as limits leave them, nobody in a pool without a limit has less than its own.
func check(t *rapid.T, p Pool, d Division, kept bool) {
	used := sum(d.Claims)
	for i, child := range p.Pools {
		part := d.Pools[i]
		used = add(used, part.Amount)
		if part.Amount > max(child.Limit, 0) {
			t.Fatalf("a pool has %d, its limit is %d", part.Amount, child.Limit)
		}
		// A limit below the floors of those in it is the limit all the same.
		check(t, child, part, kept && child.sum().Reservation <= child.Limit)
	}
	if used > d.Amount {
		t.Fatalf("%d is used of %d", used, d.Amount)
	}
	for i, c := range p.Claims {
		if d.Claims[i] > c.Ceiling() || kept && d.Claims[i] < c.Floor() {
			t.Fatalf("a claim has %d: %+v", d.Claims[i], c)
		}
	}
}

func BenchmarkDivideTree(b *testing.B) {
	root := Pool{}
	for i := range 20 {
		pool := Pool{Claim: all(100, int64(1000+i), Unlimited)}
		for j := range 50 {
			pool.Claims = append(pool.Claims, Claim{Reservation: int64(j), Shares: int64(1 + j), Limit: 4000, Demand: int64(100 * j)})
		}
		root.Pools = append(root.Pools, pool)
	}
	for b.Loop() {
		DivideTree(96_000, root)
	}
}
