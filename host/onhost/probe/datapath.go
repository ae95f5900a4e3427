package probe

import (
	"github.com/vishvananda/netlink"

	"github.com/virga-cloud/virga/host"
)

// Datapath asks the kernel for Open vSwitch by name. A kernel that has it as a module may load it
// now, as it would for the switch daemon a moment later.
func Datapath() host.Datapath {
	if _, err := netlink.GenlFamilyGet("ovs_datapath"); err != nil {
		return host.NetdevDatapath
	}
	return host.SystemDatapath
}
