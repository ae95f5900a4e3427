package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// SetMemoryLimit bounds the group's memory in bytes: where the kernel can swap nothing of it, it kills a process
// in it; 0 takes the bound away.
func (g *Groups) SetMemoryLimit(name string, limit int64) error {
	if g.version == V1 {
		return g.set(memory, name, "memory.limit_in_bytes", bytesOr(limit, "-1"))
	}
	return g.set(memory, name, "memory.max", bytesOr(limit, "max"))
}

// SetMemoryWall lets the kernel swap what the group holds beyond it, and slows down who grows; 0 takes it away.
// Version 1 has nothing like it but the limit, which must only be set where there is swap.
func (g *Groups) SetMemoryWall(name string, wall int64) error {
	if g.version == V1 {
		return g.SetMemoryLimit(name, wall)
	}
	return g.set(memory, name, "memory.high", bytesOr(wall, "max"))
}

// SetMemoryProtection keeps what is reserved from being taken, and part from being taken while other groups have
// more than theirs. Version 1 knows parts only, and takes from who has more first.
func (g *Groups) SetMemoryProtection(name string, reserved, part int64) error {
	if g.version == V1 {
		return g.set(memory, name, "memory.soft_limit_in_bytes", strconv.FormatInt(max(reserved, part), 10))
	}
	return errors.Join(
		g.set(memory, name, "memory.min", strconv.FormatInt(reserved, 10)),
		g.set(memory, name, "memory.low", strconv.FormatInt(max(reserved, part), 10)))
}

func bytesOr(n int64, none string) string {
	if n <= 0 {
		return none
	}
	return strconv.FormatInt(n, 10)
}

// SetKillOrder says whether the kernel kills the processes that are in the group now before others where memory
// is out: -1000 never, 1000 first. Those that they start inherit it.
func (g *Groups) SetKillOrder(name string, score int64) error {
	dir := g.path(cpu, name)
	if dir == "" {
		return nil
	}
	pids, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return fmt.Errorf("read who is in a control group: %w", err)
	}
	for _, pid := range strings.Fields(string(pids)) {
		err := os.WriteFile(filepath.Join("/proc", pid, "oom_score_adj"), []byte(strconv.FormatInt(score, 10)), 0o644)
		if err != nil && !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("say in which order processes are killed: %w", err)
		}
	}
	return nil
}
