// Package hypervisortest is what every onhost.Hypervisor must pass, the fake and the real ones.
package hypervisortest

import (
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// House is a host to test on.
type House struct {
	HV onhost.Hypervisor
	// VM makes a VM with an id of its own.
	VM func(*testing.T) onhost.VMConfig
	// PowerOff lets a running guest power itself off. Crash ends its QEMU.
	PowerOff, Crash func(*testing.T, resource.ID)
	// DiskMiB is the size that the first disk of a guest has; nil: its VMs have none.
	DiskMiB func(*testing.T, onhost.VMConfig) int64
	// Disk makes a disk to be plugged in, at an address that is free.
	Disk func(*testing.T) onhost.Disk
	// Up returns when a guest has booted far enough to give devices up.
	Up func(*testing.T, resource.ID)
	// HalfAttach does the first half of plugging a disk in.
	HalfAttach func(*testing.T, resource.ID, onhost.Disk)
	// Restart is the daemon's restart: another hypervisor on the same guests.
	Restart func(*testing.T) onhost.Hypervisor
}

const patience = 30 * time.Second

// Run runs the suite; make gives a fresh house each time.
func Run(t *testing.T, make func(*testing.T) House) {
	for name, test := range map[string]func(*testing.T, House){
		"AGuestStandsUntilItIsLetRun":                 stands,
		"StartingTwiceIsStartingOnce":                 twice,
		"ALowerEpochIsRefusedAndAHigherOneKept":       epochs,
		"AnEndedGuestIsNotStartedAgain":               ended,
		"AGuestThatPowersItselfOffIsNotForced":        poweredOff,
		"AGuestWhoseQEMUDiesHasCrashed":               crashed,
		"ARestartedDaemonFindsWhatRuns":               restarted,
		"WhatIsAbsentIsRemovedWithSuccess":            absent,
		"AnAskedGuestKeepsTheTimeOfTheFirstQuestion":  asked,
		"AListIsCompleteAndForgetsOnlyWhatWasRemoved": listed,
		"ADiskGrowsUnderItsGuestAndNeverShrinks":      grows,
		"ADiskIsPluggedInOnceAndUnplugged":            plugs,
		"AGuestMayIgnoreThatItIsAskedForADisk":        ignored,
		"WhatIsPluggedInByHalfIsMadeWholeOrClosed":    halfPlugged,
		"ABalloonTakesMemoryAndGivesItBack":           balloons,
		"AGuestIsGivenMemoryWhileItRuns":              growsMemory,
	} {
		t.Run(name, func(t *testing.T) { test(t, make(t)) })
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func look(t *testing.T, hv onhost.Hypervisor, id resource.ID) onhost.Guest {
	t.Helper()
	g, err := hv.Look(t.Context(), id)
	must(t, err)
	return g
}

func await(t *testing.T, hv onhost.Hypervisor, id resource.ID, wanted onhost.State) onhost.Guest {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		g := look(t, hv, id)
		if g.State == wanted {
			return g
		}
		if time.Now().After(end) {
			t.Fatalf("the guest is %q (%s %s), and should become %q", g.State, g.Exit, g.ExitMessage, wanted)
		}
	}
}

// running starts a guest and lets it run.
func running(t *testing.T, h House) onhost.VMConfig {
	t.Helper()
	m := h.VM(t)
	must(t, h.HV.Ensure(t.Context(), m))
	must(t, h.HV.Resume(t.Context(), m.ID))
	await(t, h.HV, m.ID, onhost.Running)
	return m
}

func stands(t *testing.T, h House) {
	m := h.VM(t)
	must(t, h.HV.Ensure(t.Context(), m))
	g := look(t, h.HV, m.ID)
	if g.State != onhost.Paused || g.PID == 0 || g.StartedAt.IsZero() || g.Epoch != m.Epoch {
		t.Fatalf("a guest that was just started: %+v", g)
	}
	for range 2 {
		must(t, h.HV.Resume(t.Context(), m.ID))
		await(t, h.HV, m.ID, onhost.Running)
	}
	for range 2 {
		must(t, h.HV.Pause(t.Context(), m.ID))
		await(t, h.HV, m.ID, onhost.Paused)
	}
}

func twice(t *testing.T, h House) {
	m := running(t, h)
	before := look(t, h.HV, m.ID)
	must(t, h.HV.Ensure(t.Context(), m))
	after := look(t, h.HV, m.ID)
	if before.PID != after.PID || after.State != onhost.Running || !before.StartedAt.Equal(after.StartedAt) {
		t.Fatalf("it was started again: %+v, then %+v", before, after)
	}
}

func epochs(t *testing.T, h House) {
	m := h.VM(t)
	m.Epoch = 3
	must(t, h.HV.Ensure(t.Context(), m))
	m.Epoch = 5
	must(t, h.HV.Ensure(t.Context(), m))
	m.Epoch = 4
	if err := h.HV.Ensure(t.Context(), m); !fault.Is(err, fault.Conflict) {
		t.Fatalf("epoch 4 after 5: %v", err)
	}
	if g := look(t, h.HV, m.ID); g.Epoch != 5 || g.State != onhost.Paused {
		t.Fatalf("%+v", g)
	}
}

func ended(t *testing.T, h House) {
	m := running(t, h)
	must(t, h.HV.Kill(t.Context(), m.ID))
	must(t, h.HV.Kill(t.Context(), m.ID))
	if g := look(t, h.HV, m.ID); g.State != onhost.Ended || g.Exit != compute.ExitForced || g.EndedAt.IsZero() {
		t.Fatalf("a guest that was killed: %+v", g)
	}
	if err := h.HV.Ensure(t.Context(), m); !fault.Is(err, fault.Precondition) {
		t.Fatalf("it was started again: %v", err)
	}
	if err := h.HV.Resume(t.Context(), m.ID); !fault.Is(err, fault.Precondition) {
		t.Fatalf("it was let run: %v", err)
	}
}

func poweredOff(t *testing.T, h House) {
	m := running(t, h)
	h.PowerOff(t, m.ID)
	await(t, h.HV, m.ID, onhost.Off)
	h.HV = h.Restart(t) // nobody had written it down yet
	await(t, h.HV, m.ID, onhost.Off)
	must(t, h.HV.Kill(t.Context(), m.ID))
	if g := look(t, h.HV, m.ID); g.State != onhost.Ended || g.Exit != compute.ExitPoweredOff {
		t.Fatalf("%+v", g)
	}
}

func crashed(t *testing.T, h House) {
	m := running(t, h)
	h.Crash(t, m.ID)
	if g := await(t, h.HV, m.ID, onhost.Ended); g.Exit != compute.ExitCrashed || g.ExitMessage == "" {
		t.Fatalf("%+v", g)
	}
}

func restarted(t *testing.T, h House) {
	m := running(t, h)
	before := look(t, h.HV, m.ID)
	h.HV = h.Restart(t)
	all, err := h.HV.List(t.Context())
	must(t, err)
	if len(all) != 1 || all[0].PID != before.PID || all[0].State != onhost.Running || all[0].Epoch != m.Epoch {
		t.Fatalf("before %+v, after %+v", before, all)
	}
	must(t, h.HV.Ensure(t.Context(), m))
	must(t, h.HV.Remove(t.Context(), m.ID))
}

func absent(t *testing.T, h House) {
	id := resource.NewID()
	must(t, h.HV.Remove(t.Context(), id))
	must(t, h.HV.Kill(t.Context(), id))
	if g := look(t, h.HV, id); g.State != onhost.Absent {
		t.Fatalf("%+v", g)
	}
	if err := h.HV.Resume(t.Context(), id); !fault.Is(err, fault.NotFound) {
		t.Fatalf("resume nothing: %v", err)
	}
}

func asked(t *testing.T, h House) {
	m := running(t, h)
	must(t, h.HV.Ask(t.Context(), m.ID))
	first := look(t, h.HV, m.ID)
	must(t, h.HV.Ask(t.Context(), m.ID))
	second := look(t, h.HV, m.ID)
	if first.AskedAt.IsZero() || !first.AskedAt.Equal(second.AskedAt) || second.Asks != 2 {
		t.Fatalf("%+v, then %+v", first, second)
	}
}

func listed(t *testing.T, h House) {
	a, b := h.VM(t), h.VM(t)
	must(t, h.HV.Ensure(t.Context(), a))
	must(t, h.HV.Ensure(t.Context(), b))
	must(t, h.HV.Kill(t.Context(), a.ID))
	for wanted := 2; wanted >= 0; wanted-- {
		all, err := h.HV.List(t.Context())
		must(t, err)
		if len(all) != wanted {
			t.Fatalf("%d guests, and should be %d: %+v", len(all), wanted, all)
		}
		for _, g := range all[:min(1, len(all))] {
			must(t, h.HV.Remove(t.Context(), g.ID))
		}
	}
}

func grows(t *testing.T, h House) {
	grower, can := h.HV.(onhost.Grower)
	if !can {
		t.Skip("this hypervisor cannot grow disks")
	}
	m := running(t, h)
	if len(m.Disks) == 0 {
		t.Fatal("the house's VMs have no disk to grow")
	}
	before := h.DiskMiB(t, m)
	for _, desired := range []int64{before + 64, before + 64, before, before + 128} {
		must(t, grower.Grow(t.Context(), m.ID, m.Disks[0].ID, desired))
		want := max(desired, before+64)
		if got := h.DiskMiB(t, m); got != want {
			t.Fatalf("a disk of %d MiB that should have %d has %d", before, desired, got)
		}
	}
	must(t, h.HV.Pause(t.Context(), m.ID))
	must(t, grower.Grow(t.Context(), m.ID, m.Disks[0].ID, before+192))
	if err := grower.Grow(t.Context(), m.ID, resource.NewID(), 1); !fault.Is(err, fault.NotFound) {
		t.Fatalf("a disk that is not there: %v", err)
	}
	must(t, h.HV.Kill(t.Context(), m.ID))
	if err := grower.Grow(t.Context(), m.ID, m.Disks[0].ID, before+256); !fault.Is(err, fault.Precondition) {
		t.Fatalf("a guest that has ended: %v", err)
	}
}
