package hypervisortest

import (
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// plugger gives the ability, and a guest that has booted.
func plugger(t *testing.T, h House) (onhost.Plugger, onhost.VMConfig) {
	t.Helper()
	p, can := h.HV.(onhost.Plugger)
	if !can {
		t.Skip("this hypervisor cannot attach devices")
	}
	m := running(t, h)
	h.Up(t, m.ID)
	return p, m
}

func stateOf(t *testing.T, p onhost.Plugger, id, volumeID resource.ID) onhost.Plugged {
	t.Helper()
	all, err := p.Plugged(t.Context(), id)
	must(t, err)
	for _, d := range all {
		if d.Kind == compute.DiskDevice && d.ID == volumeID {
			return d
		}
	}
	return onhost.Plugged{}
}

// untilGone unplugs until nothing is left of a disk.
func untilGone(t *testing.T, p onhost.Plugger, id, volumeID resource.ID) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		must(t, p.Detach(t.Context(), id, compute.DiskDevice, volumeID))
		if stateOf(t, p, id, volumeID).State == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the guest does not give up its disk: %+v", stateOf(t, p, id, volumeID))
		}
	}
}

func plugs(t *testing.T, h House) {
	p, m := plugger(t, h)
	first, disk := m.Disks[0].ID, h.Disk(t)
	for range 2 {
		must(t, p.AttachDisk(t.Context(), m.ID, disk))
		all, err := p.Plugged(t.Context(), m.ID)
		must(t, err)
		if len(all) != 2 || all[0].State != onhost.PluggedWhole || all[1].State != onhost.PluggedWhole {
			t.Fatalf("after a disk was plugged in: %+v", all)
		}
	}
	h.HV = h.Restart(t)
	p = h.HV.(onhost.Plugger)
	if a, b := stateOf(t, p, m.ID, first), stateOf(t, p, m.ID, disk.ID); a.State != onhost.PluggedWhole || b.State != onhost.PluggedWhole {
		t.Fatalf("another daemon sees %+v and %+v", a, b)
	}
	untilGone(t, p, m.ID, disk.ID)
	must(t, p.Detach(t.Context(), m.ID, compute.DiskDevice, disk.ID))
	must(t, p.Detach(t.Context(), m.ID, compute.NICDevice, resource.NewID()))
	must(t, p.AttachDisk(t.Context(), m.ID, disk)) // the slot is free, and so is the file
	if d := stateOf(t, p, m.ID, disk.ID); d.State != onhost.PluggedWhole {
		t.Fatalf("plugged in once more: %+v", d)
	}
	must(t, h.HV.Kill(t.Context(), m.ID))
	if err := p.AttachDisk(t.Context(), m.ID, disk); !fault.Is(err, fault.Precondition) {
		t.Fatalf("a guest that has ended: %v", err)
	}
}

// A guest that stands hears nothing: it has what it was asked for, and gives it up when it goes on.
func ignored(t *testing.T, h House) {
	p, m := plugger(t, h)
	disk := h.Disk(t)
	must(t, p.AttachDisk(t.Context(), m.ID, disk))
	must(t, h.HV.Pause(t.Context(), m.ID))
	must(t, p.Detach(t.Context(), m.ID, compute.DiskDevice, disk.ID))
	first := stateOf(t, p, m.ID, disk.ID)
	must(t, p.Detach(t.Context(), m.ID, compute.DiskDevice, disk.ID))
	second := stateOf(t, p, m.ID, disk.ID)
	if first.State != onhost.PluggedLeaving || first.Asks != 1 || first.AskedAt.IsZero() || second.Asks != 2 || !second.AskedAt.Equal(first.AskedAt) {
		t.Fatalf("asked once %+v, twice %+v", first, second)
	}
	h.HV = h.Restart(t)
	p = h.HV.(onhost.Plugger)
	if d := stateOf(t, p, m.ID, disk.ID); d.State == "" || d.State == onhost.PluggedHalf {
		t.Fatalf("a guest that stands has given up its disk: %+v", d)
	}
	must(t, h.HV.Resume(t.Context(), m.ID))
	untilGone(t, p, m.ID, disk.ID)
}

// The daemon dies in the middle: what is behind a disk is open, and the guest has no disk.
func halfPlugged(t *testing.T, h House) {
	p, m := plugger(t, h)
	for _, wanted := range []bool{true, false} {
		disk := h.Disk(t)
		h.HalfAttach(t, m.ID, disk)
		if d := stateOf(t, p, m.ID, disk.ID); d.State != onhost.PluggedHalf {
			t.Fatalf("half a disk is %+v", d)
		}
		if wanted {
			must(t, p.AttachDisk(t.Context(), m.ID, disk))
			if d := stateOf(t, p, m.ID, disk.ID); d.State != onhost.PluggedWhole {
				t.Fatalf("it was made whole: %+v", d)
			}
			untilGone(t, p, m.ID, disk.ID)
			continue
		}
		must(t, p.Detach(t.Context(), m.ID, compute.DiskDevice, disk.ID))
		if d := stateOf(t, p, m.ID, disk.ID); d.State != "" {
			t.Fatalf("it was closed: %+v", d)
		}
	}
}
