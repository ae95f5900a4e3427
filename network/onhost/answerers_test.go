package onhost_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/onhost"
)

// spot is a place that is only compared.
type spot struct{ name string }

func (spot) Listen(context.Context, string) (net.Listener, error)         { return nil, nil }
func (spot) ListenPacket(context.Context, string) (net.PacketConn, error) { return nil, nil }

// diary writes down what an answerer is told.
type diary struct{ said *[]string }

func (d diary) Take(onhost.DesiredState) { *d.said = append(*d.said, "take") }
func (d diary) Stop()                    { *d.said = append(*d.said, "stop") }

func TestADNSZoneHasOneAnswererInItsPlace(t *testing.T) {
	var all onhost.Answerers[diary]
	var said []string
	zone := &network.DNSZone{}
	zone.ID = resource.NewID()
	answer := func(place string, fails error) {
		t.Helper()
		err := all.Answer(spot{place}, onhost.DesiredState{DNSZone: zone}, func() (diary, error) {
			said = append(said, "start "+place)
			return diary{&said}, fails
		})
		if !errors.Is(err, fails) {
			t.Errorf("got %v, want %v", err, fails)
		}
	}
	full := errors.New("full")
	answer("a", full)
	answer("a", nil)
	answer("a", nil)
	answer("b", full) // the old place is gone: what answered there is stopped all the same
	answer("b", nil)
	all.Remove(zone.ID)
	all.Remove(zone.ID)
	answer("b", nil)
	all.Close()
	all.Close()
	want := []string{"start a", "start a", "take", "stop", "start b", "start b", "stop", "start b", "stop"}
	if !slices.Equal(said, want) {
		t.Errorf("got %q, want %q", said, want)
	}
}
