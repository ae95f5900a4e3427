package onhost

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// divideMemoryEvery is how often guests tell of themselves.
const divideMemoryEvery = 2 * time.Second

// HostMemory is the memory of a host.
type HostMemory interface {
	// Free is what the kernel could give to anybody now without swapping, and what it could still swap, in bytes.
	Free() (available, swap int64, err error)
}

// PageSharer is the memory of a host whose kernel can keep pages of the same content once.
type PageSharer interface {
	// Sharing says whether it is looking for such pages now, and how many bytes it keeps once for several.
	Sharing() (on bool, bytes int64, err error)
	// Share lets it look for more, or stop; what is kept once stays so until it is written.
	Share(on bool) error
}

// MemoryFigures are what a VM has of its host's memory, in bytes.
type MemoryFigures struct {
	// Target is what it is entitled to now, Given what its balloon leaves it of its memory.
	Target, Given int64
	// Active is what its programs use; what its guest does not tell is taken from what QEMU holds.
	Active int64
	// Resident is what QEMU holds of the host's memory, Swapped what of it lies in the host's swap, and Shared
	// what of it is one with others' pages of the same content.
	Resident, Swapped, Shared int64
}

// MemoryDivider divides the memory of a host among its VMs. What it knows it sees: after a restart it begins
// again.
type MemoryDivider struct {
	db        *store.DB
	balloons  Ballooner
	memory    HostMemory
	groups    MemoryGroups
	inventory func() host.Inventory
	// maySharePages is the policy of the host; nil: it may not.
	maySharePages func() bool
	// hugePages are set aside in MiB, which are nobody's to divide; nil: none are.
	hugePages   func() int64
	sharesPages bool // by our word

	last  map[resource.ID]seenMemory
	given map[string]memoryGroup

	mu      sync.Mutex
	state   MemoryState
	figures map[resource.ID]MemoryFigures
}

// seenMemory is what was last seen of a guest, what it was last asked for, and where it is stopped.
type seenMemory struct {
	GuestMemory
	asked, wall int64
}

// NewMemoryDivider makes the divider of a host; nil where its hypervisor's guests have no balloons. Without a
// host's memory it goes by what the guests hold alone, without groups nothing is swapped by its word.
func NewMemoryDivider(db *store.DB, hv Hypervisor, memory HostMemory, groups MemoryGroups, inventory func() host.Inventory) *MemoryDivider {
	balloons, ok := hv.(Ballooner)
	if !ok || inventory == nil {
		return nil
	}
	if _, ok := hv.(Grouper); !ok {
		groups = nil
	}
	return &MemoryDivider{db: db, balloons: balloons, memory: memory, groups: groups, inventory: inventory,
		last: map[resource.ID]seenMemory{}, given: map[string]memoryGroup{}}
}

// Figures are the last ones, by instance, and how short the host is; empty: nobody has looked yet.
func (d *MemoryDivider) Figures() (MemoryState, map[resource.ID]MemoryFigures) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.state, d.figures
}

// Divide looks at all that runs here and asks each guest for its part.
func (d *MemoryDivider) Divide(ctx context.Context) error {
	facts, err := d.facts()
	if err != nil || facts.all <= 0 { // what the host has is not known yet
		return fault.Wrap(err, "divide the memory")
	}
	last := map[resource.ID]seenMemory{}
	for _, i := range d.living() {
		seen, there := d.look(ctx, i)
		if !there {
			continue
		}
		last[i.ID] = seen
		facts.guests = append(facts.guests, guestOf(i, seen, d.last[i.ID]))
	}
	state, parts := divideMemory(facts)
	failed := []error{d.share(facts, facts.merge(state)), d.hold(groupMemory(facts, parts, d.grouped()), last, parts)}
	for _, p := range parts {
		seen := last[p.id]
		if p.ask == 0 || p.ask == seen.asked {
			continue
		}
		if err := d.balloons.SetMemory(ctx, p.id, p.ask); err != nil {
			failed = append(failed, fault.Wrap(err, "ask instance %s for its memory", p.id))
			continue
		}
		seen.asked = p.ask
		last[p.id] = seen
	}
	if state != facts.before && (facts.before == MemoryHard || state == MemoryHard || state == MemoryLow) {
		slog.Info("memory of this host", "state", state, "before", facts.before, "free", facts.free()/mib, "of", facts.all/mib)
	}
	d.last = last
	d.publish(state, facts, parts)
	return errors.Join(failed...)
}

// facts are those of the host.
func (d *MemoryDivider) facts() (f memoryFacts, err error) {
	inv := d.inventory()
	f = memoryFacts{all: (inv.MemoryMiB - inv.ReservedMemoryMiB - d.huge()) * mib, kept: inv.ReservedMemoryMiB * mib, available: -1, before: d.state}
	if d.memory == nil {
		return f, nil
	}
	f.available, f.swapFree, err = d.memory.Free()
	if d.groups == nil {
		f.swapFree = 0 // there is, but nobody can say of which guest
	}
	if sharer, can := d.memory.(PageSharer); can && err == nil {
		f.mayMerge = d.maySharePages != nil && d.maySharePages()
		if f.merging, f.merged, err = sharer.Sharing(); fault.Is(err, fault.Precondition) { // this kernel cannot
			f.mayMerge, f.merging, err = false, false, nil
		}
	}
	return f, err
}

func (d *MemoryDivider) huge() int64 {
	if d.hugePages == nil {
		return 0
	}
	return d.hugePages()
}

// share begins or ends the search for pages of the same content. Where the host's policy is not to, only what was
// begun here is ended: it may be somebody else's.
func (d *MemoryDivider) share(f memoryFacts, want bool) error {
	sharer, can := d.memory.(PageSharer)
	if !can || want == f.merging || !f.mayMerge && !d.sharesPages {
		return nil
	}
	if err := sharer.Share(want); err != nil {
		return err
	}
	d.sharesPages = want
	return nil
}

// publish keeps the figures for those who ask.
func (d *MemoryDivider) publish(state MemoryState, f memoryFacts, parts []memoryPart) {
	figures := map[resource.ID]MemoryFigures{}
	for n, p := range parts {
		seen := d.last[p.id]
		figures[p.id] = MemoryFigures{
			Target: p.target, Given: seen.Given, Active: f.guests[n].used(),
			Resident: seen.Resident, Swapped: seen.Swapped, Shared: seen.Shared,
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.state, d.figures = state, figures
}

// living are the instances that have a process, in a fixed order, but for those whose memory nobody can take.
func (d *MemoryDivider) living() []*compute.Instance {
	all := slices.Clone(store.Every(d.db.Snapshot(), compute.Instances))
	all = slices.DeleteFunc(all, func(i *compute.Instance) bool { return i.Status.PID == 0 || i.Spec.HugePages != "" })
	slices.SortFunc(all, func(a, b *compute.Instance) int { return cmp.Compare(a.ID, b.ID) })
	return all
}

// look asks for the memory of a guest. One that cannot be asked now has what it had.
func (d *MemoryDivider) look(ctx context.Context, i *compute.Instance) (seenMemory, bool) {
	before, known := d.last[i.ID]
	now, err := d.balloons.Memory(ctx, i.ID)
	switch {
	case fault.Is(err, fault.NotFound):
		return seenMemory{}, false
	case err != nil && !known:
		before.Given = i.Spec.MemoryMiB * mib
		before.Resident = before.Given
		return before, true
	case err != nil:
		before.Answers = false
		return before, true
	}
	return seenMemory{now, before.asked, before.wall}, true
}

// guestOf is what the division needs to know of a guest. One that moves is left alone: what its balloon
// changes would have to be sent again.
func guestOf(i *compute.Instance, now, before seenMemory) memoryGuest {
	g := memoryGuestOf(i.ID, i.Spec.MemoryMiB, i.Spec.MemoryPolicy)
	g.given, g.resident, g.shared, g.wall = now.Given, now.Resident, now.Shared, now.wall
	if g.answers = now.Answers && i.Spec.Outgoing == nil && i.Status.Phase == compute.InstanceRunning; !g.answers {
		return g
	}
	if g.active = now.Given - now.Available; before.Answers && now.SwappedIn > before.SwappedIn {
		g.active = g.memory // it reads back what it had to give up: it has too little
	}
	return g
}
