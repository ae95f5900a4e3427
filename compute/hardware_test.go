package compute

import (
	"fmt"
	"strings"
	"testing"
)

func TestHardwareFollowsTheSystemWhereNothingElseIsSaid(t *testing.T) {
	for name, c := range map[string]struct {
		said VMSpec
		want string
	}{
		"nothing is said":       {VMSpec{}, "linux bios none virtio-blk virtio-net"},
		"windows":               {VMSpec{Hardware: Hardware{OS: Windows}}, "windows uefi-secure none sata e1000e"},
		"windows, all said":     {VMSpec{Hardware: Hardware{OS: Windows, Firmware: BIOS, Watchdog: WatchdogReset}, Disks: []Disk{{Model: NVMe}}, NICs: []NIC{{Model: VirtioNet}}}, "windows bios reset nvme virtio-net"},
		"freebsd":               {VMSpec{Hardware: Hardware{OS: FreeBSD}}, "freebsd bios none virtio-blk virtio-net"},
		"nobody knows":          {VMSpec{Hardware: Hardware{OS: OtherOS}}, "other bios none sata e1000"},
		"linux by its firmware": {VMSpec{Hardware: Hardware{Firmware: UEFI}}, "linux uefi none virtio-blk virtio-net"},
	} {
		s := c.said
		DefaultVM(&s)
		got := fmt.Sprintln(s.OS, s.Firmware, s.Watchdog, s.Disks[0].Model, s.NICs[0].Model)
		if strings.TrimSpace(got) != c.want {
			t.Errorf("%s: %s, and should be %s", name, got, c.want)
		}
		if wrong := CheckVM(&s); len(wrong) > 0 {
			t.Errorf("%s: %+v", name, wrong)
		}
	}
	s := VMSpec{Hardware: Hardware{OS: "dos", Firmware: "coreboot", Watchdog: "bark"}}
	DefaultVM(&s)
	if wrong := CheckVM(&s); len(wrong) != 3 {
		t.Errorf("%+v", wrong)
	}
}

func TestDisksAreBootedFromInTheirOrder(t *testing.T) {
	disks := []Disk{{Name: "a"}, {Name: "b"}, {Name: "c"}}
	for order, want := range map[string]string{
		"": "1 0 0", "a": "1 0 0", "c,a": "2 0 1", "b,c,a": "3 1 2", "gone": `0 0 0 there is no disk "gone"`, "a,a": `1 0 0 disk "a" is there twice`,
	} {
		s := VMSpec{Disks: disks}
		if order != "" {
			s.BootOrder = strings.Split(order, ",")
		}
		var got []string
		for _, d := range disks {
			got = append(got, fmt.Sprint(bootIndex(&s, d.Name)))
		}
		checkBootOrder(&s, func(_, format string, args ...any) { got = append(got, fmt.Sprintf(format, args...)) })
		if strings.Join(got, " ") != want {
			t.Errorf("order %q: %q, and should be %q", order, got, want)
		}
	}
	if bootIndex(&VMSpec{}, "a") != 0 {
		t.Error("a VM without disks boots from one")
	}
}
