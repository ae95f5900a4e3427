package onhost

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
)

// ballooning is a host with 4 GiB for guests that do what they are asked.
type ballooning struct {
	Hypervisor
	t         *testing.T
	db        *store.DB
	seen      map[resource.ID]GuestMemory
	mute      map[resource.ID]error
	asked     map[resource.ID]int64
	available int64
	wrote     []string
	broken    int
	sharing   bool
	cannot    error
	*MemoryDivider
}

func (b *ballooning) Memory(_ context.Context, id resource.ID) (GuestMemory, error) {
	if err := b.mute[id]; err != nil {
		return GuestMemory{}, err
	}
	return b.seen[id], nil
}

func (b *ballooning) SetMemory(_ context.Context, id resource.ID, bytes int64) error {
	if id == "refuses" {
		return fault.New(fault.Unavailable, "QEMU does not answer")
	}
	m := b.seen[id]
	m.Available += bytes - m.Given
	m.Given = bytes
	b.seen[id], b.asked[id] = m, bytes
	return nil
}

func (b *ballooning) Free() (int64, int64, error) {
	if b.available < 0 {
		return 0, 0, fault.New(fault.Internal, "/proc is not mounted")
	}
	return b.available, gib, nil
}

func (b *ballooning) Sharing() (bool, int64, error) { return b.sharing, 0, b.cannot }

func (b *ballooning) Share(on bool) error {
	b.sharing = on
	return nil
}

func (b *ballooning) Grouped() map[resource.ID]string {
	out := map[resource.ID]string{}
	for id := range b.seen {
		out[id] = "pool-p/" + GroupOf(id)
	}
	return out
}

func (b *ballooning) Group(context.Context, resource.ID, string) error { return nil }

func (b *ballooning) writes(what, name string, values ...int64) error {
	if b.broken > 0 {
		b.broken--
		return fault.New(fault.Unavailable, "the kernel is busy")
	}
	for i := range values {
		if what != "kill" {
			values[i] /= mib
		}
	}
	b.wrote = append(b.wrote, fmt.Sprint(what, " ", name, " ", values))
	return nil
}

func (b *ballooning) SetMemoryProtection(name string, reserved, part int64) error {
	return b.writes("protect", name, reserved, part)
}

func (b *ballooning) SetMemoryWall(name string, bytes int64) error {
	return b.writes("wall", name, bytes)
}

func (b *ballooning) SetMemoryLimit(name string, bytes int64) error {
	return b.writes("limit", name, bytes)
}

func (b *ballooning) SetKillOrder(name string, score int64) error {
	return b.writes("kill", name, score)
}

func newBallooning(t *testing.T, ids ...resource.ID) *ballooning {
	b := &ballooning{t: t, seen: map[resource.ID]GuestMemory{}, mute: map[resource.ID]error{}, asked: map[resource.ID]int64{}, available: 2 * gib}
	b.db = store.NewDB(memory.New(), resource.NewCatalog(compute.Instances))
	b.db.Inline = true
	l := store.NewRegistry()
	specs, statuses := store.Specs(l, compute.Instances, "test"), store.Statuses(l, compute.Instances, "test")
	for _, id := range ids {
		i := &compute.Instance{Meta: resource.Meta{ID: id, Name: string(id), Project: "p"}, Spec: compute.InstanceSpec{MemoryMiB: 2048}}
		b.commit(func(batch *store.Batch) { specs.Create(batch, i) })
		b.commit(func(batch *store.Batch) {
			statuses.Set(batch, store.Find(b.db.Snapshot(), compute.Instances, id), func(s *compute.InstanceStatus) { s.PID, s.Phase = 7, compute.InstanceRunning })
		})
		b.seen[id] = GuestMemory{Given: 2 * gib, Answers: true, Available: gib + gib/2, Resident: gib}
	}
	b.MemoryDivider = NewMemoryDivider(b.db, b, b, b, func() host.Inventory { return host.Inventory{MemoryMiB: 4608, ReservedMemoryMiB: 512} })
	return b
}

func (b *ballooning) commit(fill func(*store.Batch)) {
	b.t.Helper()
	batch := b.db.Begin()
	fill(batch)
	if err := b.db.Commit(b.t.Context(), batch); err != nil {
		b.t.Fatal(err)
	}
	if err := b.db.CatchUp(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
}

// looks once, and expects what was asked of guests, in MiB.
func (b *ballooning) looks(want map[resource.ID]int64) {
	b.t.Helper()
	clear(b.asked)
	b.wrote = nil
	if err := b.Divide(b.t.Context()); err != nil {
		b.t.Fatal(err)
	}
	got := map[resource.ID]int64{}
	for id, bytes := range b.asked {
		got[id] = bytes / mib
	}
	if !maps.Equal(got, want) {
		b.t.Errorf("guests were asked for %v, want %v", got, want)
	}
}

func TestBalloonsFollowWhatIsFreeOnTheHost(t *testing.T) {
	b := newBallooning(t, "a", "b")
	b.looks(nil)
	if state, f := b.Figures(); state != MemoryHigh || f["a"] != (MemoryFigures{Target: f["a"].Target, Given: 2 * gib, Active: gib / 2, Resident: gib}) || f["a"].Target < gib {
		t.Errorf("the host is %s: %+v", state, f)
	}
	b.available = gib / 8
	b.looks(map[resource.ID]int64{"a": 1872, "b": 1872})
	if state, _ := b.Figures(); state != MemoryHard {
		t.Errorf("the host is %s", state)
	}
	b.looks(nil) // it has no more to give: these are their parts
	b.available = 3 * gib
	b.looks(map[resource.ID]int64{"a": 2048, "b": 2048})
	b.looks(nil)
}

func TestAGuestThatCannotBeAskedIsNotTakenForOneWithout(t *testing.T) {
	b := newBallooning(t, "a", "b", "gone")
	b.mute["a"], b.mute["gone"] = fault.New(fault.Unavailable, "QEMU is silent"), fault.New(fault.NotFound, "no guest is here")
	b.available = 0
	b.looks(map[resource.ID]int64{"b": 1792})
	if _, f := b.Figures(); len(f) != 2 || f["a"].Resident != 2*gib || f["a"].Active != 2*gib {
		t.Errorf("one that was never seen counts as %+v", f)
	}
	delete(b.mute, "a")
	b.looks(map[resource.ID]int64{"a": 1872})
	b.mute["a"] = fault.New(fault.Unavailable, "QEMU is silent")
	b.looks(map[resource.ID]int64{"b": 1704})
	if _, f := b.Figures(); f["a"].Resident != gib {
		t.Errorf("one that was seen counts as %+v", f["a"])
	}
}

func TestAGuestThatReadsItsSwapIsTakenForOneThatUsesAll(t *testing.T) {
	b := newBallooning(t, "a", "b")
	b.looks(nil)
	m := b.seen["a"]
	m.SwappedIn += mib
	b.seen["a"] = m
	b.looks(nil)
	if _, f := b.Figures(); f["a"].Active != 2*gib || f["b"].Active != gib/2 {
		t.Errorf("%+v", f)
	}
	b.looks(nil)
	if _, f := b.Figures(); f["a"].Active != gib/2 {
		t.Errorf("when it reads no more: %+v", f)
	}
}

func TestAGuestThatMovesIsLeftAlone(t *testing.T) {
	b := newBallooning(t, "a")
	i := store.Find(b.db.Snapshot(), compute.Instances, "a")
	moving := *i
	moving.Spec.Outgoing = &compute.Outgoing{OperationID: "m"}
	if g := guestOf(&moving, seenMemory{GuestMemory: b.seen["a"]}, seenMemory{}); g.answers {
		t.Errorf("%+v", g)
	}
	if g := guestOf(i, seenMemory{GuestMemory: b.seen["a"]}, seenMemory{}); !g.answers || g.active != gib/2 {
		t.Errorf("one that does not: %+v", g)
	}
}

func TestOneGuestThatRefusesDoesNotHinderOthers(t *testing.T) {
	b := newBallooning(t, "a", "refuses")
	b.available = 0
	clear(b.asked)
	if err := b.Divide(t.Context()); !fault.Is(err, fault.Unavailable) || b.asked["a"] == 0 {
		t.Errorf("%v, and asked were %v", err, b.asked)
	}
	b.available = -1
	if err := b.Divide(t.Context()); !fault.Is(err, fault.Internal) {
		t.Errorf("where nothing can be read: %v", err)
	}
}

func TestWithoutBalloonsMemoryIsNotDivided(t *testing.T) {
	if d := NewMemoryDivider(nil, &grouped{}, nil, nil, func() host.Inventory { return host.Inventory{} }); d != nil {
		t.Error("a divider without balloons")
	}
}

func (b *ballooning) hasWritten(want ...string) {
	b.t.Helper()
	if !slices.Equal(b.wrote, want) {
		b.t.Errorf("written was %q, want %q", b.wrote, want)
	}
}

func TestGroupsKeepWhatIsReservedAndAreStoppedWhereTheHostIsVeryShort(t *testing.T) {
	b := newBallooning(t, "a", "b")
	b.looks(nil)
	b.hasWritten("protect  [0 3809]", "limit  [4352]", "protect pool-p [0 3809]",
		"protect pool-p/vm-a [0 1904]", "kill pool-p/vm-a [900]", "protect pool-p/vm-b [0 1904]", "kill pool-p/vm-b [900]")
	b.looks(nil)
	b.hasWritten()
	busy := GuestMemory{Given: 2 * gib, Answers: true, Resident: 2*gib + memoryOverhead}
	b.seen["a"], b.seen["b"], b.available = busy, busy, gib/8
	b.looks(nil)
	if !slices.Contains(b.wrote, "wall pool-p/vm-a [1904]") {
		t.Errorf("a guest that uses more than its part is not stopped: %q", b.wrote)
	}
	busy.Resident = gib
	b.seen["a"], b.seen["b"], b.available = busy, busy, 3*gib
	b.looks(nil)
	if !slices.Contains(b.wrote, "wall pool-p/vm-a [0]") {
		t.Errorf("its wall stands though there is plenty: %q", b.wrote)
	}
}

func TestWhatTheKernelRefusesIsTriedAgain(t *testing.T) {
	b := newBallooning(t, "a")
	b.broken = 1
	if err := b.Divide(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Fatal(err)
	}
	b.looks(nil)
	b.hasWritten("protect  [0 2080]", "limit  [4352]")
}

func TestPagesAreSharedAsThePolicyOfTheHostSays(t *testing.T) {
	b := newBallooning(t, "a")
	may := false
	b.maySharePages = func() bool { return may }
	is := func(available int64, want bool) {
		t.Helper()
		b.available = available
		if err := b.Divide(t.Context()); err != nil || b.sharing != want {
			t.Errorf("with %d MiB free, may it: %v; it is %v, want %v, %v", available/mib, may, b.sharing, want, err)
		}
	}
	is(0, false)
	may = true
	is(0, true)
	is(gib/3, true) // no longer short, and not plenty
	may = false
	is(gib/3, false) // what was begun here is ended
	b.sharing = true
	is(0, true) // and what somebody else began is not
	may = true
	is(2*gib, false)
	b.cannot = fault.New(fault.Precondition, "this kernel cannot")
	is(0, false)
	b.cannot = fault.New(fault.Internal, "what it says is no number")
	if err := b.Divide(t.Context()); !fault.Is(err, fault.Internal) {
		t.Error(err)
	}
}
