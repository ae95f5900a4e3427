package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// MaxWeight is the largest weight of a group among its siblings, and 1 the smallest.
const MaxWeight = 10_000

// cpuPeriod is the time in which a group may use its limit; the kernel's own choice.
const cpuPeriod = 100 * time.Millisecond

// shortest is the least that the kernel takes for a period.
const shortest = time.Millisecond

// SetCPUWeight gives the group its part of the processors where they are short, among its siblings: 1 to
// MaxWeight, only the ratio counts. Version 1 takes ten times the number, which keeps the ratios.
func (g *Groups) SetCPUWeight(name string, weight int64) error {
	weight = min(max(weight, 1), MaxWeight)
	switch g.version {
	case V1:
		return g.set(cpu, name, "cpu.shares", strconv.FormatInt(10*weight, 10))
	case V2:
		return g.set(cpu, name, "cpu.weight", strconv.FormatInt(weight, 10))
	}
	return nil
}

// SetCPULimit bounds the processor time that the group may use in a second, two seconds for two whole
// processors; 0 takes the bound away. Version 1 refuses one that is above the bound of a group around it,
// or below that of a group in it.
func (g *Groups) SetCPULimit(name string, perSecond time.Duration) error {
	quota := max(perSecond/time.Duration(time.Second/cpuPeriod), shortest).Microseconds()
	switch {
	case g.version == V1 && perSecond <= 0:
		return g.set(cpu, name, "cpu.cfs_quota_us", "-1")
	case g.version == V1:
		return g.set(cpu, name, "cpu.cfs_quota_us", strconv.FormatInt(quota, 10))
	case g.version == V2 && perSecond <= 0:
		return g.set(cpu, name, "cpu.max", fmt.Sprintf("max %d", cpuPeriod.Microseconds()))
	case g.version == V2:
		return g.set(cpu, name, "cpu.max", fmt.Sprintf("%d %d", quota, cpuPeriod.Microseconds()))
	}
	return nil
}

// CPUTime is the processor time that the group has used since it was made.
func (g *Groups) CPUTime(name string) (time.Duration, error) {
	switch g.version {
	case V1:
		if g.dirs[cpuacct] == "" {
			return 0, fmt.Errorf("read the processor time of a control group: the cpuacct controller is not mounted")
		}
		n, err := number(filepath.Join(g.path(cpuacct, name), "cpuacct.usage"), "")
		return time.Duration(n), err
	case V2:
		n, err := number(filepath.Join(g.path(cpu, name), "cpu.stat"), "usage_usec")
		return time.Duration(n) * time.Microsecond, err
	}
	return 0, nil
}

// CPUWait is how long the threads that are in the group now have waited for a processor since they began,
// where the kernel counts that: the second number of /proc/PID/task/TID/schedstat, in nanoseconds. A thread
// that ends takes its own with it.
func (g *Groups) CPUWait(name string) (sum time.Duration) {
	pids, err := os.ReadFile(filepath.Join(g.path(cpu, name), "cgroup.procs"))
	if err != nil {
		return 0
	}
	for _, pid := range strings.Fields(string(pids)) {
		threads, _ := filepath.Glob(filepath.Join("/proc", pid, "task", "*", "schedstat"))
		for _, file := range threads {
			data, err := os.ReadFile(file)
			if words := strings.Fields(string(data)); err == nil && len(words) > 1 {
				n, _ := strconv.ParseInt(words[1], 10, 64)
				sum += time.Duration(n)
			}
		}
	}
	return sum
}

// tick is the unit of /proc/stat, which is fixed in the kernel's interface.
const tick = 10 * time.Millisecond

// Idle is how long the processors of this host were idle, and how long they were there, since it started.
func (g *Groups) Idle() (idle, all time.Duration, err error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, fmt.Errorf("read what the processors do: %w", err)
	}
	line, _, _ := strings.Cut(string(data), "\n")
	for i, word := range strings.Fields(line) {
		n, _ := strconv.ParseInt(word, 10, 64) // the first is the word cpu
		if i > 8 {
			break // the time of guests is in that of users already
		}
		all += time.Duration(n) * tick
		if i == 4 || i == 5 { // idle, and idle while something is read
			idle += time.Duration(n) * tick
		}
	}
	return idle, all, nil
}

// set writes a file of a group; where the controller is not there it does nothing.
func (g *Groups) set(controller, name, file, value string) error {
	dir := g.path(controller, name)
	if dir == "" {
		return nil
	}
	return write(filepath.Join(dir, file), value)
}

// number reads a file that is one number, or, with a key, the number behind that word.
func number(file, key string) (int64, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0, fmt.Errorf("read a control group: %w", err)
	}
	words := strings.Fields(string(data))
	for i, word := range words {
		if key == "" {
			return strconv.ParseInt(word, 10, 64)
		}
		if word == key && i+1 < len(words) {
			return strconv.ParseInt(words[i+1], 10, 64)
		}
	}
	return 0, fmt.Errorf("read a control group: %s says nothing of %q", file, key)
}
