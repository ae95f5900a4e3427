package probe

import (
	"os"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/proc"
)

// Memory is this host's.
type Memory struct{}

// Free is what the kernel could give to anybody now without swapping, and what it could still swap, in bytes.
func (Memory) Free() (available, swap int64, err error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, 0, fault.New(fault.Internal, "read what memory is free: %w", err)
	}
	return proc.Kibibytes(string(text), "MemAvailable"), proc.Kibibytes(string(text), "SwapFree"), nil
}
