package ovs

import (
	"encoding/json"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
)

// decipher reads what it can of a file that is damaged, or of the form that the first builds wrote:
// the name of the NIC and its IPv4 addresses. The host must never stay without its address.
func (s *Switch) decipher(data []byte) (*taken, error) {
	var old struct {
		NIC       string `json:"nic"`
		Device    string `json:"device"`
		Addresses []any  `json:"addresses"`
	}
	_ = json.Unmarshal(data, &old)                                                                        // as far as it goes
	t := &taken{Boot: boot(), Settings: map[string]string{quiet: "0"}, Checksums: true, deciphered: true} // as NICs are
	for _, name := range []string{old.NIC, old.Device, s.config.Uplink} {
		if t.NIC == "" {
			t.NIC = name
		}
	}
	nic, err := findLink(t.NIC)
	if t.NIC == "" || err != nil || nic == nil {
		return nil, fault.New(fault.Precondition, "read what the uplink had: file %s is damaged and names no NIC of this host; give the NIC its addresses and routes, then remove that file", s.takenFile())
	}
	t.Index = nic.Attrs().Index
	now := uptime()
	for _, text := range old.Addresses {
		if text, ok := text.(string); ok {
			if p, err := netip.ParsePrefix(text); err == nil && p.Addr().Is4() {
				t.Addresses = append(t.Addresses, timed{addressSaid(p), now})
			}
		}
	}
	return t, nil
}

// complete adds what the bridge has to what was deciphered, the routes among it, and writes it down as
// it should be.
func (s *Switch) complete(t *taken) error {
	if !t.deciphered {
		return nil
	}
	bridge, err := findLink(Underlay)
	if err != nil {
		return err
	}
	if bridge != nil {
		there, err := look(bridge.Attrs().Index, true)
		if err != nil {
			return err
		}
		for n, a := range there.Addresses {
			there.Addresses[n].Said = a.Said.unlabelled() // the label is the bridge's name
		}
		t.merge(there)
	}
	if len(t.Addresses) == 0 {
		return nil // nothing is known; who restores says so
	}
	t.deciphered = false
	return s.write(t)
}

// addressSaid is an address in the kernel's words.
func addressSaid(p netip.Prefix) said {
	head := nl.NewIfAddrmsg(unix.AF_INET)
	head.Prefixlen = uint8(p.Bits())
	out := said(head.Serialize())
	for _, kind := range []int{unix.IFA_ADDRESS, unix.IFA_LOCAL} {
		out = append(out, nl.NewRtAttr(kind, p.Addr().AsSlice()).Serialize()...)
	}
	return out
}
