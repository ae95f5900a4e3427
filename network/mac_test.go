package network_test

import (
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network"
)

func TestReadMACTakesTheUsualSpellingsAndRefusesWhatNoNICCanHave(t *testing.T) {
	for text, want := range map[string]string{
		"52:54:00:aa:00:01": "52:54:00:aa:00:01", "52-54-00-AA-00-01": "52:54:00:aa:00:01", "5254.00aa.0001": "52:54:00:aa:00:01",
		" 02:00:00:00:00:01 ": "02:00:00:00:00:01",
	} {
		if got, why := network.ReadMAC(text); got != want || why != "" {
			t.Errorf("%q is read as %q, %q", text, got, why)
		}
	}
	for text, want := range map[string]string{
		"00:00:00:00:00:00": "no NIC's", "ff:ff:ff:ff:ff:ff": "group", "01:00:5e:00:00:01": "group", "33:33:00:00:00:01": "group",
		"52:54:00:00:01": "no hardware address", "52:54:00:00:01:0g": "no hardware address", "": "no hardware address",
		"02:00:5e:10:00:00:00:01": "no hardware address", network.OutsideGatewayMAC: "routers and services", network.ServiceMAC(resource.NewID()): "routers and services",
	} {
		if _, why := network.ReadMAC(text); !strings.Contains(why, want) {
			t.Errorf("%q: %q, want %q", text, why, want)
		}
	}
}
