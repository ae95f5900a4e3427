package qemu

import (
	"context"
	"math"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/proc"
	"github.com/virga-cloud/virga/engine/resource"
)

var _ onhost.Ballooner = (*Driver)(nil)

const (
	// balloonDevice is the one that every guest has; free pages are reported by it too.
	balloonDevice = "virtio-balloon-pci,id=balloon0,bus=pcie.0,addr=0x2,free-page-reporting=on,deflate-on-oom=on,guest-stats-polling-interval=2"
	balloonPath   = "/machine/peripheral/balloon0"
	// balloonSilence is how old the last answer of a driver may be.
	balloonSilence = 15 * time.Second
)

// balloonStats are QEMU's words for what the guest's driver told; what it does not tell is unsaid.
type balloonStats struct {
	LastUpdate int64 `json:"last-update"` // seconds since 1970
	Stats      struct {
		Free      uint64 `json:"stat-free-memory"`
		Available uint64 `json:"stat-available-memory"`
		Cache     uint64 `json:"stat-disk-caches"`
		SwapIn    uint64 `json:"stat-swap-in"`
		SwapOut   uint64 `json:"stat-swap-out"`
	} `json:"stats"`
}

const unsaid = math.MaxUint64

// Memory implements onhost.Ballooner.
func (d *Driver) Memory(ctx context.Context, id resource.ID) (onhost.GuestMemory, error) {
	g, err := d.known(id)
	if err != nil {
		return onhost.GuestMemory{}, err
	}
	defer g.mu.Unlock()
	var balloon struct {
		Actual int64 `json:"actual"`
	}
	if err := g.do(ctx, "query-balloon", nil, &balloon); err != nil {
		return onhost.GuestMemory{}, fault.Wrap(err, "look at the memory")
	}
	var told balloonStats
	if err := g.do(ctx, "qom-get", map[string]any{"path": balloonPath, "property": "guest-stats"}, &told); err != nil {
		return onhost.GuestMemory{}, fault.Wrap(err, "look at the memory")
	}
	m := told.memory(balloon.Actual, d.cfg.Now())
	held, err := proc.MemoryOf(g.saved.PID)
	if err != nil {
		return m, fault.New(fault.Unavailable, "look at the memory of QEMU: %w", err)
	}
	m.Given += g.grown(ctx)
	m.Resident, m.Swapped, m.Shared = held.Resident, held.Swapped, held.Shared
	return m, nil
}

// memory judges what was told: the guest may say anything, and more than it has is as good as all.
func (b balloonStats) memory(given int64, now time.Time) onhost.GuestMemory {
	m := onhost.GuestMemory{Given: given}
	m.Answers = b.LastUpdate > 0 && now.Sub(time.Unix(b.LastUpdate, 0)) < balloonSilence && b.Stats.Free != unsaid
	if !m.Answers {
		return m
	}
	available := b.Stats.Available
	if available == unsaid { // Linux before 4.6
		available = b.Stats.Free
		if b.Stats.Cache != unsaid {
			available += b.Stats.Cache
		}
	}
	m.Available = int64(min(available, uint64(max(given, 0))))
	m.SwappedIn, m.SwappedOut = counted(b.Stats.SwapIn), counted(b.Stats.SwapOut)
	return m
}

func counted(n uint64) int64 {
	if n > math.MaxInt64 {
		return 0
	}
	return int64(n)
}

// SetMemory implements onhost.Ballooner.
func (d *Driver) SetMemory(ctx context.Context, id resource.ID, bytes int64) error {
	g, err := d.known(id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	return fault.Wrap(g.do(ctx, "balloon", map[string]any{"value": max(bytes-g.grown(ctx), compute.MinMemoryMiB<<20)}, nil), "set the balloon")
}
