package identity

import (
	"fmt"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
)

// Usage is what a project has, or is about to have more, in the units of Quota.
type Usage struct {
	VMs, CPUs, MemoryMiB, DiskMiB int64
}

// Check refuses what would exceed a quota, with the numbers. What does not grow is never refused:
// a project whose quota was lowered can still shrink.
func Check(q Quota, used, more Usage) error {
	var over []string
	for _, l := range []struct {
		what              string
		quota, used, more int64
	}{
		{"machines", q.VMs, used.VMs, more.VMs},
		{"virtual CPUs", q.CPUs, used.CPUs, more.CPUs},
		{"MiB of memory", q.MemoryMiB, used.MemoryMiB, more.MemoryMiB},
		{"MiB of disk", q.DiskMiB, used.DiskMiB, more.DiskMiB},
	} {
		if l.quota > 0 && l.more > 0 && l.used+l.more > l.quota {
			over = append(over, fmt.Sprintf("%d %s are used, %d more are wanted, the quota is %d", l.used, l.what, l.more, l.quota))
		}
	}
	if len(over) == 0 {
		return nil
	}
	return fault.New(fault.Exhausted, "the project's quota: %s; delete something or ask for a higher quota", strings.Join(over, "; "))
}
