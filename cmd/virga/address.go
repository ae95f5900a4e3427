package main

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/network/onhost/ovs"
)

// ownAddress is the address of this host that others are likely to reach: the first that is
// global and not a container's or a bridge of the switch; loopback on a host without any.
func ownAddress() string {
	nics, err := net.Interfaces()
	if err != nil {
		return "127.0.0.1"
	}
	for _, nic := range nics {
		if nic.Flags&net.FlagUp == 0 || nic.Flags&net.FlagLoopback != 0 || strings.HasPrefix(nic.Name, "br-") && nic.Name != ovs.Underlay || strings.HasPrefix(nic.Name, "docker") {
			continue
		}
		addresses, _ := nic.Addrs()
		for _, a := range addresses {
			if ip, ok := a.(*net.IPNet); ok && ip.IP.To4() != nil && ip.IP.IsGlobalUnicast() {
				return ip.IP.String()
			}
		}
	}
	return "127.0.0.1"
}

// ownAddresses are all addresses of this host, in order: those that its own services answer on.
func ownAddresses() []string {
	var out []string
	addresses, _ := net.InterfaceAddrs()
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.IsGlobalUnicast() {
			out = append(out, ip.IP.String())
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// isHere reports whether this host has an address; what cannot be looked up is believed.
func isHere(address string) bool {
	wanted := net.ParseIP(address)
	addresses, err := net.InterfaceAddrs()
	if err != nil || wanted == nil || wanted.IsLoopback() {
		return true
	}
	for _, a := range addresses {
		if ip, ok := a.(*net.IPNet); ok && ip.IP.Equal(wanted) {
			return true
		}
	}
	return false
}

// here says what to do when the address that the others reach this host by has gone.
func (c *config) here() error {
	if isHere(c.Address) {
		return nil
	}
	return fault.New(fault.Precondition, "the others reach this host by %s, and this host does not have that address any more; give it back, or take the one it has: virga down, then virga up --address %s",
		c.Address, ownAddress())
}

// follow takes the address that the host has now in the place of one that has gone, if nobody
// chose that; it says so.
func (c *config) follow() (said string) {
	if c.AddressBy != addressFound || isHere(c.Address) {
		return ""
	}
	old := c.Address
	c.Address = ownAddress()
	return fmt.Sprintf("This host's address is now %s; it was %s, which this host does not have any more.\n", c.Address, old)
}

// Who chose the address of a host.
const (
	addressFound = "found" // we, among those of the host
	addressTold  = "told"  // the operator, by --address
)
