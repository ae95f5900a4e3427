// Package ovs is the real virtual switch: Open vSwitch with OVN's ovn-controller.
//
// The daemons are ours, in our folders, unless the host already runs Open vSwitch with the
// kernel's datapath: then that one is used, and only ovn-controller is ours. In the user-space
// datapath (netdev) four things must be right, or nothing works or tenants are not apart:
//
//  1. Sender-side checksum offload is off on whatever the host itself sends into the switch by.
//  2. The address of the tunnels lies on a bridge of the switch (br-ul), which takes the NIC.
//  3. The host's own IP stack sees every frame of every tap too. An nft chain at the ingress of
//     each device drops them; the switch has its copy by then.
//  4. create tap, add port; delete port, delete tap. A tap that is made anew under a live port
//     looks well and forwards nothing: then the port is deleted and added, too.
//
// A tap is named vt and the last twelve digits of its port binding's id, and has the whole id as its
// alias, so that one that never became a port is found again.
package ovs
