package evacuation

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
)

var now = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

func guest(name string, mib int64) Guest {
	return Guest{VM: VM{VMID: resource.ID(name), Name: name, ProjectID: "p"}, MemoryMiB: mib}
}

// told is what becomes of each VM: "a moving, b queued".
func told(d Decision) string {
	var out []string
	for _, vm := range d.Left {
		out = append(out, vm.Name+" "+string(vm.State))
	}
	return strings.Join(out, ", ")
}

func TestFewMoveAtOnceTheSmallestFirst(t *testing.T) {
	d := Next(now, []Guest{guest("a", 4096), guest("b", 512), guest("c", 1024), guest("d", 2048)})
	if !slices.Equal(d.Start, []resource.ID{"b", "c"}) || d.Phase != Emptying {
		t.Errorf("it starts %v, and is %s", d.Start, d.Phase)
	}
	if got := told(d); got != "a queued, b moving, c moving, d queued" {
		t.Errorf("it tells %s", got)
	}
}

func TestThoseThatMoveAlreadyTakeTheirPlace(t *testing.T) {
	moving := guest("a", 1024)
	moving.Moved = true
	d := Next(now, []Guest{moving, guest("b", 1024), guest("c", 1024)})
	if !slices.Equal(d.Start, []resource.ID{"b"}) {
		t.Errorf("it starts %v beside one that moves", d.Start)
	}
	all := []Guest{moving, moving, moving, guest("d", 1)}
	all[1].VMID, all[2].VMID = "b", "c"
	if d = Next(now, all); len(d.Start) > 0 || d.Phase != Emptying {
		t.Errorf("it starts %v beside three that people move, and is %s", d.Start, d.Phase)
	}
}

func TestHostWhoseVMsCannotMoveIsBlockedAndSaysWhy(t *testing.T) {
	pinned := guest("a", 1024)
	pinned.Refusal = "migrate VM a: it is pinned to its host"
	d := Next(now, []Guest{pinned})
	if d.Phase != Blocked || len(d.Start) > 0 || told(d) != "a stays" || d.Left[0].Why != pinned.Refusal {
		t.Errorf("it is %s, starts %v, tells %+v", d.Phase, d.Start, d.Left)
	}
	d = Next(now, []Guest{pinned, guest("b", 1024)})
	if d.Phase != Emptying || !slices.Equal(d.Start, []resource.ID{"b"}) {
		t.Errorf("with another that can move it is %s and starts %v", d.Phase, d.Start)
	}
	between := guest("c", 1024)
	between.Between, between.Why = true, "it is stopping"
	if d = Next(now, []Guest{pinned, between}); d.Phase != Emptying || d.Left[1].Why != "it is stopping" {
		t.Errorf("beside one that stops it is %s, and tells %+v", d.Phase, d.Left)
	}
}

func TestEmptyHostIsEmpty(t *testing.T) {
	if d := Next(now, nil); d.Phase != Empty || len(d.Left)+len(d.Start) > 0 {
		t.Errorf("it is %+v", d)
	}
}

func TestFailedMigrationIsTriedAgainAfterAPauseThatGrows(t *testing.T) {
	for tries, want := range map[int]time.Duration{1: 15 * time.Second, 2: 30 * time.Second, 3: time.Minute, 5: 4 * time.Minute, 6: 5 * time.Minute, 600: 5 * time.Minute} {
		g := guest("a", 1024)
		g.Tries, g.Failed, g.Failure = tries, now.Add(-want+time.Second), "the target ended"
		d := Next(now, []Guest{g})
		if len(d.Start) > 0 || told(d) != "a waiting" || !strings.Contains(d.Left[0].Why, "the target ended") || !d.Again.Equal(now.Add(time.Second)) {
			t.Errorf("a second before its %d. pause has passed: %+v", tries, d)
		}
		g.Failed = now.Add(-want)
		if d = Next(now, []Guest{g}); !slices.Equal(d.Start, []resource.ID{"a"}) {
			t.Errorf("when its %d. pause has passed: %+v", tries, d)
		}
	}
	failed := guest("a", 1)
	failed.Tries, failed.Failed = 1, now.Add(-time.Hour)
	if d := Next(now, []Guest{failed, guest("b", 4096), guest("c", 8192)}); !slices.Equal(d.Start, []resource.ID{"b", "c"}) {
		t.Errorf("one that failed comes before those that were not tried: %v", d.Start)
	}
}

func TestDecisionKeepsItsPromisesForAnyHost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []Guest
		for i := range rapid.IntRange(0, 12).Draw(t, "VMs") {
			g := guest(fmt.Sprintf("vm%02d", i), rapid.Int64Range(64, 1<<20).Draw(t, "MiB"))
			g.Moved, g.Between = rapid.Bool().Draw(t, "moves"), rapid.Bool().Draw(t, "between")
			g.Refusal = rapid.SampledFrom([]string{"", "", "it is paused"}).Draw(t, "refusal")
			if g.Tries = rapid.IntRange(0, 4).Draw(t, "tries"); g.Tries > 0 {
				g.Failed = now.Add(-rapid.Custom(func(t *rapid.T) time.Duration {
					return time.Duration(rapid.IntRange(0, 400).Draw(t, "seconds")) * time.Second
				}).Draw(t, "ago"))
			}
			all = append(all, g)
		}
		given := slices.Clone(all)
		d := Next(now, slices.Clone(given))
		moving := 0
		for _, g := range given {
			starts := slices.Contains(d.Start, g.VMID)
			if g.Moved {
				moving++
			}
			if starts && (g.Moved || g.Between || g.Refusal != "" || g.Tries > 0 && g.Failed.Add(pause(g.Tries)).After(now)) {
				t.Fatalf("it starts %+v", g)
			}
		}
		if len(d.Start) > 0 && moving+len(d.Start) > AtOnce {
			t.Fatalf("%d move and %d more begin", moving, len(d.Start))
		}
		if len(d.Left) != len(given) {
			t.Fatalf("it tells of %d of %d VMs", len(d.Left), len(given))
		}
		queued := 0
		for _, vm := range d.Left {
			if vm.State == "" || (vm.State == Stays) != (vm.State == Stays && vm.Why != "") {
				t.Fatalf("it says nothing of %+v", vm)
			}
			if vm.State == Queued {
				queued++
			}
		}
		if queued > 0 && moving+len(d.Start) < AtOnce {
			t.Fatalf("%d wait though only %d move", queued, moving+len(d.Start))
		}
		slices.Reverse(all)
		if again := Next(now, all); !slices.Equal(again.Start, d.Start) || told(again) != told(d) || again.Phase != d.Phase {
			t.Fatalf("in another order it decides %+v instead of %+v", again, d)
		}
	})
}
