package network

import (
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
)

func subnetWith(resolvers ...string) *SubnetSpec {
	s := &SubnetSpec{CIDR: "10.0.0.0/24", DNS: resolvers}
	s.Default()
	return s
}

func TestSubnetRefusesWhatIsNoResolver(t *testing.T) {
	for text, want := range map[string]string{
		"dns.example": "no IP address", "fe80::1%eth0": "no IP address", "0.0.0.0": "no address of a resolver", "::": "no address of a resolver",
		"224.0.0.251": "no address of a resolver", "255.255.255.255": "no address of a resolver", "10.0.0.2": "ask itself",
	} {
		wrong := subnetWith(text).Check()
		if len(wrong) != 1 || wrong[0].Field != "spec.dns[0]" || !strings.Contains(wrong[0].Message, want) {
			t.Errorf("%s: %v, want %q", text, wrong, want)
		}
	}
	if wrong := subnetWith("192.0.2.9", "192.0.2.9").Check(); len(wrong) != 1 || wrong[0].Field != "spec.dns[1]" {
		t.Errorf("a resolver that is named twice: %v", wrong)
	}
	if wrong := subnetWith("192.0.2.9", "192.0.2.1", "2001:db8::53").Check(); len(wrong) != 0 {
		t.Errorf("good resolvers are refused: %v", wrong)
	}
}

func TestSubnetOfATenantAsksNoResolverOfTheHostsOwn(t *testing.T) {
	for _, text := range []string{"127.0.0.1", "127.0.53.9", "::1", "::ffff:127.0.0.1", "169.254.169.254", "fe80::1", OutsideGateway} {
		err := checkResolvers("create subnet s", subnetWith(text), false)
		if !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), "the hosts themselves") {
			t.Errorf("%s: %v", text, err)
		}
		if err := checkResolvers("create subnet s", subnetWith(text), true); err != nil {
			t.Errorf("%s, by an administrator of the cloud: %v", text, err)
		}
	}
	if err := checkResolvers("create subnet s", subnetWith("192.0.2.9", "10.1.2.3"), false); err != nil {
		t.Error(err)
	}
}
