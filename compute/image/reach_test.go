package image

import (
	"net/netip"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
)

func TestReachRefusesWhatOnlyTheServerReaches(t *testing.T) {
	r := Reach{Own: func() []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("93.184.1.1"), netip.MustParseAddr("2a00::1")}
	},
		Allow: prefixes("10.9.0.0/16", "127.0.0.2/32")}
	for address, may := range map[string]struct{ tenant, operator bool }{
		"127.0.0.1": {}, "127.8.8.8": {}, "0.0.0.0": {}, "169.254.169.254": {}, "224.0.0.1": {}, "255.255.255.255": {}, "192.0.2.7": {false, true},
		"::": {}, "::1": {}, "::127.0.0.1": {}, "fe80::1%eth0": {}, "fec0::1": {}, "ff02::1": {}, "fd00:ec2::254": {},
		"::ffff:127.0.0.1": {}, "::ffff:169.254.169.254": {}, "64:ff9b::7f00:1": {}, "64:ff9b::a9fe:a9fe": {}, "2002:7f00:1::": {}, "64:ff9b:1::1": {},
		"10.0.0.1": {false, true}, "172.31.0.1": {false, true}, "192.168.99.1": {false, true}, "100.64.0.1": {false, true}, "fd12::1": {false, true},
		"::ffff:10.0.0.1": {false, true}, "64:ff9b::a00:1": {false, true}, "2002:a00:1::": {false, true},
		"93.184.1.1": {false, true}, "2a00::1": {false, true}, "64:ff9b::5db8:101": {false, true},
		"93.184.1.2": {true, true}, "2a00::2": {true, true}, "64:ff9b::808:808": {true, true},
		"10.9.1.1": {true, true}, "127.0.0.2": {true, true}, "::ffff:10.9.1.1": {true, true},
	} {
		for inside, want := range map[bool]bool{false: may.tenant, true: may.operator} {
			if err := r.Judge(netip.MustParseAddr(address), inside); (err == nil) != want || err != nil && !fault.Is(err, fault.Denied) {
				t.Errorf("%s, operator %v: %v, want allowed %v", address, inside, err, want)
			}
		}
	}
	if r.Judge(netip.Addr{}, true) == nil {
		t.Error("no address at all is allowed")
	}
}
