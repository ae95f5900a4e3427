package compute

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// rack is a VM that runs, its instance, what its guest really has, and what is held for it.
type rack struct {
	t        *rapid.T
	instance *Instance
	kept     []Device // the VM's table
	wanted   []Device
	guest    []Device // really there
	bound    []Device
	busy     map[resource.ID]bool // in other hands
	freed    []Device
}

func (r *rack) set(has []Device) {
	r.instance.Generation++
	r.instance.Spec.Disks, r.instance.Spec.NICs = nil, nil
	for _, d := range has {
		if d.Kind == DiskDevice {
			r.instance.Spec.Disks = append(r.instance.Spec.Disks, InstanceDisk{VolumeID: d.ID, Model: d.Model, Bus: d.Bus, Slot: d.Slot})
		} else {
			r.instance.Spec.NICs = append(r.instance.Spec.NICs, InstanceNIC{PortID: d.ID, Model: d.Model, Bus: d.Bus, Slot: d.Slot})
		}
	}
}

// controller plans and does it, as the VM loop does.
func (r *rack) controller() {
	c := planDeviceChange(deviceFacts{kept: r.kept, wanted: r.wanted, instance: r.instance, bound: r.bound, busy: func(d Device) error {
		if r.busy[d.ID] {
			return fault.New(fault.Unavailable, "%s is held", d.ID)
		}
		return nil
	}})
	for _, d := range c.free {
		if hasDevice(r.guest, d) || hasDevice(devicesOf(r.instance), d) {
			r.t.Fatalf("%s is let go, and the guest has %s", d.ID, words(r.guest))
		}
		if hasDevice(r.wanted, d) {
			r.t.Fatalf("%s is let go, and it is wanted", d.ID)
		}
		r.bound = slices.DeleteFunc(r.bound, d.is)
		r.freed = append(r.freed, d)
	}
	for _, d := range c.drop {
		if hasDevice(r.wanted, d) {
			r.t.Fatalf("%s is taken away, and it is wanted", d.ID)
		}
	}
	if len(c.add)+len(c.drop) > 0 {
		r.set(append(slices.DeleteFunc(devicesOf(r.instance), func(d Device) bool { return hasDevice(c.drop, d) }), c.add...))
	}
	for _, d := range c.add {
		if !hasDevice(r.bound, d) {
			r.bound = append(r.bound, d)
		}
	}
	for _, d := range r.wanted {
		if !hasDevice(c.table, d) {
			r.t.Fatalf("%s is wanted, and the table is %s", d.ID, words(c.table))
		}
	}
	if (c.problem != nil) != slices.ContainsFunc(r.wanted, func(d Device) bool { return !hasDevice(devicesOf(r.instance), d) }) {
		r.t.Fatalf("the problem is %v; wanted are %s, the instance has %s", c.problem, words(r.wanted), words(devicesOf(r.instance)))
	}
	r.kept = c.table
}

// agent gives the guest what is new, and reports. A guest that clings keeps what it is asked for.
func (r *rack) agent(clings bool) {
	has := devicesOf(r.instance)
	r.guest = slices.DeleteFunc(r.guest, func(d Device) bool { return !clings && !hasDevice(has, d) })
	for _, d := range has {
		if !hasDevice(r.guest, d) {
			r.guest = append(r.guest, d)
		}
	}
	slots := map[int64]resource.ID{}
	r.instance.Status.Devices, r.instance.Status.DevicesGeneration = nil, r.instance.Generation
	for _, d := range r.guest {
		if other := slots[d.Slot]; other != "" {
			r.t.Fatalf("%s and %s are both in slot %d: %s", other, d.ID, d.Slot, words(r.guest))
		}
		slots[d.Slot] = d.ID
		state := DeviceAttached
		switch at := slices.IndexFunc(has, d.is); {
		case at < 0:
			state = DeviceDetaching
		case has[at].Slot != d.Slot:
			r.t.Fatalf("%s is in slot %d, and the record says %d", d.ID, d.Slot, has[at].Slot)
		}
		r.instance.Status.Devices = append(r.instance.Status.Devices, InstanceDevice{Kind: d.Kind, ID: d.ID, State: state})
	}
}

// Whatever is asked for, in whatever order the loop and the agent act and whatever a guest clings to: no two
// devices share a slot, nobody is given what a guest still has, and in the end it has what is wanted.
func TestDevicesThatComeAndGoEndAsWanted(t *testing.T) {
	all := devices("disk a, disk b, disk c, nic m, nic n")
	rapid.Check(t, func(t *rapid.T) {
		r := &rack{t: t, instance: &Instance{}, busy: map[resource.ID]bool{}}
		r.instance.Generation, r.instance.Spec.RootPorts, r.instance.Status.Phase = 1, int64(len(all))+1, InstanceRunning
		r.agent(false)
		want := func() {
			r.wanted = nil
			for _, d := range all {
				if rapid.Bool().Draw(t, "wants "+string(d.ID)) {
					r.wanted = append(r.wanted, d)
				}
			}
		}
		for range rapid.IntRange(1, 20).Draw(t, "events") {
			switch rapid.IntRange(0, 5).Draw(t, "event") {
			case 0:
				want()
			case 1:
				r.agent(false)
			case 2:
				r.agent(true)
			case 3:
				id := rapid.SampledFrom(all).Draw(t, "busy").ID
				r.busy[id] = !r.busy[id]
			default:
				r.controller()
			}
		}
		r.busy = nil
		for range 4 {
			r.controller()
			r.agent(false)
		}
		r.controller()
		if len(r.guest) != len(r.wanted) || len(r.bound) != len(r.wanted) || len(r.kept) != len(r.wanted) {
			t.Fatalf("wanted are %s; the guest has %s, held are %s, the table is %s", words(r.wanted), words(r.guest), words(r.bound), words(r.kept))
		}
		for _, d := range r.kept {
			if d.State != DeviceAttached || !hasDevice(r.wanted, d) || !hasDevice(r.guest, d) || !hasDevice(r.bound, d) {
				t.Fatalf("%s is %s: wanted are %s; the guest has %s", d.ID, d.State, words(r.wanted), words(r.guest))
			}
		}
	})
}
