package compute

import (
	"fmt"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// instanceWith is an instance with the devices of a text, of which its guest has others: "disk a attached".
func instanceWith(has, seen string, generation int64) *Instance {
	i := &Instance{}
	i.Generation, i.Spec.RootPorts = 7, 4
	i.Status.Phase, i.Status.DevicesGeneration = InstanceRunning, generation
	for _, d := range devices(has) {
		if d.Kind == DiskDevice {
			i.Spec.Disks = append(i.Spec.Disks, InstanceDisk{VolumeID: d.ID, Model: d.Model, Bus: d.Bus, Slot: d.Slot})
			continue
		}
		i.Spec.NICs = append(i.Spec.NICs, InstanceNIC{PortID: d.ID, Model: d.Model, Bus: d.Bus, Slot: d.Slot})
	}
	for _, part := range strings.Split(seen, ", ") {
		var d InstanceDevice
		if n, _ := fmt.Sscan(part, &d.Kind, &d.ID, &d.State); n == 3 {
			i.Status.Devices = append(i.Status.Devices, d)
		}
	}
	return i
}

func words(all []Device) string {
	var out []string
	for _, d := range all {
		out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s %d %s", d.Kind, d.ID, d.Slot, d.State)))
	}
	return strings.Join(out, ", ")
}

func TestDevicesOfAVMThatRunsAreChangedInSteps(t *testing.T) {
	const both = "disk a attached, nic n attached"
	for name, c := range map[string]struct {
		kept, wanted, has, seen, bound string
		generation                     int64
		table, add, drop, free         string
		problem                        string
	}{
		"nobody has looked yet": {"disk a 0, nic n 1", "disk a, disk b", "disk a 0, nic n 1", "", "disk a, nic n", 0,
			"disk a 0, nic n 1", "", "", "", ""},
		"all as wanted": {"disk a 0, nic n 1", "disk a, nic n", "disk a 0, nic n 1", both, "disk a, nic n", 7,
			"disk a 0 attached, nic n 1 attached", "", "", "", ""},
		"one comes": {"disk a 0, nic n 1", "disk a, disk b, nic n", "disk a 0, nic n 1", both, "disk a, nic n", 7,
			"disk a 0 attached, disk b 2 waiting, nic n 1 attached", "disk b 2", "", "", ""},
		"one is in the record, and the guest does not have it yet": {"disk a 0, disk b 2", "disk a, disk b", "disk a 0, disk b 2", "disk a attached, disk b attaching", "disk a, disk b", 7,
			"disk a 0 attached, disk b 2 waiting", "", "", "", ""},
		"one goes": {"disk a 0, nic n 1", "disk a", "disk a 0, nic n 1", both, "disk a, nic n", 7,
			"disk a 0 attached, nic n 1 detaching", "", "nic n 1", "", ""},
		"the guest has it still, and nobody gets its slot": {"disk a 0, nic n 1", "disk a, disk b", "disk a 0", "disk a attached, nic n detaching", "disk a, nic n", 7,
			"disk a 0 attached, disk b 2 waiting, nic n 1 detaching", "disk b 2", "", "", ""},
		"the guest has given it up": {"disk a 0, nic n 1", "disk a", "disk a 0", "disk a attached", "disk a, nic n", 7,
			"disk a 0 attached", "", "", "nic n 0", ""},
		"what was seen is older than the record": {"disk a 0, nic n 1", "disk a", "disk a 0", "disk a attached", "disk a, nic n", 6,
			"disk a 0 attached", "", "", "", ""},
		"it shall stay after all": {"disk a 0, nic n 1", "disk a, nic n", "disk a 0", "disk a attached, nic n detaching", "disk a, nic n", 7,
			"disk a 0 attached, nic n 1 waiting", "nic n 1", "", "", ""},
		"it was given up and shall come back": {"disk a 0, nic n 1", "disk a, nic n", "disk a 0", "disk a attached", "disk a, nic n", 7,
			"disk a 0 attached, nic n 1 waiting", "nic n 1", "", "", ""},
		"its volume is in other hands": {"disk a 0", "disk a, disk busy, disk b", "disk a 0", "disk a attached", "disk a", 7,
			"disk a 0 attached, disk busy 1 waiting, disk b 2 waiting", "disk b 2", "", "", "busy is held"},
		"there is no root port left": {"disk a 0, disk b 1, disk c 2, nic n 3", "disk a, disk b, disk c, nic n, disk d", "disk a 0, disk b 1, disk c 2, nic n 3", "disk a attached, disk b attached, disk c attached, nic n attached", "", 7,
			"disk a 0 attached, disk b 1 attached, disk c 2 attached, nic n 3 attached, disk d 0 waiting", "", "", "", "all 4 slots"},
		"two change places": {"disk a 0, nic n 1", "disk b, nic n", "disk a 0, nic n 1", both, "disk a, nic n", 7,
			"disk b 2 waiting, nic n 1 attached, disk a 0 detaching", "disk b 2", "disk a 0", "", ""},
	} {
		i := instanceWith(c.has, c.seen, c.generation)
		got := planDeviceChange(deviceFacts{kept: devices(c.kept), wanted: devices(c.wanted), instance: i, bound: devices(c.bound), busy: func(d Device) error {
			if d.ID == "busy" {
				return fault.New(fault.Unavailable, "busy is held")
			}
			return nil
		}})
		problem := ""
		if got.problem != nil {
			problem = got.problem.Error()
		}
		if words(got.table) != c.table || words(got.add) != c.add || words(got.drop) != c.drop || words(got.free) != c.free || !strings.Contains(problem, c.problem) || (c.problem == "") != (problem == "") {
			t.Errorf("%s:\n table %s\n add %s\n drop %s\n free %s\n problem %s", name, words(got.table), words(got.add), words(got.drop), words(got.free), problem)
		}
	}
}

func TestAGuestThatIsNotUpKeepsItsDevices(t *testing.T) {
	for _, phase := range []string{"", InstanceWaiting, InstanceStarting, InstanceIncoming, InstanceReceived, InstanceSending, InstanceSent, InstanceStopping, InstanceStopped, InstanceUnknown} {
		i := instanceWith("disk a 0", "disk a attached", 7)
		i.Status.Phase = phase
		got := planDeviceChange(deviceFacts{kept: devices("disk a 0"), wanted: devices("disk b"), instance: i})
		if words(got.table) != "disk a 0" || len(got.add)+len(got.drop)+len(got.free) != 0 {
			t.Errorf("in phase %q: %+v", phase, got)
		}
	}
}

func TestAVMIsNotMovedWhileADeviceComesOrGoes(t *testing.T) {
	for name, c := range map[string]struct{ wanted, has, seen, problem string }{
		"settled":                   {"disk a", "disk a 0", "disk a attached", ""},
		"one is wanted":             {"disk a, disk b", "disk a 0", "disk a attached", "disk b is being attached"},
		"one is on its way":         {"disk a, disk b", "disk a 0, disk b 1", "disk a attached, disk b attaching", "disk b is being attached"},
		"one is not wanted":         {"disk a", "disk a 0, disk b 1", "disk a attached, disk b attached", "disk b is being detached"},
		"the guest has it still":    {"disk a", "disk a 0", "disk a attached, disk b detaching", "disk b is being detached"},
		"it shall come, and leaves": {"disk a", "disk a 0", "disk a detaching", "disk a is being attached"},
	} {
		vm := &VM{}
		for _, d := range devices(c.wanted) {
			vm.Status.Disks = append(vm.Status.Disks, DiskStatus{VolumeID: d.ID, Model: d.Model})
		}
		err := unsettledDevices(vm, instanceWith(c.has, c.seen, 7))
		if (err == nil) != (c.problem == "") || err != nil && (!strings.Contains(err.Error(), c.problem) || !fault.Is(err, fault.Precondition)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := unsettledDevices(&VM{}, instanceWith("disk a 0", "", 0)); err != nil {
		t.Errorf("an agent that does not look: %v", err)
	}
}

func TestDevicesOfAStoppedVMKeepTheirAddresses(t *testing.T) {
	vm := &VM{Status: VMStatus{Disks: []DiskStatus{{VolumeID: resource.ID("a"), Model: VirtioBlk}}}}
	vm.Status.Devices = []Device{{Kind: DiskDevice, ID: "a", Slot: 3, State: DeviceAttached}, {Kind: NICDevice, ID: "n", Slot: 1, State: DeviceDetaching}}
	if got := words(stoppedDevices(vm)); got != "disk a 3" {
		t.Error(got)
	}
}
