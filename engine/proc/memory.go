package proc

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Memory is what a process holds of the host's memory, in bytes.
type Memory struct {
	// Resident is in the host's memory, Swapped in its swap.
	Resident, Swapped int64
	// Shared is what of it the kernel has merged with pages of the same content.
	Shared int64
}

// MemoryOf reads it.
func MemoryOf(pid int) (Memory, error) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return Memory{}, err
	}
	m := Memory{Resident: Kibibytes(string(data), "VmRSS"), Swapped: Kibibytes(string(data), "VmSwap")}
	merged, err := os.ReadFile(fmt.Sprintf("/proc/%d/ksm_merging_pages", pid)) // not there before Linux 5.19
	if err == nil {
		pages, _ := strconv.ParseInt(strings.TrimSpace(string(merged)), 10, 64)
		m.Shared = pages * int64(os.Getpagesize())
	}
	return m, nil
}

// Kibibytes is the amount in a line like "VmRSS:  128 kB", in bytes; 0: there is no such line.
func Kibibytes(text, key string) int64 {
	for line := range strings.Lines(text) {
		if name, value, _ := strings.Cut(line, ":"); name == key {
			n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(value), "kB")), 10, 64)
			return n << 10
		}
	}
	return 0
}
