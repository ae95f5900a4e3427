package probe

import (
	"os"
	"strconv"
	"strings"

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

const sharing = "/sys/kernel/mm/ksm/"

// Sharing says whether the kernel is looking for pages of the same content now, and how many bytes it keeps once for
// several; there is an error where it cannot.
func (Memory) Sharing() (on bool, bytes int64, err error) {
	run, err := os.ReadFile(sharing + "run")
	if err != nil {
		return false, 0, fault.New(fault.Precondition, "look for pages of the same content: %w", err)
	}
	kept, err := os.ReadFile(sharing + "pages_shared")
	if err != nil {
		return false, 0, fault.New(fault.Internal, "look for pages of the same content: %w", err)
	}
	pages, err := strconv.ParseInt(strings.TrimSpace(string(kept)), 10, 64)
	if err != nil {
		return false, 0, fault.New(fault.Internal, "look for pages of the same content: %w", err)
	}
	return strings.TrimSpace(string(run)) == "1", pages * int64(os.Getpagesize()), nil
}

// Share lets the kernel look for pages of the same content, or stop. What is kept once stays so until it is written.
func (Memory) Share(on bool) error {
	value := "0"
	if on {
		value = "1"
	}
	if err := os.WriteFile(sharing+"run", []byte(value), 0o644); err != nil {
		return fault.New(fault.Precondition, "share pages of the same content: %w", err)
	}
	return nil
}
