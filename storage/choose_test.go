package storage

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

func store1(id, phase string, capacity, free int64, hosts ...resource.ID) *Datastore {
	d := &Datastore{Status: DatastoreStatus{Phase: phase, CapacityMiB: capacity, FreeMiB: free, HostIDs: hosts, Abilities: []Ability{CanClone}}}
	d.ID, d.Name = resource.ID(id), id
	return d
}

func TestChooseTakesTheFittingDatastoreWithMostFreeSpace(t *testing.T) {
	all := []*Datastore{
		store1("a", DatastoreReady, 1000, 500, "h1", "h2"),
		store1("b", DatastoreReady, 1000, 900, "h2"),
		store1("c", DatastoreReady, 1000, 500, "h1"),
		store1("d", DatastoreUnreachable, 1000, 999, "h1"),
		store1("e", DatastoreReady, 1000, 49, "h3"),
		store1("f", DatastoreReady, 1000, 800, "h4"),
		store1("g", DatastoreReady, 1000, 900, "h4"),
	}
	for name, test := range map[string]struct {
		q    Question
		want resource.ID
		kind fault.Kind
		says string
	}{
		"most free":                      {Question{SizeMiB: 10, HostIDs: []resource.ID{"h4"}}, "g", "", ""},
		"shared before free":             {Question{SizeMiB: 10, HostIDs: []resource.ID{"h2"}}, "a", "", ""},
		"the older of equals":            {Question{SizeMiB: 10, HostIDs: []resource.ID{"h1"}}, "a", "", ""},
		"reached by both":                {Question{SizeMiB: 10, HostIDs: []resource.ID{"h1", "h2"}}, "a", "", ""},
		"the requested one":              {Question{SizeMiB: 10, DatastoreID: "c"}, "c", "", ""},
		"the requested one out of reach": {Question{SizeMiB: 10, DatastoreID: "c", HostIDs: []resource.ID{"h2"}}, "", fault.Unavailable, "not reached by host h2"},
		"the requested one is not ready": {Question{SizeMiB: 10, DatastoreID: "d"}, "", fault.Unavailable, "not ready"},
		"no such datastore":              {Question{SizeMiB: 10, DatastoreID: "x"}, "", fault.NotFound, "no datastore x"},
		"thin, to twice":                 {Question{SizeMiB: 2000, DatastoreID: "c"}, "c", "", ""},
		"promised too much":              {Question{SizeMiB: 2000, DatastoreID: "c", PromisedMiB: func(resource.ID) int64 { return 1 }}, "", fault.Exhausted, "has promised 1 MiB of 2000"},
		"nearly nothing is free":         {Question{SizeMiB: 1, DatastoreID: "e"}, "", fault.Exhausted, "49 MiB free of 1000"},
		"it can what is needed":          {Question{SizeMiB: 10, DatastoreID: "c", Needs: []Ability{CanClone}}, "c", "", ""},
		"it cannot what is needed":       {Question{SizeMiB: 10, DatastoreID: "c", Needs: []Ability{CanClone, CanGrow}}, "", fault.Unavailable, "volumes on datastore c cannot grow"},
		"too large for all":              {Question{SizeMiB: 3000}, "", fault.Exhausted, "cannot promise 3000 more"},
	} {
		t.Run(name, func(t *testing.T) {
			test.q.Datastores, test.q.Policy = all, Policy{}.orDefault()
			if test.q.PromisedMiB == nil {
				test.q.PromisedMiB = func(resource.ID) int64 { return 0 }
			}
			d, err := Choose(test.q)
			switch {
			case test.want != "" && (err != nil || d.ID != test.want):
				t.Errorf("chose %+v, %v; want %s", d, err, test.want)
			case test.want == "" && (fault.KindOf(err) != test.kind || !strings.Contains(err.Error(), test.says)):
				t.Errorf("error is %v (%s)", err, fault.KindOf(err))
			}
		})
	}
}

func TestAnOwnerHostStaysUntilItIsLost(t *testing.T) {
	life := func(id resource.ID) host.LifeState {
		return map[resource.ID]host.LifeState{"alive1": host.Alive, "alive2": host.Alive, "lost": host.Lost, "unknown": host.Unknown}[id]
	}
	reach := []resource.ID{"alive1", "alive2", "lost", "unknown"}
	for name, test := range map[string]struct {
		present  resource.ID
		using    []resource.ID
		reaching []resource.ID
		want     resource.ID
	}{
		"the first is the user's":     {"", []resource.ID{"alive2"}, reach, "alive2"},
		"a user that is lost is not":  {"", []resource.ID{"lost"}, reach, "alive1"},
		"the unknown if none lives":   {"", []resource.ID{"lost"}, []resource.ID{"lost", "unknown"}, "unknown"},
		"it stays while it lives":     {"alive1", []resource.ID{"alive2"}, reach, "alive1"},
		"it stays while nobody knows": {"unknown", []resource.ID{"alive2"}, reach, "unknown"},
		"it moves when it is lost":    {"lost", []resource.ID{"alive2"}, reach, "alive2"},
		"it moves out of no reach":    {"alive1", nil, []resource.ID{"alive2"}, "alive2"},
		"it stays if all are lost":    {"lost", nil, []resource.ID{"lost", "unknown"}, "lost"},
	} {
		if got := OwnerHost(test.present, test.using, test.reaching, life); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestEpochOfAnOwnerHostOnlyRises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epoch, highest, moves := int64(0), int64(0), map[int64]bool{}
		revision := int64(1)
		for range rapid.IntRange(1, 50).Draw(t, "steps") {
			revision += rapid.Int64Range(1, 5).Draw(t, "changes")
			if rapid.IntRange(0, 9).Draw(t, "restore") == 0 {
				revision, highest = 1, max(epoch, highest)
			}
			moved := rapid.Bool().Draw(t, "moved")
			next := NextEpoch(epoch, highest, revision, moved)
			switch {
			case next < epoch, next < highest, moved && (next == epoch || moves[next]):
				t.Fatalf("after %d, with %d on the storage, came %d (moved: %v)", epoch, highest, next, moved)
			case !moved && highest <= epoch && next != epoch:
				t.Fatalf("it rose from %d to %d for nothing", epoch, next)
			}
			epoch, moves[next] = next, true
		}
	})
}

func TestADatastoreKeepsTheIdentityThatItWasGivenFirst(t *testing.T) {
	device := func(id, on, identity string, free int64) *Device {
		d := &Device{Spec: DeviceSpec{HostID: resource.ID(on), Identity: identity}, Status: DeviceStatus{CapacityMiB: 100, FreeMiB: free}}
		d.ID = resource.ID(id)
		return d
	}
	alive := func(resource.ID) host.LifeState { return host.Alive }
	b := Bind("", []*Device{device("2", "h2", "two", 50), device("0", "h0", "", 0), device("1", "h1", "one", 50), device("3", "h3", "one", 40)}, alive)
	if b.Identity != "one" || len(b.HostIDs) != 2 || b.FreeMiB != 40 || !b.Ready || !strings.Contains(b.why, "host h2 has another folder") {
		t.Errorf("bound %+v", b)
	}
	if b = Bind("one", []*Device{device("0", "h2", "two", 50)}, alive); b.Identity != "one" || b.Ready {
		t.Errorf("bound %+v", b)
	}
}

func TestADatastoreCanWhatEachOfItsHostsCan(t *testing.T) {
	device := func(id, hostID resource.ID, can ...Ability) *Device {
		d := &Device{Spec: DeviceSpec{HostID: hostID, Identity: "x"}, Status: DeviceStatus{CapacityMiB: 10, Abilities: can}}
		d.ID = id
		return d
	}
	life := func(id resource.ID) host.LifeState {
		if id == "lost" {
			return host.Lost
		}
		return host.Alive
	}
	for name, test := range map[string]struct {
		devices []*Device
		want    []Ability
	}{
		"one host":            {[]*Device{device("1", "h1", CanClone, CanGrow)}, []Ability{CanClone, CanGrow}},
		"an older host":       {[]*Device{device("1", "h1", CanClone, CanGrow), device("2", "h2", CanGrow)}, []Ability{CanGrow}},
		"the older one first": {[]*Device{device("1", "h1", CanGrow), device("2", "h2", CanGrow, CanClone)}, []Ability{CanGrow}},
		"nothing in common":   {[]*Device{device("1", "h1", CanClone), device("2", "h2", CanGrow)}, []Ability{}},
		"a lost host":         {[]*Device{device("1", "lost", CanGrow), device("2", "h2", CanClone)}, []Ability{CanClone}},
	} {
		before := slices.Clone(test.devices[0].Status.Abilities)
		if got := Bind("", test.devices, life).Abilities; !slices.Equal(got, test.want) {
			t.Errorf("%s: can %v, want %v", name, got, test.want)
		}
		if !slices.Equal(before, test.devices[0].Status.Abilities) {
			t.Errorf("%s: the record was changed", name)
		}
	}
}

func TestAFolderHasAPlainPath(t *testing.T) {
	for path, ok := range map[string]bool{
		"/mnt/nas": true, "datastore": true, "/": false, "": false, ".": false, "../x": false, "/mnt/../etc": false, "/mnt//x": false, "/a,b": false,
	} {
		s := BackendSpec{Type: Folder, Path: path, HostIDs: []resource.ID{"h"}}
		if wrong := CheckBackend(&s); (len(wrong) == 0) != ok {
			t.Errorf("path %q: %v", path, wrong)
		}
	}
}

func TestOnlyTheCloudItselfMakesAFolderBelowTheHosts(t *testing.T) {
	for path, ok := range map[string]bool{"/mnt/nas": true, "datastore": false, "": false, "./x": false, "/mnt/../etc": false} {
		s := BackendSpec{Type: Folder, Path: path, HostIDs: []resource.ID{"h"}}
		wrong := checkNewBackend(&s)
		if (len(wrong) == 0) != ok {
			t.Errorf("path %q: %v", path, wrong)
		}
		if path == "datastore" && !strings.Contains(wrong[0].Message, "must be absolute") {
			t.Errorf("path %q: %v", path, wrong)
		}
	}
}

func TestAVolumeOnlyGrows(t *testing.T) {
	base := &Base{Digest: "sha256:" + strings.Repeat("0", 64), VirtualMiB: 10}
	old := VolumeSpec{SizeMiB: 20, Base: base, DatastoreID: "d"}
	for name, test := range map[string]struct {
		change func(*VolumeSpec)
		wrong  int
	}{
		"grow":   {func(v *VolumeSpec) { v.SizeMiB = 30 }, 0},
		"shrink": {func(v *VolumeSpec) { v.SizeMiB = 15 }, 1},
		"move":   {func(v *VolumeSpec) { v.DatastoreID = "e" }, 1},
		"rebase": {func(v *VolumeSpec) { v.Base = nil }, 1},
	} {
		v := old
		test.change(&v)
		if got := CheckVolumeChange(&old, &v); len(got) != test.wrong {
			t.Errorf("%s: %v", name, got)
		}
	}
	small := VolumeSpec{SizeMiB: 5, Base: base}
	if got := CheckVolume(&small); len(got) != 1 {
		t.Errorf("smaller than its base: %v", got)
	}
	empty := VolumeSpec{Base: base}
	if DefaultVolume(&empty); empty.SizeMiB != 10 {
		t.Errorf("by default it has %d MiB", empty.SizeMiB)
	}
}

func TestAPlainDatastoreIsTakenWhenItIsNamedOrNoOtherFits(t *testing.T) {
	plain, all := store1("plain", DatastoreReady, 1000, 900, "h1", "h2"), store1("all", DatastoreReady, 1000, 500, "h1")
	plain.Status.Abilities, all.Status.Abilities = []Ability{CanGrow}, []Ability{CanClone, CanGrow, CanSnapshot}
	for want, q := range map[resource.ID]Question{
		"all":   {SizeMiB: 10, HostIDs: []resource.ID{"h1"}},
		"plain": {SizeMiB: 10, HostIDs: []resource.ID{"h1"}, DatastoreID: "plain"},
	} {
		q.Datastores, q.Policy, q.PromisedMiB = []*Datastore{plain, all}, Policy{}.orDefault(), func(resource.ID) int64 { return 0 }
		if d, err := Choose(q); err != nil || d.ID != want {
			t.Errorf("chose %+v, %v; want %s", d, err, want)
		}
		q.HostIDs = []resource.ID{"h2"}
		if d, err := Choose(q); err != nil || d.ID != "plain" {
			t.Errorf("chose %+v, %v, where no other is within reach", d, err)
		}
	}
}
