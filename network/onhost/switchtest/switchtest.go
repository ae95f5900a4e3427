// Package switchtest is what every virtual switch must do, the fake and the real one.
package switchtest

import (
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network/onhost"
)

// Run checks a switch. The ports that it makes belong to no network: none needs to become ready.
func Run(t *testing.T, make func(*testing.T) onhost.Switch) {
	s := make(t)
	ctx := t.Context()
	if err := s.Setup(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() {
		for range 2 { // also of what is gone
			if err := s.Teardown(ctx); err != nil {
				t.Errorf("teardown: %v", err)
			}
		}
	}()
	t.Run("SetupIsRepeatable", func(t *testing.T) {
		if err := s.Setup(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Run("Ports", func(t *testing.T) { ports(t, s) })
	t.Run("Services", func(t *testing.T) { services(t, s) })
}

func ports(t *testing.T, s onhost.Switch) {
	ctx := t.Context()
	one := onhost.Port{PortBindingID: resource.NewID(), PortID: resource.NewID(), MTU: 1442}
	two := onhost.Port{PortBindingID: resource.NewID(), PortID: resource.NewID(), MTU: 1442}
	first, err := s.EnsurePort(ctx, one)
	if err != nil {
		t.Fatal(err)
	}
	if len(first.Device) == 0 || len(first.Device) > 15 {
		t.Errorf("%q is no name of a device", first.Device)
	}
	again, err := s.EnsurePort(ctx, one)
	if err != nil || again.Device != first.Device {
		t.Errorf("what was there was not adopted: %+v, %v", again, err)
	}
	if other, err := s.EnsurePort(ctx, two); err != nil || other.Device == first.Device {
		t.Errorf("two port bindings have one device: %+v, %v", other, err)
	}
	expect := func(want ...resource.ID) {
		t.Helper()
		got, err := s.ListPorts(ctx)
		if err != nil {
			t.Fatal(err)
		}
		there := map[resource.ID]bool{}
		for _, at := range got {
			there[at.PortBindingID] = true
		}
		for _, id := range want {
			if !there[id] {
				t.Errorf("port binding %s is not listed", id)
			}
		}
		if len(got) != len(want) {
			t.Errorf("%d ports are listed, not %d", len(got), len(want))
		}
	}
	expect(one.PortBindingID, two.PortBindingID)
	for range 2 { // absent is success
		if err := s.RemovePort(ctx, one.PortBindingID); err != nil {
			t.Error(err)
		}
	}
	expect(two.PortBindingID)
	if err := s.RemovePort(ctx, two.PortBindingID); err != nil {
		t.Error(err)
	}
	expect()
}

func services(t *testing.T, s onhost.Switch) {
	ctx := t.Context()
	want := onhost.Service{DNSZoneID: resource.NewID(), PortID: resource.NewID(), MAC: "02:76:00:00:00:01", Addresses: []string{"10.0.0.2/24", "169.254.169.254/32"}}
	place, err := s.EnsureService(ctx, want)
	if err != nil {
		t.Fatal(err)
	}
	want.Addresses = []string{"10.0.0.2/24", "10.0.1.2/24", "169.254.169.254/32"}
	again, err := s.EnsureService(ctx, want)
	if err != nil || again != place {
		t.Errorf("what was there was not adopted: %v", err)
	}
	if got, err := s.ListServices(ctx); err != nil || len(got) != 1 || got[0] != want.DNSZoneID {
		t.Errorf("listed are %v, %v", got, err)
	}
	for range 2 {
		if err := s.RemoveService(ctx, want.DNSZoneID); err != nil {
			t.Error(err)
		}
	}
	if got, err := s.ListServices(ctx); err != nil || len(got) != 0 {
		t.Errorf("listed are %v, %v", got, err)
	}
}
