package probe

import (
	"os"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/proc"
)

// Memory is this host's.
type Memory struct{}

// Available is what the kernel could give to anybody now without swapping, in bytes.
func (Memory) Available() (int64, error) {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0, fault.New(fault.Internal, "read what memory is available: %w", err)
	}
	return proc.Kibibytes(string(text), "MemAvailable"), nil
}
