package cli

import "github.com/virga-cloud/virga/client"

func instances() *noun {
	return &noun{api: client.As[record](client.Instances), inner: true, group: groupVMs, sample: "0199-…", short: "QEMU processes that run VMs",
		long: "An instance is one QEMU process on one host. A VM has one, and two while it moves.", verbs: []string{"list", "show"},
		columns: []column{field("VM", "spec.vmName"), state("State"), name("Host", "host", "spec.hostID"), field("Desired", "spec.run"), field("Epoch", "spec.epoch"),
			field("Boot", "spec.boot").wide(), field("PID", "status.pid").wide(), field("Accelerator", "spec.accelerator").wide(),
			field("Ended", "status.exit"), field("How it ended", "status.exitMessage").only(), field("Guest agent", "status.guestAgent").only(),
			field("Addresses told by the guest", "status.guestAddresses").only(), trouble()}}
}

func claims() *noun {
	return &noun{api: client.As[record](client.Claims), inner: true, group: groupVMs, sample: "0199-…", short: "Capacity of hosts that is promised to VMs",
		long: "A claim says where a VM has its place, and why there.", verbs: []string{"list", "show"},
		columns: []column{name("VM", "vm", "spec.vmID"), name("Host", "host", "spec.hostID"), field("CPUs", "spec.cpus"), sized("Memory", "spec.memoryMiB"),
			field("Epoch", "spec.epoch").wide(), field("Why", "spec.why")}}
}
