package onhost

import (
	"testing"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
)

func TestALineOfAGuestHasItsMemoryWhereSomebodyLooked(t *testing.T) {
	sheet := compute.HostFigures{Guests: map[resource.ID]compute.Figures{"a": {CPUUsedMHz: 5}, "b": {}}}
	got := withMemory(sheet, map[resource.ID]MemoryFigures{"a": {Target: 90 * mib, Given: 100 * mib, Active: 50 * mib, Resident: 70 * mib, Swapped: 3 * mib, Shared: 2 * mib}, "gone": {}},
		func(resource.ID) int64 { return 128 })
	a := got.Guests["a"]
	if a.CPUUsedMHz != 5 || a.Memory == nil || *a.Memory != (compute.MemoryFigures{EntitledMiB: 90, ActiveMiB: 50, BalloonedMiB: 28, ResidentMiB: 70, SwappedMiB: 3, SharedMiB: 2}) {
		t.Errorf("%+v, %+v", a, a.Memory)
	}
	if len(got.Guests) != 2 || got.Guests["b"].Memory != nil {
		t.Errorf("%+v", got)
	}
}
