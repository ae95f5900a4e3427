// Package network gives every VM its place in a virtual network.
//
//	noun         spec written by   status written by    states
//	Network      API               network loop         pending, ready
//	Subnet       API               network loop         pending, ready
//	Port         API               network loop         pending, ready
//	PortBinding  compute           the host's agent     waiting, ready, closed
//	DNSZone      network loop      network loop         -
//	SecurityGroup  API             network loop         pending, ready
//
// A Port is a place with a MAC and an IP address, both claimed in the same commit that creates
// it, so that no address is ever in a network twice. A PortBinding is a port on a host: a tap on the
// virtual switch. While a VM moves its port has two port bindings, and the port is bound to both
// hosts. A DNSZone is the names of one network, for the resolvers on the hosts that need them.
//
// OVN over Open vSwitch carries the packets. The network loop is the only writer of OVN's
// northbound rows: it compiles all records to rows, compares with what is there by our ids, and
// sends the difference in one transaction (network/ovn). The host edge (taps, bridges, isolation
// of the host's own stack, DNS, metadata) is network/onhost.
package network
