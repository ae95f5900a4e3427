package compute

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// devices reads "disk a 0, nic b 1": kind, id and slot of bus pcie; without a slot it has no address yet.
func devices(text string) []Device {
	var out []Device
	for _, part := range strings.Split(text, ", ") {
		var kind, id string
		slot := int64(-1)
		if n, _ := fmt.Sscan(part, &kind, &id, &slot); n < 2 {
			continue
		}
		d := Device{Kind: DeviceKind(kind), ID: resource.ID(id), Model: map[string]string{"disk": VirtioBlk, "nic": VirtioNet}[kind]}
		if slot >= 0 {
			d.Bus, d.Slot = PCIe, slot
		}
		out = append(out, d)
	}
	return out
}

func TestDeviceKeepsItsAddressWhateverElseComesAndGoes(t *testing.T) {
	for name, c := range map[string]struct{ kept, wanted, got string }{
		"a new VM":                               {"", "disk a, disk b, nic n", "disk a 0, disk b 1, nic n 2"},
		"nothing changes":                        {"disk a 0, nic n 1", "disk a, nic n", "disk a 0, nic n 1"},
		"another order":                          {"disk a 0, disk b 1, nic n 2", "disk b, disk a, nic n", "disk b 1, disk a 0, nic n 2"},
		"a disk between":                         {"disk a 0, nic n 1", "disk a, disk b, nic n", "disk a 0, disk b 2, nic n 1"},
		"the first NIC goes":                     {"disk a 0, nic m 1, nic n 2", "disk a, nic n", "disk a 0, nic n 2"},
		"the lowest free slot is taken":          {"disk a 0, nic n 2", "disk a, nic n, nic o, nic p", "disk a 0, nic n 2, nic o 1, nic p 3"},
		"a port and a volume with the same id":   {"disk a 0", "disk a, nic a", "disk a 0, nic a 1"},
		"all go":                                 {"disk a 0, nic n 2", "", ""},
		"two that were given one address part":   {"disk a 0, nic n 0", "disk a, nic n", "disk a 0, nic n 1"},
		"an address on a bus that is not theirs": {"disk a, nic n 1", "disk a, nic n", "disk a 0, nic n 1"},
	} {
		got, err := addressDevices(devices(c.kept), devices(c.wanted), 0)
		if err != nil || !slices.Equal(got, devices(c.got)) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}

func TestDeviceThatFindsNoSlotIsRefused(t *testing.T) {
	_, err := addressDevices(devices("disk a 0, nic n 1"), devices("disk a, nic n, disk b"), 2)
	if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "disk b: all 2 slots of bus pcie are taken") || !strings.Contains(err.Error(), "stopped and started") {
		t.Errorf("a VM that runs with two root ports: %v", err)
	}
	if got, err := addressDevices(devices("disk a 0, nic n 1"), devices("nic n, disk b"), 2); err != nil || !slices.Equal(got, devices("nic n 1, disk b 0")) {
		t.Errorf("the slot of one that went: %+v, %v", got, err)
	}
	if _, err := addressDevices(nil, []Device{{Kind: DiskDevice, ID: "a", Model: "floppy"}}, 0); !fault.Is(err, fault.Invalid) || !strings.Contains(err.Error(), `"floppy"`) {
		t.Errorf("a model that is not known: %v", err)
	}
}

func TestEachModelHasItsBus(t *testing.T) {
	all := []Device{
		{Kind: DiskDevice, ID: "a", Model: SATA}, {Kind: DiskDevice, ID: "b", Model: VirtioSCSI}, {Kind: DiskDevice, ID: "c", Model: NVMe}, {Kind: DiskDevice, ID: "d", Model: VirtioSCSI},
		{Kind: DiskDevice, ID: "e", Model: VirtioBlk}, {Kind: NICDevice, ID: "n", Model: E1000}, {Kind: NICDevice, ID: "o", Model: E1000e}, {Kind: NICDevice, ID: "p", Model: RTL8139}, {Kind: DiskDevice, ID: "f", Model: SATA},
	}
	got, err := addressDevices(nil, all, 0)
	var out []string
	for _, d := range got {
		out = append(out, fmt.Sprintf("%s %s%d", d.ID, d.Bus, d.Slot))
	}
	if text := strings.Join(out, ", "); err != nil || text != "a sata0, b scsi0, c pcie0, d scsi1, e pcie1, n pcie2, o pcie3, p pcie4, f sata1" {
		t.Fatalf("%s, %v", text, err)
	}
	if n := rootPorts(got); n != 16 { // only those of bus pcie count: five, and four to spare
		t.Errorf("%d root ports", n)
	}
	// A disk whose model was changed while it was detached goes to the bus of its model.
	all[0].Model = NVMe
	if got, err = addressDevices(got, all, 0); err != nil || got[0].Bus != PCIe || got[0].Slot != 5 || got[8].Slot != 1 {
		t.Errorf("%+v, %v", got, err)
	}
	var many []Device
	for i := range 7 {
		many = append(many, Device{Kind: DiskDevice, ID: resource.ID(fmt.Sprint(i)), Model: SATA})
	}
	if _, err := addressDevices(nil, many, 0); !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "all 6 slots of bus sata are taken; use another model") {
		t.Errorf("seven disks at six ports: %v", err)
	}
}

func TestRootPortsLeaveSomeToPlugInto(t *testing.T) {
	for highest, want := range map[int64]int64{-1: 8, 0: 8, 3: 8, 4: 16, 11: 16, 12: 24, 31: 40, 59: 64, 60: 64, 63: 64} {
		var all []Device
		if highest >= 0 {
			all = []Device{{Bus: PCIe, Slot: highest}}
		}
		if got := rootPorts(all); got != want {
			t.Errorf("with a device in slot %d there are %d root ports, not %d", highest, got, want)
		}
	}
}

// Whatever comes and goes, in whatever order: no two share an address, nobody who stays moves, and what is
// addressed once more stays as it is.
func TestAddressesAreStableAndNoneIsGivenTwice(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var kept []Device
		for range rapid.IntRange(1, 6).Draw(t, "rounds") {
			var wanted []Device
			for _, id := range rapid.SliceOfNDistinct(rapid.IntRange(0, 40), 0, 32, rapid.ID).Draw(t, "wanted") {
				d := Device{Kind: DiskDevice, ID: resource.ID(fmt.Sprint("v", id)), Model: VirtioBlk}
				if id > 30 {
					d = Device{Kind: NICDevice, ID: resource.ID(fmt.Sprint("p", id)), Model: VirtioNet}
				}
				wanted = append(wanted, d)
			}
			got, err := addressDevices(kept, wanted, 0)
			if err != nil {
				t.Fatal(err)
			}
			at := map[int64]bool{}
			for i, d := range got {
				if at[d.Slot] || d.Slot < 0 || d.Slot >= 32 || d.ID != wanted[i].ID {
					t.Fatalf("%+v of %+v", d, got)
				}
				at[d.Slot] = true
				for _, k := range kept {
					if k.ID == d.ID && k != d {
						t.Fatalf("%+v has moved to %+v", k, d)
					}
				}
			}
			if again, err := addressDevices(got, wanted, 0); err != nil || !reflect.DeepEqual(got, again) {
				t.Fatalf("%+v, then %+v, %v", got, again, err)
			}
			kept = got
		}
	})
}
