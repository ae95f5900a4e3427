package compute

import (
	"cmp"
	"slices"
)

// OS is what a guest's system needs of its hardware.
type OS string

// The systems.
const (
	Linux   OS = "linux"
	FreeBSD OS = "freebsd"
	Windows OS = "windows" // its clock is local, and it has drivers for emulated devices alone at first
	OtherOS OS = "other"   // nothing is known of it: emulated devices
)

// Firmware is what a VM boots by.
type Firmware string

// The firmwares.
const (
	BIOS       Firmware = "bios"
	UEFI       Firmware = "uefi"
	UEFISecure Firmware = "uefi-secure" // boots only what Microsoft's keys have signed
)

// Watchdog says what follows when a guest does not feed its watchdog any more.
type Watchdog string

// The policies.
const (
	NoWatchdog    Watchdog = "none"  // it has no such device
	WatchdogReset Watchdog = "reset" // the guest boots anew, in place
	WatchdogCrash Watchdog = "crash" // the VM has crashed: its restart policy says what follows
)

// Hardware is what a guest finds beside processors, memory, disks and NICs. It holds from the next start on.
type Hardware struct {
	// OS is what the guest's system needs: linux, freebsd, windows (a local clock, what Hyper-V has; emulated
	// devices and secure boot where nothing else is said), other (emulated devices where nothing else is said).
	OS OS `json:"os" enum:"linux,freebsd,windows,other"`
	// Firmware is what the VM boots by: bios, uefi, uefi-secure.
	Firmware Firmware `json:"firmware" enum:"bios,uefi,uefi-secure"`
	// Watchdog is a device that the guest feeds, and what follows when it does not any more: none (no device),
	// reset (it boots anew), crash (as the restart policy says).
	Watchdog Watchdog `json:"watchdog" enum:"none,reset,crash"`
	// HugePages is the size of the host's huge pages that its memory lies in: 2MiB, 1GiB; empty: in none. They are the
	// VM's alone: nothing of its memory is taken or shared.
	HugePages HugePages `json:"hugePages,omitempty" enum:"2MiB,1GiB"`
}

// HugePages is a size of pages.
type HugePages string

// The sizes.
const (
	HugePages2MiB HugePages = "2MiB"
	HugePages1GiB HugePages = "1GiB"
)

// mib is the size in MiB; 0: no huge pages.
func (h HugePages) mib() int64 { return map[HugePages]int64{HugePages2MiB: 2, HugePages1GiB: 1024}[h] }

// checkHugePages judges memory that is to lie in huge pages.
func checkHugePages(s *VMSpec, wrong func(field, format string, args ...any)) {
	switch size := s.HugePages.mib(); {
	case s.HugePages == "":
	case size == 0:
		wrong("spec.hugePages", "%q is none of 2MiB, 1GiB", s.HugePages)
	case s.MemoryMiB%size != 0:
		wrong("spec.memoryMiB", "%d MiB are no whole pages of %s", s.MemoryMiB, s.HugePages)
	case s.MaxMemoryMiB != 0:
		wrong("spec.maxMemoryMiB", "memory in huge pages does not grow while the VM runs; leave one of both out")
	}
}

// fill fills in what was not said.
func (h *Hardware) fill() {
	h.OS, h.Watchdog = cmp.Or(h.OS, Linux), cmp.Or(h.Watchdog, NoWatchdog)
	h.Firmware = cmp.Or(h.Firmware, map[OS]Firmware{Windows: UEFISecure}[h.OS], BIOS)
}

// models are those of disks and NICs for which nothing was said.
func (h *Hardware) models() (disk, nic string) {
	switch h.OS {
	case Windows:
		return SATA, E1000e
	case OtherOS:
		return SATA, E1000
	}
	return VirtioBlk, VirtioNet
}

func (h *Hardware) check(wrong func(field, format string, args ...any)) {
	if !slices.Contains([]OS{Linux, FreeBSD, Windows, OtherOS}, h.OS) {
		wrong("spec.os", "%q is none of linux, freebsd, windows, other", h.OS)
	}
	if !slices.Contains([]Firmware{BIOS, UEFI, UEFISecure}, h.Firmware) {
		wrong("spec.firmware", "%q is none of bios, uefi, uefi-secure", h.Firmware)
	}
	if !slices.Contains([]Watchdog{NoWatchdog, WatchdogReset, WatchdogCrash}, h.Watchdog) {
		wrong("spec.watchdog", "%q is none of none, reset, crash", h.Watchdog)
	}
}

// checkBootOrder judges the order against the disks, all of which have names.
func checkBootOrder(s *VMSpec, wrong func(field, format string, args ...any)) {
	for i, name := range s.BootOrder {
		switch _, there := byName(s.Disks, name, diskName); {
		case !there:
			wrong("spec.bootOrder", "there is no disk %q", name)
		case slices.Index(s.BootOrder, name) < i:
			wrong("spec.bootOrder", "disk %q is there twice", name)
		}
	}
}

// bootIndex is the place of a disk among those that are booted from, from 1; 0: it is not.
func bootIndex(s *VMSpec, disk string) int64 {
	order := s.BootOrder
	if len(order) == 0 && len(s.Disks) > 0 {
		order = []string{s.Disks[0].Name}
	}
	return int64(slices.Index(order, disk) + 1)
}
