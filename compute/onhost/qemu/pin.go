package qemu

import (
	"context"
	"errors"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
)

// threadsOf are, for each virtual CPU, the threads of the host that it may run on; nil: nobody is pinned.
func threadsOf(m onhost.VMConfig) (out [][]int) {
	pinned := false
	for _, n := range m.NUMA {
		for range n.CPUs {
			out = append(out, n.Threads)
		}
		pinned = pinned || len(n.Threads) > 0
	}
	if !pinned {
		return nil
	}
	for int64(len(out)) < m.MaxCPUs { // those to come are of the last node
		out = append(out, m.NUMA[len(m.NUMA)-1].Threads)
	}
	return out
}

// pin keeps each virtual CPU on the threads that are near to its memory. What QEMU does beside them (disks,
// network) may run anywhere: it is woken by devices, and moves little memory.
func (g *guest) pin(ctx context.Context) error {
	if len(g.saved.Threads) == 0 {
		return nil
	}
	var cpus []struct {
		Index  int `json:"cpu-index"`
		Thread int `json:"thread-id"`
	}
	if err := g.do(ctx, "query-cpus-fast", nil, &cpus); err != nil {
		return err
	}
	for _, c := range cpus {
		if c.Index >= len(g.saved.Threads) || len(g.saved.Threads[c.Index]) == 0 {
			continue
		}
		var set unix.CPUSet
		for _, thread := range g.saved.Threads[c.Index] {
			set.Set(thread)
		}
		if err := unix.SchedSetaffinity(c.Thread, &set); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fault.New(fault.Precondition, "keep vCPU %d of instance %s on its memory node (threads %v of the host): %w",
				c.Index, g.id, g.saved.Threads[c.Index], err)
		}
	}
	return nil
}
