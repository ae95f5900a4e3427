package compute

import (
	"fmt"
	"strings"
	"testing"
)

func TestProfileOfADeviceIsJudgedByItsModel(t *testing.T) {
	for _, c := range []struct {
		profile     IOProfile
		model, able string
		wrong       string
	}{
		{DefaultIO, VirtioBlk, VirtioBlk, ""}, {DefaultIO, SATA, VirtioBlk, ""}, {Throughput, VirtioBlk, VirtioBlk, ""}, {Throughput, VirtioNet, VirtioNet, ""},
		{Throughput, NVMe, VirtioBlk, "throughput is for model virtio-blk; nvme has the default alone"},
		{Throughput, E1000, VirtioNet, "throughput is for model virtio-net; e1000 has the default alone"},
		{"fast", VirtioBlk, VirtioBlk, `"fast" is neither default nor throughput`}, {"", VirtioBlk, VirtioBlk, "neither"},
	} {
		got := ""
		c.profile.check("f", c.model, c.able, func(_, format string, args ...any) { got += fmt.Sprintf(format, args...) })
		if (got == "") != (c.wrong == "") || !strings.Contains(got, c.wrong) {
			t.Errorf("%s of %s: %q, and should say %q", c.profile, c.model, got, c.wrong)
		}
	}
}

// A device has the queues that it was given when its VM started, whatever its spec says since: both ends of a
// migration must have the same.
func TestQueuesOfADeviceStayWhileItsVMRuns(t *testing.T) {
	vm := &VM{Spec: VMSpec{CPUs: 4, Disks: []Disk{{Name: "a", IOProfile: Throughput}, {Name: "b", IOProfile: DefaultIO}}, NICs: []NIC{{Name: "n", IOProfile: Throughput}}}}
	vm.Status.Disks = []DiskStatus{{Name: "a", VolumeID: "a", Model: VirtioBlk}, {Name: "b", VolumeID: "b", Model: VirtioBlk}}
	vm.Status.NICs = []NICStatus{{Name: "n", PortID: "n", Model: VirtioNet}}
	queues := func(all []Device) (out string) {
		for _, d := range all {
			out += fmt.Sprintf("%s%d ", d.ID, d.Queues)
		}
		return strings.TrimSpace(out)
	}
	table, err := addressDevices(nil, wantedDevices(vm), 0)
	if err != nil || queues(table) != "a4 b0 n4" {
		t.Fatal(queues(table), err)
	}
	i := &Instance{Spec: InstanceSpec{RootPorts: 8}, Status: InstanceStatus{Phase: InstanceRunning, DevicesGeneration: 1}}
	for _, d := range table {
		if d.Kind == DiskDevice {
			i.Spec.Disks = append(i.Spec.Disks, InstanceDisk{VolumeID: d.ID, Model: d.Model, Bus: d.Bus, Slot: d.Slot, Queues: d.Queues})
		} else {
			i.Spec.NICs = append(i.Spec.NICs, InstanceNIC{PortID: d.ID, Model: d.Model, Bus: d.Bus, Slot: d.Slot, Queues: d.Queues})
		}
		i.Status.Devices = append(i.Status.Devices, InstanceDevice{Kind: d.Kind, ID: d.ID, State: DeviceAttached})
	}
	vm.Spec.CPUs = 2
	vm.Spec.Disks[0].IOProfile, vm.Spec.Disks[1].IOProfile = DefaultIO, Throughput
	change := planDeviceChange(deviceFacts{kept: table, wanted: wantedDevices(vm), instance: i, bound: table})
	if queues(change.table) != "a4 b0 n4" || queues(devicesOf(i)) != "a4 b0 n4" || len(change.add)+len(change.drop) != 0 {
		t.Errorf("while it runs: %s, instance %s, %+v", queues(change.table), queues(devicesOf(i)), change)
	}
	if next, err := addressDevices(table, wantedDevices(vm), 0); err != nil || queues(next) != "a0 b2 n2" {
		t.Errorf("at its next start: %s %v", queues(next), err)
	}
	for cpus, want := range map[int64]int64{1: 1, 8: 8, 64: 8} {
		if got := Throughput.queues(cpus); got != want || DefaultIO.queues(cpus) != 0 {
			t.Errorf("%d CPUs: %d queues", cpus, got)
		}
	}
}
