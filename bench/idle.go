package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	settle = 15 * time.Second // after a change, before what is idle is looked at
	look   = 20 * time.Second
)

// idle measures a daemon that has nothing to do, and what records alone cost it.
func idle(p *Part) {
	c := newCloud(p, 1)
	time.Sleep(settle)
	none := c.rest()
	p.Add(Figure{What: "daemon, 0 VMs: anonymous memory", Unit: "MiB", Ours: Summarize(none.memoryKiB / 1024)})
	p.Add(Figure{What: "daemon, 0 VMs: processor", Unit: "% of one", Ours: Summarize(none.percent)})
	const vms = 500
	c.fill(vms)
	time.Sleep(2 * settle)
	some := c.rest()
	per := (some.memoryKiB - none.memoryKiB) / vms
	p.Add(Figure{What: "each further stopped VM: daemon's memory", Unit: "KiB", Ours: Summarize(per), Note: fmt.Sprintf("of %d", vms)})
	p.Add(Figure{What: fmt.Sprintf("daemon, %d stopped VMs: processor", vms), Unit: "% of one", Ours: Summarize(some.percent)})
}

// rest is a daemon that is looked at for a while.
type rest struct{ memoryKiB, percent float64 }

func (c *cloud) rest() rest {
	pid := c.first.PID()
	before, begun := processorTime(pid), time.Now()
	time.Sleep(look)
	used := processorTime(pid) - before
	return rest{
		memoryKiB: float64(kibibytes(fmt.Sprintf("/proc/%d/smaps_rollup", pid), "Anonymous")),
		percent:   100 * used.Seconds() / time.Since(begun).Seconds(),
	}
}

// processorTime is what all threads of a process have used.
func processorTime(pid int) time.Duration {
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	var sum time.Duration
	for _, path := range threads {
		data, err := os.ReadFile(path)
		if err != nil {
			continue // it ended meanwhile
		}
		ns, _, _ := strings.Cut(string(data), " ")
		n, _ := strconv.ParseInt(ns, 10, 64)
		sum += time.Duration(n)
	}
	return sum
}
