package network

import (
	"fmt"
	"net"
	"strings"
)

// ourMACs begin the hardware addresses that the virtual network gives its routers and services.
var ourMACs = []string{"02:76:", "02:64:"}

// ReadMAC reads a hardware address that a port can have, in any of the usual spellings
// (52:54:00:aa:00:01, 52-54-00-AA-00-01, 5254.00aa.0001), and writes it in the first. Why says
// what is wrong with it; empty: nothing.
func ReadMAC(text string) (mac, why string) {
	m, err := net.ParseMAC(strings.TrimSpace(text))
	if err != nil || len(m) != 6 {
		return text, fmt.Sprintf("%q is no hardware address like 52:54:00:12:34:56", text)
	}
	mac = m.String()
	switch {
	case m[0]&1 != 0:
		return mac, fmt.Sprintf("%s is the address of a group, not of one NIC; the second digit must be even", mac)
	case mac == "00:00:00:00:00:00":
		return mac, "00:00:00:00:00:00 is no NIC's address; leave it out to have one made"
	}
	for _, prefix := range ourMACs {
		if strings.HasPrefix(mac, prefix) {
			return mac, fmt.Sprintf("%s is in a range that routers and services of the cloud have their addresses from; choose one like 52:54:00:12:34:56", mac)
		}
	}
	return mac, ""
}
