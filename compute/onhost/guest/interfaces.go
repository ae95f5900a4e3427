package guest

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"unicode"
)

// What is kept of a reply at most; a guest that has more is shown in part.
const (
	maxInterfaces  = 64
	maxAddresses   = 64 // of all interfaces together
	maxText        = 120
	maxFileSystems = 1 << 16
)

// Interface is a network interface inside the VM, as far as what the guest tells of it is sound.
type Interface struct {
	// Name holds nothing that a terminal would obey.
	Name string
	// MAC is canonical; empty: it has none, or none that is one.
	MAC string
	// Addresses are canonical and without a zone.
	Addresses []netip.Addr
}

// Interfaces asks for the network interfaces.
func (c *Client) Interfaces(ctx context.Context) ([]Interface, error) {
	var told []told
	if err := c.Do(ctx, "guest-network-get-interfaces", nil, &told); err != nil {
		return nil, err
	}
	return judge(told), nil
}

// told is an interface in the guest's own words.
type told struct {
	Name      string `json:"name"`
	MAC       string `json:"hardware-address"`
	Addresses []struct {
		IP string `json:"ip-address"`
	} `json:"ip-addresses"`
}

// judge keeps what is sound: each address once, and none that means every host or many.
func judge(all []told) []Interface {
	var out []Interface
	seen := map[netip.Addr]bool{}
	for _, t := range all[:min(len(all), maxInterfaces)] {
		i := Interface{Name: Text(t.Name)}
		if mac, err := net.ParseMAC(t.MAC); err == nil && len(mac) == 6 {
			i.MAC = mac.String()
		}
		for _, a := range t.Addresses {
			ip, err := netip.ParseAddr(a.IP)
			ip = ip.WithZone("").Unmap()
			if err != nil || seen[ip] || ip.IsUnspecified() || ip.IsMulticast() || len(seen) == maxAddresses {
				continue
			}
			seen[ip] = true
			i.Addresses = append(i.Addresses, ip)
		}
		out = append(out, i)
	}
	return out
}

// Text makes a guest's words fit to be shown: one line of what can be seen, and not long.
func Text(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == unicode.ReplacementChar || !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s[:min(len(s), 4*maxText)])
	if runes := []rune(s); len(runes) > maxText {
		return string(runes[:maxText]) + "..."
	}
	return s
}
