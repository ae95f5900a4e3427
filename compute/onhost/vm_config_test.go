package onhost

import (
	"reflect"
	"testing"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/host"
)

func TestPartsOfAnInstanceBecomeNodesWithTheThreadsOfTheirHosts(t *testing.T) {
	inventory := host.Inventory{NUMA: []host.NUMANode{
		{Node: 0, MemoryMiB: 512, CPUs: []int{0, 2}}, {Node: 1, MemoryMiB: 512, CPUs: []int{1, 3}}, {Node: 2, CPUs: []int{4}, Distances: []int{16, 12, 10}},
	}}
	for i, d := range [][]int{{10, 21, 16}, {21, 10, 12}} {
		inventory.NUMA[i].Distances = d
	}
	i := &compute.Instance{Spec: compute.InstanceSpec{CPUs: 3, MemoryMiB: 300, MachineType: "pc-q35-7.2", Accelerator: host.TCG, NUMA: []host.NUMAPart{
		{Node: 1, CPUs: 2, MemoryMiB: 200}, {Node: host.Unbound, CPUs: 1, MemoryMiB: 100},
	}}}
	vm, waits, err := Compile(i, Inputs{Inventory: inventory})
	if err != nil || len(waits) > 0 {
		t.Fatal(waits, err)
	}
	want := []NUMANode{{HostNode: 1, CPUs: 2, MemoryMiB: 200, Threads: []int{1, 3, 4}}, {HostNode: host.Unbound, CPUs: 1, MemoryMiB: 100}}
	if !reflect.DeepEqual(vm.NUMA, want) {
		t.Errorf("got %+v, want %+v", vm.NUMA, want)
	}
	i.Spec.NUMA = nil
	if vm, _, _ := Compile(i, Inputs{Inventory: inventory}); vm.NUMA != nil {
		t.Errorf("an instance that is not bound has %+v", vm.NUMA)
	}
}
