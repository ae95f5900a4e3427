package placement

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

func TestEveryFilterRefusesWithItsReason(t *testing.T) {
	for _, c := range []struct {
		filter, says string
		kind         fault.Kind
		spoil        func(*State, *node, *Request)
	}{
		{"cluster", "h1: not in the cluster of its resource pool", fault.Precondition, func(_ *State, n *node, r *Request) { n.clusterID, r.ClusterID = "edge", "core" }},
		{"excluded", "h1: excluded", fault.Precondition, func(_ *State, n *node, r *Request) { r.NotOn = []resource.ID{n.id} }},
		{"reachable", "h1: unreachable", fault.Precondition, func(_ *State, n *node, _ *Request) { n.life = host.Lost }},
		{"reachable", "h1: unreachable", fault.Precondition, func(_ *State, n *node, _ *Request) { n.removed = true }},
		{"heartbeat", "h1: no heartbeat yet", fault.Precondition, func(_ *State, n *node, _ *Request) { n.life = host.Unknown }},
		{"heartbeat", "h1: no heartbeat yet", fault.Precondition, func(_ *State, n *node, _ *Request) { n.total.CPUs = 0 }},
		{"mode", "h1: in maintenance", fault.Precondition, func(_ *State, n *node, _ *Request) { n.mode = host.Maintenance }},
		{"mode", "h1: cordoned", fault.Precondition, func(_ *State, n *node, _ *Request) { n.mode = host.Cordoned }},
		{"hypervisor", "h1: install QEMU 7.2", fault.Precondition, func(_ *State, n *node, _ *Request) { n.machineType, n.problem = "", "install QEMU 7.2" }},
		{"hypervisor", "h1: what its QEMU can is not reported yet", fault.Precondition, func(_ *State, n *node, _ *Request) { n.machineType = "" }},
		{"machine type", "up to pc-q35-7.2, needed is pc-q35-10.0", fault.Precondition, func(_ *State, _ *node, r *Request) { r.MachineType = "pc-q35-10.0" }},
		{"cpu", "h1: not enough vCPUs (needs 2; most free 1 of 8 on h1)", fault.Exhausted, func(_ *State, n *node, _ *Request) { n.claimed.CPUs = 7 }},
		{"memory", "h1: not enough memory (needs 1024 MiB; most free 192 of 8192 MiB on h1)", fault.Exhausted, func(_ *State, n *node, _ *Request) { n.claimed.MemoryMiB = 8000 }},
		{"huge pages of 2 MiB", "h1: not enough huge pages of 2 MiB (needs 512 MiB; most free 100 of 200 MiB on h1)", fault.Exhausted,
			func(_ *State, n *node, r *Request) {
				n.total.Huge2MMiB, n.claimed.Huge2MMiB, r.Huge2MMiB = 200, 100, 512
			}},
		{"huge pages of 1 GiB", "h1: not enough huge pages of 1 GiB (needs 1024 MiB)", fault.Exhausted,
			func(_ *State, _ *node, r *Request) { r.Huge1GMiB = 1024 }},
		{"cpu speed", "h1: a vCPU uses at most 2500 MHz there, 2 of them can never use the 5001 MHz that are to be reserved", fault.Precondition,
			func(_ *State, _ *node, r *Request) { r.CPUReservationMHz = 5001 }},
		{"cpu reservation", "h1: not enough CPU that nobody has reserved (needs 5000 MHz; most free 2000 of 20000 MHz on h1)", fault.Exhausted,
			func(_ *State, n *node, r *Request) { n.claimed.CPUReservationMHz, r.CPUReservationMHz = 18_000, 5000 }},
		{"memory reservation", "h1: not enough memory that nobody has reserved (needs 900 MiB; most free 192 of 8192 MiB on h1)", fault.Exhausted,
			func(_ *State, n *node, r *Request) {
				n.claimed.MemoryReservationMiB, r.MemoryReservationMiB = 8000, 900
			}},
		{"reach", "the datastore of disk data is gone", fault.Precondition, func(_ *State, _ *node, r *Request) { r.Disks = []Disk{{Name: "data", DatastoreID: "none"}} }},
		{"reach", "datastore fast, with disk data, is out of reach", fault.Precondition, func(s *State, _ *node, r *Request) {
			d, _ := s.store("far")
			d.name, d.known = "fast", true
			r.Disks = []Disk{{Name: "data", DatastoreID: "far"}}
		}},
		{"reach", "no datastore within reach", fault.Precondition, func(_ *State, n *node, r *Request) { n.stores, r.Disks = nil, []Disk{{NewMiB: 1}} }},
		{"datastore", "has space for the new disks (needs 900000 MiB)", fault.Exhausted, func(_ *State, _ *node, r *Request) { r.Disks = []Disk{{NewMiB: 900_000}} }},
		{"datastore", "has space for the new disks (needs 300000 MiB)", fault.Exhausted, func(_ *State, _ *node, r *Request) { r.Disks = []Disk{{NewMiB: 150_000}, {NewMiB: 150_000}} }},
		{"datastore", "has space for the new disks", fault.Exhausted, func(s *State, _ *node, r *Request) { s.stores[0].ready, r.Disks = false, []Disk{{NewMiB: 1}} }},
	} {
		s, r := cloud(1), want(2, 1024)
		if f := s.refusing(&s.nodes[0], r); f != nil {
			t.Fatalf("a good host is refused by %s", f.Name)
		}
		c.spoil(s, &s.nodes[0], r)
		if f := s.refusing(&s.nodes[0], r); f == nil || f.Name != c.filter {
			t.Errorf("%s: refused by %v", c.filter, f)
			continue
		}
		_, err := s.Choose(r)
		if !fault.Is(err, c.kind) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: got %v; want %s with %q", c.filter, err, c.kind, c.says)
		}
	}
}

func TestWhoReservesNothingPassesWhereTooMuchIsReserved(t *testing.T) {
	s, r := cloud(1), want(2, 1024)
	n := &s.nodes[0]
	n.claimed.CPUReservationMHz, n.claimed.MemoryReservationMiB, n.mhz = 30_000, 9000, 0
	if f := s.refusing(n, r); f != nil {
		t.Errorf("refused by %s", f.Name)
	}
	r.MemoryReservationMiB = 1
	if f := s.refusing(n, r); f == nil || f.Name != "memory reservation" {
		t.Errorf("refused by %v", f)
	}
}

func TestRefusalsAreGroupedAndNameFewHosts(t *testing.T) {
	s := cloud(14)
	for i := range s.nodes {
		s.nodes[i].claimed.MemoryMiB = 8192
	}
	s.nodes[2].claimed.MemoryMiB = 8000
	s.nodes[0].mode, s.nodes[1].mode = host.Maintenance, host.Maintenance
	_, err := s.Choose(want(1, 1024))
	for _, words := range []string{"no host can take VM web: 12 hosts: not enough memory (needs 1024 MiB; most free 192 of 8192 MiB on h3); h1, h2: in maintenance;", "add a host"} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("%v lacks %q", err, words)
		}
	}
	s.nodes[2].claimed.MemoryMiB = 7900
	_, moved := s.Choose(want(1, 1024))
	if moved.Error() == err.Error() || !SameReasons(moved.Error(), err.Error()) {
		t.Errorf("figures alone make another reason: %v", moved)
	}
	s.nodes[1].mode = host.Active
	if _, other := s.Choose(want(1, 1024)); SameReasons(other.Error(), err.Error()) {
		t.Errorf("a host that left maintenance changes nothing: %v", other)
	}
}

func TestPinnedWorkloadHearsOfItsHostAlone(t *testing.T) {
	s, r := cloud(3), want(2, 1024)
	r.OnHost = "00002"
	if c := chosen(t, s, r); c.Host != "h2" {
		t.Errorf("it went to %s", c.Host)
	}
	s.nodes[1].life = host.Lost
	if _, err := s.Choose(r); !strings.Contains(err.Error(), "VM web: h2: unreachable;") {
		t.Errorf("got %v", err)
	}
	r.OnHost = "gone"
	if _, err := s.Choose(r); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "pinned") {
		t.Errorf("got %v", err)
	}
	if _, err := newState().Choose(want(1, 1)); !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no host yet") {
		t.Errorf("got %v", err)
	}
}

func TestMoreSpaceDecidesBetweenHostsWithEqualCapacity(t *testing.T) {
	s, r := cloud(3), want(1, 512)
	s.stores[2].freeMiB = 95_000
	if c := chosen(t, s, r); c.Host != "h1" {
		t.Errorf("without a new disk it went to %s, not to the oldest", c.Host)
	}
	r.Disks = []Disk{{NewMiB: 1000}}
	if c := chosen(t, s, r); c.Host != "h3" {
		t.Errorf("with a new disk it went to %s", c.Host)
	}
	s.Claim("00003", Demand{CPUs: 1, MemoryMiB: 512}, nil)
	if c := chosen(t, s, r); c.Host != "h1" {
		t.Errorf("space counted before capacity: %s", c.Host)
	}
}

func TestWhatIsTriedOnACloneChangesNothing(t *testing.T) {
	s := cloud(5)
	before := s.Clone()
	if !reflect.DeepEqual(before, s) {
		t.Fatal("a clone differs")
	}
	c := s.Clone()
	for range 20 {
		c.Claim(chosen(t, c, want(2, 2048)).HostID, Demand{CPUs: 2, MemoryMiB: 2048}, nil)
	}
	c.node("new").known = true
	c.store("new")
	if _, err := c.Choose(want(2, 2048)); err == nil {
		t.Error("the clone is not full")
	}
	if !reflect.DeepEqual(before, s) {
		t.Error("the original changed")
	}
	c.Free("00001", Demand{CPUs: 2, MemoryMiB: 2048}, nil)
	if got := chosen(t, c, want(2, 2048)); got.Host != "h1" {
		t.Errorf("capacity that was freed is not found: %v", got)
	}
}

func TestChosenHostPassesAllAndOfFewHostsNoneIsBetter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := cloud(rapid.IntRange(0, 6).Draw(t, "hosts"))
		for i := range s.nodes {
			n := &s.nodes[i]
			n.life = rapid.SampledFrom([]host.LifeState{host.Alive, host.Alive, host.Lost, host.Unknown}).Draw(t, "life")
			n.claimed = Demand{CPUs: rapid.Int64Range(0, 8).Draw(t, "cpus"), MemoryMiB: rapid.Int64Range(0, 8192).Draw(t, "memory")}
		}
		r := want(rapid.Int64Range(1, 8).Draw(t, "need"), rapid.Int64Range(64, 8192).Draw(t, "MiB"))
		c, err := s.Choose(r)
		for i := range s.nodes {
			n := &s.nodes[i]
			passes := s.refusing(n, r) == nil
			switch {
			case err != nil && passes:
				t.Fatalf("%s would do, and nothing was chosen: %v", n.name, err)
			case err == nil && n.id == c.HostID && !passes:
				t.Fatalf("chosen %s, which is refused", n.name)
			case err == nil && passes && freeAfter(n, r.Demand) > freeAfter(s.node(c.HostID), r.Demand):
				t.Fatalf("%s was chosen, %s has more capacity", c.Host, n.name)
			}
		}
	})
}

// The search looks at a part of a large cloud. What it makes of it must hardly differ from the best.
func TestEarlyStopPacksAndSpreadsWithinThreePercentOfTheBest(t *testing.T) {
	for seed := range int64(4) {
		s := cloud(250 + 80*int(seed))
		for i := range s.nodes {
			s.nodes[i].total = Demand{CPUs: 256, MemoryMiB: 65536}
		}
		all := int64(len(s.nodes)) * 65536
		var used int64
		for half := false; ; {
			seed = (seed*1103515245 + 12345) % (1 << 31)
			r := want(1, 512+(seed>>8)%1400)
			c, err := s.Choose(r)
			if err != nil {
				break
			}
			s.Claim(c.HostID, r.Demand, nil)
			if used += r.MemoryMiB; !half && used > all/2 {
				half = true
				for i := range s.nodes {
					if off := s.nodes[i].claimed.MemoryMiB - used/int64(len(s.nodes)); off > 65536*3/100 || -off > 65536*3/100 {
						t.Fatalf("%s is %d MiB off the mean", s.nodes[i].name, off)
					}
				}
			}
		}
		if used < all*97/100 {
			t.Fatalf("%d of %d MiB are used when the first request is refused", used, all)
		}
	}
}

func TestSearchBeginsWhereTheLastOneEnded(t *testing.T) {
	s := cloud(1000)
	seen := map[resource.ID]bool{}
	for range 1000 {
		c := chosen(t, s, want(1, 64))
		s.Claim(c.HostID, Demand{CPUs: 1, MemoryMiB: 64}, nil)
		seen[c.HostID] = true
	}
	if len(seen) < 970 {
		t.Errorf("1000 placements reached %d of 1000 hosts", len(seen))
	}
}

func TestMachineTypesAreOrderedByVersion(t *testing.T) {
	for machine, version := range map[string]int{"pc-q35-7.2": 702, "pc-q35-10.0": 1000, "": 0, "q35": 0} {
		if got := machineVersion(machine); got != version {
			t.Errorf("%q is %d, not %d", machine, got, version)
		}
	}
}
