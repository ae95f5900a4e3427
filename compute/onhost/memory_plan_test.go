package onhost

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
)

const gib = 1 << 30

// told is a guest that tells of itself.
func told(memory, given, active int64) memoryGuest {
	return memoryGuest{memory: memory, limit: memory, shares: 10 * memory / mib, given: given, resident: min(active+memoryOverhead, given), active: active, answers: true}
}

// having is a host of which so much is free in percent, whatever its guests are.
func having(all, freePercent int64, before MemoryState, guests ...memoryGuest) memoryFacts {
	return memoryFacts{all: all, available: all * freePercent / 100, before: before, guests: guests}
}

func TestStateOfAHostFollowsWhatIsFree(t *testing.T) {
	for _, c := range []struct {
		free   int64
		before MemoryState
		want   MemoryState
	}{
		{50, "", MemoryHigh}, {6, "", MemoryHigh}, {5, "", MemorySoft}, {4, "", MemorySoft}, {3, "", MemoryHard}, {2, "", MemoryHard}, {1, "", MemoryLow}, {0, "", MemoryLow},
		{6, MemoryHigh, MemoryHigh}, {6, MemorySoft, MemorySoft}, {7, MemorySoft, MemoryHigh}, {7, MemoryLow, MemoryHigh},
		{4, MemoryHard, MemoryHard}, {5, MemoryHard, MemorySoft}, {5, MemoryHigh, MemorySoft}, {2, MemoryLow, MemoryLow}, {3, MemoryLow, MemoryHard}, {0, MemoryHigh, MemoryLow},
	} {
		if got := having(100*gib, c.free, c.before).state(); got != c.want {
			t.Errorf("%d %% free after %q: %s, want %s", c.free, c.before, got, c.want)
		}
	}
}

func TestWhatIsFreeIsNoMoreThanIsTheirsAndNoMoreThanThereIs(t *testing.T) {
	f := memoryFacts{all: 10 * gib, available: -1, guests: []memoryGuest{{resident: 4 * gib}, {resident: 1 * gib}}}
	if got := f.free(); got != 5*gib {
		t.Errorf("free are %d", got)
	}
	for available, want := range map[int64]int64{0: 0, 2 * gib: 2 * gib, 50 * gib: 5 * gib} {
		if f.available = available; f.free() != want {
			t.Errorf("of %d that the kernel has, %d are free, want %d", available, f.free(), want)
		}
	}
}

func TestGuestIsHeldToItsPolicy(t *testing.T) {
	g := memoryGuestOf("a", 1024, compute.MemoryPolicy{MemoryReservationMiB: 256, MemoryLimitMiB: 512, MemoryShares: 7})
	if want := (memoryGuest{id: "a", memory: gib, reservation: gib / 4, limit: gib / 2, shares: 7}); g != want {
		t.Errorf("%+v, want %+v", g, want)
	}
	if g := memoryGuestOf("a", 1024, compute.MemoryPolicy{}); g.limit != gib || g.shares != 10240 || g.reservation != 0 {
		t.Errorf("one without a policy: %+v", g)
	}
}

// asks of guests, in MiB; "-" leaves the balloon as it is.
func asks(f memoryFacts) (out string) {
	state, parts := divideMemory(f)
	out = string(state)
	for _, p := range parts {
		if p.ask == 0 {
			out += " -"
		} else {
			out += fmt.Sprintf(" %d", p.ask/mib)
		}
	}
	return out
}

func TestMemoryIsTakenAndGivenBackInSteps(t *testing.T) {
	silent := memoryGuest{memory: 2 * gib, given: 2 * gib, limit: 2 * gib, shares: 20480, resident: gib}
	limited, reserved, greedy := told(2*gib, 2*gib, gib/4), told(2*gib, 2*gib, gib/4), told(2*gib, gib, 2*gib)
	limited.limit, reserved.reservation = gib, 2*gib
	idle, taken, small := told(2*gib, 2*gib, gib/4), told(2*gib, gib, gib/4), told(64*mib, 64*mib, 8*mib)
	for name, c := range map[string]struct {
		facts memoryFacts
		want  string
	}{
		"plenty: nothing is taken":                     {having(4*gib, 50, "", idle, idle), "high - -"},
		"plenty: what was taken is given back":         {having(4*gib, 50, "", taken, idle), "high 1280 -"},
		"not plenty: not to who has no need of it":     {having(4*gib, 9, "", taken, idle), "high - -"},
		"not plenty: to who needs it, half of what is": {having(4*gib, 9, "", greedy, idle), "high 1085 -"},
		"short: no more than its part asks for":        {having(4*gib, 5, "", idle, idle), "soft 1872 1872"},
		"short: from the idle to the needy":            {having(4*gib, 5, "", idle, greedy), "soft 1792 1085"},
		"very short: nobody grows":                     {having(4*gib, 3, "", idle, greedy), "hard 1792 -"},
		"nothing left: likewise":                       {having(4*gib, 0, "", idle, greedy), "low 1792 -"},
		"a limit holds though all is free":             {having(4*gib, 50, "", limited), "high 1792"},
		"a reservation is not taken":                   {having(2*gib, 1, "", reserved, idle), "low - 1792"},
		"without a driver nothing can be taken":        {having(2*gib, 1, "", silent, idle), "low - 1792"},
		"nobody lives in less than 64 MiB":             {having(gib, 1, "", small), "low -"},
		"nobody there":                                 {having(gib, 50, ""), "high"},
	} {
		if got := asks(c.facts); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestTextbookHostGivesItsMemoryToWhoUsesIt(t *testing.T) {
	const all = 6 * gib
	use := []int64{gib, gib / 2, gib / 2}
	guests := []memoryGuest{told(3*gib, 3*gib, use[0]), told(3*gib, 3*gib, use[1]), told(3*gib, 3*gib, use[2])}
	targets := func() (out []int64) {
		for _, target := range (memoryFacts{all: all, available: -1, guests: guests}).targets() {
			out = append(out, target/mib)
		}
		return out
	}
	if got := targets(); got[0] <= got[1] || got[1] != got[2] || got[0]+got[1]+got[2] > 6144 {
		t.Errorf("one uses more: %v", got)
	}
	for i := range guests {
		guests[i].active = 3 * gib
	}
	if got := targets(); !slices.Equal(got, []int64{1872, 1872, 1872}) {
		t.Errorf("all use all: %v", got)
	}
	guests[0].active, guests[1].active, guests[2].active = 0, 0, 3*gib
	if got := targets(); got[2] != 3072 {
		t.Errorf("one uses all and the others nothing: %v", got)
	}
}

func TestWhatIsUsedAboveItsPartIsSwappedWhereTheHostIsVeryShort(t *testing.T) {
	busy := told(2*gib, 2*gib, 2*gib)
	busy.resident, busy.limit = 2*gib, gib
	walled := busy
	walled.wall = gib + gib/2
	const first, part = 2*gib - gib/4, gib + memoryOverhead
	for name, c := range map[string]struct {
		guest      memoryGuest
		free, swap int64
		want       int64
	}{
		"plenty":                                {busy, 50, gib, 0},
		"short: the balloon is first":           {busy, 5, gib, 0},
		"very short: a step at a time":          {busy, 3, gib, first},
		"nothing left":                          {busy, 0, gib, first},
		"very short, and nowhere to swap":       {busy, 3, 0, 0},
		"the swap is almost full":               {walled, 3, gib / 64, 0},
		"a wall comes down to the guest's part": {walled, 3, gib, gib + gib/4},
		"and stands until there is plenty":      {walled, 5, gib, gib + gib/4},
		"then it goes":                          {walled, 50, gib, 0},
	} {
		f := having(8*gib, c.free, "", c.guest, busy)
		f.swapFree = c.swap
		if _, parts := divideMemory(f); parts[0].wall != c.want {
			t.Errorf("%s: it is stopped at %d MiB, want %d", name, parts[0].wall/mib, c.want/mib)
		}
	}
	f := having(8*gib, 3, "", walled, busy)
	f.swapFree = gib
	for range memorySteps {
		_, parts := divideMemory(f)
		f.guests[0].wall = parts[0].wall
	}
	if got := f.guests[0].wall; got != part {
		t.Errorf("in the end it is stopped at %d MiB, want %d", got/mib, int64(part/mib))
	}
}

func TestPagesAreSharedFromWhenAHostIsShortUntilItHasPlenty(t *testing.T) {
	for _, c := range []struct {
		free          int64
		may, is, want bool
	}{
		{50, true, false, false}, {8, true, false, false}, {5, true, false, true}, {3, true, true, true}, {0, true, false, true},
		{8, true, true, true}, {12, true, true, false}, {5, false, false, false}, {5, false, true, false},
	} {
		f := having(gib, c.free, "")
		f.available++
		f.mayMerge, f.merging = c.may, c.is
		if got := f.merge(f.state()); got != c.want {
			t.Errorf("with %d %% free (%+v): %v", c.free, c, got)
		}
	}
}

func TestWhatIsKeptOnceForSeveralIsCountedOnce(t *testing.T) {
	f := memoryFacts{all: 4 * gib, available: -1, merged: gib / 4, guests: []memoryGuest{{resident: gib, shared: gib / 4}, {resident: gib, shared: gib / 4}, {resident: gib / 8, shared: gib / 4}}}
	if got, want := f.free(), int64(4*gib-2*(gib-gib/4)-gib/4); got != want {
		t.Errorf("%d MiB are free, want %d", got/mib, want/mib)
	}
}

func TestWhatQEMUHoldsBesideItsGuestIsNotDivided(t *testing.T) {
	heavy := told(gib, gib/4, gib/8)
	heavy.resident = gib/4 + gib/8
	f := having(gib, 1, "", heavy, heavy)
	if got, want := f.targets()[0], (gib-f.part(wellFree))/2-gib/8; got > want || got < want-mib {
		t.Errorf("it is to have %d, want %d", got, want)
	}
}

func TestWhatNobodyCanTakeIsNotDivided(t *testing.T) {
	held := memoryGuest{memory: 2 * gib, given: 2 * gib, limit: 2 * gib, shares: 1, resident: gib}
	f := having(2*gib, 1, "", held, told(2*gib, 2*gib, 2*gib))
	if got := f.targets(); got[0] != gib || got[1] > gib {
		t.Errorf("a guest without a balloon on a host without swap: %v", got)
	}
	f.swapFree = gib
	if got := f.targets(); got[0] > gib/8 {
		t.Errorf("where the host swaps: %v", got)
	}
}

// drawnHost is a host with guests that all fit with their reservations.
func drawnHost(t *rapid.T) memoryFacts {
	f := memoryFacts{
		all:    rapid.Int64Range(512, 64<<10).Draw(t, "all") * mib,
		before: rapid.SampledFrom([]MemoryState{"", MemoryHigh, MemorySoft, MemoryHard, MemoryLow}).Draw(t, "before"),
	}
	f.swapFree = rapid.SampledFrom([]int64{0, f.all / 100, f.all}).Draw(t, "swap")
	f.available = rapid.SampledFrom([]int64{-1, 0, f.all / 50, f.all / 20, f.all / 10, f.all}).Draw(t, "available")
	left := f.all - f.part(wellFree)
	for i := range rapid.IntRange(1, 8).Draw(t, "guests") {
		left -= memoryOverhead
		memory := rapid.Int64Range(64, 16<<10).Draw(t, "memory")
		limit := rapid.Int64Range(64, memory).Draw(t, "limit") * mib
		g := memoryGuest{
			id: resource.ID(fmt.Sprint(i)), memory: memory * mib, limit: limit, shares: rapid.Int64Range(1, 100_000).Draw(t, "shares"),
			given: rapid.Int64Range(memory/leftPart, memory).Draw(t, "given") * mib, answers: rapid.Bool().Draw(t, "answers"),
		}
		g.active = rapid.Int64Range(0, g.given).Draw(t, "active")
		g.resident = rapid.Int64Range(0, g.given+memoryOverhead).Draw(t, "resident")
		g.wall = rapid.SampledFrom([]int64{0, g.memory/2 + memoryOverhead}).Draw(t, "wall")
		g.reservation = rapid.Int64Range(0, max(0, min(limit, left-f.stuck(g)))).Draw(t, "reservation")
		left -= max(g.reservation, f.stuck(g))
		if left < 0 {
			break
		}
		f.guests = append(f.guests, g)
	}
	return f
}

func TestDivisionOfMemoryKeepsEveryPromise(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawnHost(t)
		state, parts := divideMemory(f)
		var sum, growth int64
		for i, p := range parts {
			g := f.guests[i]
			sum += p.target
			if p.target < min(g.reservation, g.limit) || p.target > g.limit {
				t.Fatalf("guest %d is to have %d: %+v", i, p.target, g)
			}
			if p.wall != 0 && (p.wall < min(g.reservation, g.limit)+memoryOverhead || !f.swaps() || state == MemoryHigh) {
				t.Fatalf("guest %d is stopped at %d on a host that is %s: %+v", i, p.wall, state, g)
			}
			if p.ask == 0 {
				continue
			}
			if !g.answers || p.ask < min(g.reservation, g.given) || p.ask > g.memory || p.ask < min(g.given, compute.MinMemoryMiB*mib) {
				t.Fatalf("guest %d is asked for %d: %+v", i, p.ask, g)
			}
			if p.ask < g.given && p.ask < min(g.active, g.memory) {
				t.Fatalf("guest %d loses what it uses: %d: %+v", i, p.ask, g)
			}
			if by := max(p.ask-g.given, g.given-p.ask); by > max(g.memory/memorySteps, leastStep) {
				t.Fatalf("guest %d changes by %d at once: %+v", i, by, g)
			}
			if state == MemoryHigh && p.ask < min(g.given, g.limit) {
				t.Fatalf("guest %d loses memory though there is plenty: %d: %+v", i, p.ask, g)
			}
			growth += max(0, p.ask-g.given)
		}
		if len(f.guests) > 0 && sum > f.all {
			t.Fatalf("%d is promised and there are %d", sum, f.all)
		}
		if growth > max(0, f.free()) {
			t.Fatalf("guests grow by %d, and %d is free", growth, f.free())
		}
	})
}

func TestMoreSharesGiveNoLessMemory(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawnHost(t)
		if len(f.guests) == 0 {
			t.Skip("nobody fits")
		}
		i := rapid.IntRange(0, len(f.guests)-1).Draw(t, "which")
		before := f.targets()[i]
		f.guests[i].shares += rapid.Int64Range(1, 100_000).Draw(t, "more")
		if after := f.targets()[i]; after < before {
			t.Fatalf("more shares, and %d became %d", before, after)
		}
	})
}

// settle lets guests do what they are asked, until nobody is asked anything; what a balloon takes is free.
func settle(f *memoryFacts) (looks int) {
	for ; looks < 200; looks++ {
		state, parts := divideMemory(*f)
		f.before = state
		asked := false
		for i, p := range parts {
			if g := &f.guests[i]; p.ask != 0 {
				asked = true
				g.given = p.ask
				g.resident = min(g.resident, g.given+memoryOverhead)
			}
		}
		if !asked {
			break
		}
	}
	return looks
}

func TestDivisionRestsWhenNothingChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		f := drawnHost(t)
		f.available = -1
		if settle(&f) == 200 {
			t.Fatalf("guests are asked for ever: %+v", f)
		}
	})
}

func TestHostThatIsShortHasPlentyAgainWhenGuestsLeaveMemoryIdle(t *testing.T) {
	f := memoryFacts{all: 6 * gib, available: -1}
	for range 3 {
		g := told(3*gib, 3*gib, gib)
		g.resident = 2 * gib // it has read files
		f.guests = append(f.guests, g)
	}
	if state, _ := divideMemory(f); state != MemoryLow {
		t.Fatalf("a host without anything free is %s", state)
	}
	if looks := settle(&f); f.before != MemoryHigh || looks > 12 {
		t.Errorf("after %d looks it is %s: %+v", looks, f.before, f)
	}
}
