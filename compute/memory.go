package compute

import (
	"fmt"

	"github.com/virga-cloud/virga/engine/fault"
)

// SharesPerMiB are the memory shares of a VM that nobody decided about, for each MiB of its memory.
const SharesPerMiB = 10

// maxMemoryShares is above what the largest VM has by itself.
const maxMemoryShares = 100_000_000

// MemoryPolicy is what a VM gets of its host's memory where that is short: first reservations are kept, then
// what is left is divided by shares, less for who leaves its memory idle, and nobody gets more than its limit.
// What a VM does not get of its own memory is taken from it by the balloon, and swapped where that is too slow.
type MemoryPolicy struct {
	// MemoryShares are the VM's weight against others, in no unit; 0: 10 for each MiB of its memory, of which a
	// resource pool counts 16384.
	MemoryShares int64 `json:"memoryShares,omitempty"`
	// MemoryReservationMiB is what it keeps however short memory is, in MiB. A host promises no more than it has.
	MemoryReservationMiB int64 `json:"memoryReservationMiB,omitempty"`
	// MemoryLimitMiB is the most of its host's memory that it gets, in MiB; 0: all of its own.
	MemoryLimitMiB int64 `json:"memoryLimitMiB,omitempty"`
}

// Shares are those of a VM with so much memory.
func (p MemoryPolicy) Shares(memoryMiB int64) int64 {
	if p.MemoryShares == 0 {
		return SharesPerMiB * memoryMiB
	}
	return p.MemoryShares
}

// Limit is the most that a VM with so much memory gets.
func (p MemoryPolicy) Limit(memoryMiB int64) int64 {
	if p.MemoryLimitMiB == 0 {
		return memoryMiB
	}
	return min(p.MemoryLimitMiB, memoryMiB)
}

// Check lists everything that is wrong with it, for a VM with so much memory.
func (p MemoryPolicy) Check(memoryMiB int64) (out []fault.Detail) {
	wrong := func(field, format string, args ...any) {
		out = append(out, fault.Detail{Field: "spec." + field, Message: fmt.Sprintf(format, args...)})
	}
	if p.MemoryShares < 0 || p.MemoryShares > maxMemoryShares {
		wrong("memoryShares", "must be 1 to %d; leave it out for %d for each MiB of memory", maxMemoryShares, SharesPerMiB)
	}
	switch {
	case p.MemoryReservationMiB < 0:
		wrong("memoryReservationMiB", "must be 0 or more, in MiB")
	case p.MemoryReservationMiB > memoryMiB:
		wrong("memoryReservationMiB", "must not be above memoryMiB, which is %d: the VM has no more to keep", memoryMiB)
	case p.MemoryLimitMiB > 0 && p.MemoryReservationMiB > p.MemoryLimitMiB:
		wrong("memoryReservationMiB", "must not be above memoryLimitMiB, which is %d: what is reserved could never be used", p.MemoryLimitMiB)
	}
	if p.MemoryLimitMiB != 0 && p.MemoryLimitMiB < MinMemoryMiB {
		wrong("memoryLimitMiB", "must be 0, for all of its memory, or at least %d MiB: no guest lives with less", MinMemoryMiB)
	}
	return out
}
