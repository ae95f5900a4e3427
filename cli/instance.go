package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/virga-cloud/virga/client"
)

func instances() *noun {
	return &noun{api: client.As[record](client.Instances), inner: true, group: groupVMs, sample: "0199-…", short: "QEMU processes that run VMs",
		long: "An instance is one QEMU process on one host. A VM has one, and two while it moves.", verbs: []string{"list", "show"},
		columns: []column{field("VM", at(&instanceOf.Spec.VMName)), state("State"), name("Host", "host", at(&instanceOf.Spec.HostID)), field("Desired", at(&instanceOf.Spec.Run)), field("Epoch", at(&instanceOf.Spec.Epoch)),
			field("Boot", at(&instanceOf.Spec.Boot)).wide(), field("PID", at(&instanceOf.Status.PID)).wide(), field("Accelerator", at(&instanceOf.Spec.Accelerator)).wide(),
			field("Ended", at(&instanceOf.Status.Exit)), field("How it ended", at(&instanceOf.Status.ExitMessage)).only(), computed("NUMA nodes", boundText).only(), field("Guest agent", at(&instanceOf.Status.GuestAgent)).only(), field("Balloon driver", at(&instanceOf.Status.BalloonDriver)).only(),
			field("Addresses told by the guest", at(&instanceOf.Status.GuestAddresses)).only(), trouble()}}
}

// boundText is a line for each memory node that the guest sees.
func boundText(_ *lookup, r *record) string {
	var out []string
	for i, p := range r.list(at(&instanceOf.Spec.NUMA)) {
		mib, _ := strconv.ParseInt(member(p, "memoryMiB"), 10, 64)
		where := "bound to node " + member(p, "node") + " of the host"
		if member(p, "node") == "-1" {
			where = "not bound"
		}
		out = append(out, fmt.Sprintf("%d: %s vCPUs, %s, %s", i, member(p, "cpus"), size(mib), where))
	}
	return strings.Join(out, "\n")
}

func claims() *noun {
	return &noun{api: client.As[record](client.Claims), inner: true, group: groupVMs, sample: "0199-…", short: "Capacity of hosts that is promised to VMs",
		long: "A claim says where a VM has its place, and why there.", verbs: []string{"list", "show"},
		columns: []column{name("VM", "vm", at(&claimOf.Spec.Workload.ID)), name("Host", "host", at(&claimOf.Spec.HostID)), field("CPUs", at(&claimOf.Spec.CPUs)), sized("Memory", at(&claimOf.Spec.MemoryMiB)),
			field("Epoch", at(&claimOf.Spec.Epoch)).wide(), field("Why", at(&claimOf.Spec.Why))}}
}
