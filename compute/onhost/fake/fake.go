// Package fake is a hypervisor without guests, for tests and the simulator.
//
// It starts no goroutines and has no clock of its own: what happens, happens in a call. A test
// makes things happen to guests by PowerOff, Panic, Crash and the Fail methods. Memory that is sent
// moves one step with every Look at the source.
package fake

import (
	"context"
	"io"
	"net"
	"sort"
	"sync"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Hypervisor is the fake. Its guests outlive whoever uses it, as real ones do.
type Hypervisor struct {
	// Now is the clock.
	Now func() time.Time
	// Reach finds the hypervisor that a migration's memory goes to; nil, or a nil answer: none.
	Reach func(compute.Outgoing) *Hypervisor
	// TransferSteps is how many looks a transfer takes.
	TransferSteps int
	// Changed, if set, is told that a guest has powered off, panicked or crashed, as a real QEMU
	// tells. One that hangs tells nothing.
	Changed func(resource.ID)
	// SizeOf tells the size of a disk's file, and Resize changes it; nil: the fake keeps sizes itself,
	// which begin at 0.
	SizeOf func(onhost.Disk) int64
	Resize func(onhost.Disk, int64) error

	mu       sync.Mutex
	guests   map[resource.ID]*guest
	pids     int
	failNext error
	failList error
	failSend error
}

type guest struct {
	onhost.Guest
	vm   onhost.VMConfig
	left int // looks until all memory is sent
	to   compute.Outgoing
	// leaving are the devices that it was asked to give up, half those of which only what is behind is there.
	leaving map[deviceKey]leaving
	half    map[deviceKey]bool
	clings  bool
	sizes   map[resource.ID]int64 // of its disks, where nobody else keeps them
	// uses is what its programs use of its memory, held what it has of the host's, ballooned what its balloon
	// holds, in bytes.
	uses, held, ballooned int64
}

var (
	_ onhost.Hypervisor = (*Hypervisor)(nil)
	_ onhost.Migrator   = (*Hypervisor)(nil)
	_ onhost.Grower     = (*Hypervisor)(nil)
	_ onhost.Plugger    = (*Hypervisor)(nil)
	_ onhost.Kin        = (*Hypervisor)(nil)
	_ onhost.Ballooner  = (*Hypervisor)(nil)

	_ onhost.MemoryGrower = (*Hypervisor)(nil)
	_ onhost.CPUGrower    = (*Hypervisor)(nil)
)

// New makes a hypervisor without guests.
func New(now func() time.Time) *Hypervisor {
	return &Hypervisor{Now: now, TransferSteps: 2, guests: map[resource.ID]*guest{}}
}

// FailNextStart lets the next start fail, as a QEMU process does that ends at once.
func (h *Hypervisor) FailNextStart(err error) { h.with(func() { h.failNext = err }) }

// FailList lets List fail until it is called with nil.
func (h *Hypervisor) FailList(err error) { h.with(func() { h.failList = err }) }

// FailSends lets every transfer fail half way until it is called with nil.
func (h *Hypervisor) FailSends(err error) { h.with(func() { h.failSend = err }) }

// PowerOff is the guest's own doing.
func (h *Hypervisor) PowerOff(id resource.ID) { h.happens(id, onhost.Off); h.tell(id) }

// Panic is the guest's too.
func (h *Hypervisor) Panic(id resource.ID) { h.happens(id, onhost.Crashed); h.tell(id) }

// Hang makes QEMU silent until it is killed.
func (h *Hypervisor) Hang(id resource.ID) { h.happens(id, onhost.Silent) }

// Crash ends QEMU.
func (h *Hypervisor) Crash(id resource.ID) {
	h.with(func() {
		if g := h.guests[id]; g != nil && g.State.Alive() {
			h.ends(g, compute.ExitCrashed, "QEMU was killed by signal 9 (killed)")
		}
	})
	h.tell(id)
}

func (h *Hypervisor) tell(id resource.ID) {
	if h.Changed != nil {
		h.Changed(id)
	}
}

// OfVM implements onhost.Kin.
func (h *Hypervisor) OfVM(vmID resource.ID) []onhost.Guest {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []onhost.Guest
	for _, g := range h.guests {
		if g.vm.VMID == vmID && g.State.Alive() {
			out = append(out, g.Guest)
		}
	}
	return out
}

// Lose forgets everything, as a host does that is started again.
func (h *Hypervisor) Lose() { h.with(func() { clear(h.guests) }) }

// VM is what a guest was started as.
func (h *Hypervisor) VM(id resource.ID) (onhost.VMConfig, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.guests[id]
	if g == nil {
		return onhost.VMConfig{}, false
	}
	return g.vm, true
}

func (h *Hypervisor) with(do func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	do()
}

func (h *Hypervisor) happens(id resource.ID, to onhost.State) {
	h.with(func() {
		if g := h.guests[id]; g != nil && g.State == onhost.Running {
			g.State = to
		}
	})
}

func (h *Hypervisor) ends(g *guest, exit compute.Exit, message string) {
	if g.Exit == "" {
		g.Exit, g.ExitMessage, g.EndedAt = exit, message, h.Now().UTC()
	}
	g.State = onhost.Ended
}

// Ensure implements onhost.Hypervisor.
func (h *Hypervisor) Ensure(_ context.Context, m onhost.VMConfig) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.guests[m.ID]
	switch {
	case g != nil && m.Epoch < g.Epoch:
		return fault.New(fault.Conflict, "instance %s has epoch %d here, and %d is asked for: a newer owner has it", m.ID, g.Epoch, m.Epoch)
	case g != nil && g.State == onhost.Ended:
		return fault.New(fault.Precondition, "instance %s has ended (%s) and is not started again", m.ID, g.Exit)
	case g != nil:
		g.Epoch = m.Epoch
		return nil
	}
	h.pids++
	g = &guest{vm: m, uses: m.MemoryMiB << 20 / 4, held: m.MemoryMiB << 20 / 4, leaving: map[deviceKey]leaving{}, half: map[deviceKey]bool{}, Guest: onhost.Guest{ID: m.ID, Epoch: m.Epoch, State: onhost.Paused, PID: 1000 + h.pids, StartedAt: h.Now().UTC()}}
	if m.Incoming {
		g.State = onhost.Incoming
	}
	h.guests[m.ID] = g
	if err := h.failNext; err != nil {
		h.failNext = nil
		h.ends(g, compute.ExitFailed, err.Error())
		return err
	}
	return nil
}

// List implements onhost.Hypervisor.
func (h *Hypervisor) List(ctx context.Context) ([]onhost.Guest, error) {
	h.mu.Lock()
	err := h.failList
	ids := make([]resource.ID, 0, len(h.guests))
	for id := range h.guests {
		ids = append(ids, id)
	}
	h.mu.Unlock()
	if err != nil {
		return nil, err
	}
	sort.Slice(ids, func(i, j int) bool { return ids[i] < ids[j] })
	var out []onhost.Guest
	for _, id := range ids {
		g, err := h.Look(ctx, id)
		if err != nil {
			return nil, err
		}
		out = append(out, g)
	}
	return out, nil
}

// Look implements onhost.Hypervisor.
func (h *Hypervisor) Look(_ context.Context, id resource.ID) (onhost.Guest, error) {
	arrived := h.advance(id)
	if arrived != nil {
		arrived()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if g := h.guests[id]; g != nil {
		return g.Guest, nil
	}
	return onhost.Guest{ID: id}, nil
}

// advance moves a transfer on. The target is told outside of the lock: it may be the same fake.
func (h *Hypervisor) advance(id resource.ID) (arrived func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.guests[id]
	if g == nil || g.Transfer.State != onhost.TransferActive || !g.State.Alive() {
		return nil
	}
	if g.left--; g.left > 0 {
		return nil
	}
	target := (*Hypervisor)(nil)
	if h.Reach != nil {
		target = h.Reach(g.to)
	}
	switch {
	case h.failSend != nil:
		g.Transfer.State, g.Transfer.Error = onhost.TransferFailed, h.failSend.Error()
	case target == nil:
		g.Transfer.State, g.Transfer.Error = onhost.TransferFailed, "the target at "+g.to.Address+" cannot be reached"
	default:
		g.Transfer.State, g.Transfer.DowntimeMillis, g.Transfer.TotalMillis, g.State = onhost.TransferDone, 50, 500, onhost.Sent
		to := g.to.InstanceID
		return func() { target.receive(to) }
	}
	return nil
}

func (h *Hypervisor) receive(id resource.ID) {
	h.with(func() {
		if g := h.guests[id]; g != nil && g.State == onhost.Incoming {
			g.State = onhost.Received
		}
	})
}

func (h *Hypervisor) alive(id resource.ID, do func(*guest) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	g := h.guests[id]
	if g == nil {
		return fault.New(fault.NotFound, "no guest of instance %s is here", id)
	}
	if !g.State.Alive() {
		return fault.New(fault.Precondition, "instance %s has no QEMU any more", id)
	}
	return do(g)
}

// Pause implements onhost.Hypervisor.
func (h *Hypervisor) Pause(_ context.Context, id resource.ID) error {
	return h.alive(id, func(g *guest) error {
		if g.State == onhost.Running {
			g.State = onhost.Paused
		}
		return nil
	})
}

// Resume implements onhost.Hypervisor.
func (h *Hypervisor) Resume(_ context.Context, id resource.ID) error {
	return h.alive(id, func(g *guest) error {
		switch g.State {
		case onhost.Off, onhost.Crashed, onhost.Incoming:
			return fault.New(fault.Precondition, "resume instance %s: it is %s", id, g.State)
		}
		g.State = onhost.Running
		return nil
	})
}

// Ask implements onhost.Hypervisor. The guest does not listen; PowerOff is its answer.
func (h *Hypervisor) Ask(_ context.Context, id resource.ID) error {
	return h.alive(id, func(g *guest) error {
		if g.AskedAt.IsZero() {
			g.AskedAt = h.Now().UTC()
		}
		g.Asks++
		return nil
	})
}

// Kill implements onhost.Hypervisor.
func (h *Hypervisor) Kill(_ context.Context, id resource.ID) error {
	h.with(func() {
		g := h.guests[id]
		switch {
		case g == nil || !g.State.Alive():
		case g.State == onhost.Off:
			h.ends(g, compute.ExitPoweredOff, "")
		case g.State == onhost.Crashed:
			h.ends(g, compute.ExitCrashed, "the guest panicked")
		default:
			h.ends(g, compute.ExitForced, "")
		}
	})
	return nil
}

// Remove implements onhost.Hypervisor.
func (h *Hypervisor) Remove(_ context.Context, id resource.ID) error {
	h.with(func() { delete(h.guests, id) })
	return nil
}

// Send implements onhost.Migrator.
func (h *Hypervisor) Send(_ context.Context, id resource.ID, to compute.Outgoing) error {
	return h.alive(id, func(g *guest) error {
		if g.Transfer.OperationID == to.OperationID {
			return nil
		}
		if g.Transfer.State == onhost.TransferActive {
			return fault.New(fault.Precondition, "send instance %s: another migration is under way, cancel it first", id)
		}
		g.Transfer = onhost.Transfer{OperationID: to.OperationID, State: onhost.TransferActive}
		g.left, g.to = h.TransferSteps, to
		return nil
	})
}

// Cancel implements onhost.Migrator.
func (h *Hypervisor) Cancel(_ context.Context, id resource.ID) error {
	return h.alive(id, func(g *guest) error {
		if g.Transfer.State == onhost.TransferActive {
			g.Transfer.State, g.Transfer.Error = onhost.TransferCanceled, "the migration was cancelled"
		}
		return nil
	})
}

// AcceptStream implements onhost.Migrator: the end of the stream is all of the memory.
func (h *Hypervisor) AcceptStream(_ context.Context, id resource.ID, conn net.Conn) error {
	defer func() { _ = conn.Close() }()
	if _, err := io.Copy(io.Discard, conn); err != nil {
		return fault.New(fault.Unavailable, "receive the memory of instance %s: %w", id, err)
	}
	h.receive(id)
	return nil
}
