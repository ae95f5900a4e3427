package placement

import (
	"fmt"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// cloud makes a state of hosts that are alike, with 8 vCPUs, 8192 MiB and a datastore each.
func cloud(hosts int) *State {
	s := newState()
	for i := range hosts {
		id := resource.ID(fmt.Sprintf("%05d", i+1))
		n := s.node(id)
		n.name, n.known, n.mode, n.life = fmt.Sprintf("h%d", i+1), true, host.Active, host.Alive
		n.machineType, n.version = "pc-q35-7.2", 702
		n.mhz, n.total = 2500, Demand{CPUs: 8, MemoryMiB: 8192, CPUReservationMHz: 20_000, MemoryReservationMiB: 8192}
		d, at := s.store("d" + id)
		d.name, d.known, d.ready, d.capacityMiB, d.freeMiB = "local-"+n.name, true, true, 100_000, 90_000
		s.node(id).stores = []int{at}
	}
	return s
}

func want(cpus, mib int64) *Request {
	return &Request{Name: "VM web", Demand: Demand{CPUs: cpus, MemoryMiB: mib}}
}

func chosen(t *testing.T, s *State, r *Request) Choice {
	t.Helper()
	c, err := s.Choose(r)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
