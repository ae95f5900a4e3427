package placement

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/host/numa"
)

// Filter is one reason why a host may not be taken.
type Filter struct {
	Name string
	// Passes is asked for very many hosts, and makes nothing.
	Passes func(*State, *node, *Request) bool
	// Why says in words why a host did not pass; equal words are told once for all hosts.
	Why func(*State, *node, *Request) string
	// Capacity says how much is free of how much, where the lack of it is the reason; nil: it is not.
	Capacity func(*node) (free, all int64)
	// Needs is how much is needed, with its unit.
	Needs func(*Request) (need int64, unit string)
}

func says(words string) func(*State, *node, *Request) string {
	return func(*State, *node, *Request) string { return words }
}

// amount refuses a host that has not enough left of something. Who wants nothing of it passes, though more
// be promised than there is.
func amount(name, why, unit string, of func(Demand) int64) Filter {
	return Filter{Name: name, Why: says(why),
		Passes:   func(_ *State, n *node, r *Request) bool { return of(r.Demand) <= max(0, of(n.total)-of(n.claimed)) },
		Capacity: func(n *node) (int64, int64) { return of(n.free()), of(n.total) },
		Needs:    func(r *Request) (int64, string) { return of(r.Demand), unit }}
}

// filters are asked in this order; the first that refuses gives the reason.
var filters = []Filter{
	{Name: "excluded", Why: says("excluded: it is there already, or must not be"),
		Passes: func(_ *State, n *node, r *Request) bool { return !slices.Contains(r.NotOn, n.id) }},
	{Name: "cluster", Why: says("not in the cluster of its resource pool"),
		Passes: func(_ *State, n *node, r *Request) bool { return r.ClusterID == "" || n.clusterID == r.ClusterID }},
	{Name: "reachable", Why: says("unreachable"),
		Passes: func(_ *State, n *node, _ *Request) bool { return n.life != host.Lost && !n.removed }},
	{Name: "heartbeat", Why: says("no heartbeat yet"),
		Passes: func(_ *State, n *node, _ *Request) bool { return n.life == host.Alive && n.total.CPUs > 0 }},
	{Name: "mode",
		Passes: func(_ *State, n *node, _ *Request) bool { return n.mode == host.Active },
		Why: func(_ *State, n *node, _ *Request) string {
			if n.mode == host.Cordoned {
				return "cordoned"
			}
			return "in maintenance"
		}},
	{Name: "affinity rule",
		Passes: func(s *State, n *node, r *Request) bool { return s.broken(n, r) == nil },
		Why:    func(s *State, n *node, r *Request) string { return s.broken(n, r).refusal() }},
	{Name: "hypervisor",
		Passes: func(_ *State, n *node, _ *Request) bool { return n.machineType != "" },
		Why: func(_ *State, n *node, _ *Request) string {
			return cmp.Or(n.problem, "what its QEMU can is not reported yet")
		}},
	{Name: "machine type",
		Passes: func(_ *State, n *node, r *Request) bool {
			return r.MachineType == "" || n.version >= machineVersion(r.MachineType)
		},
		Why: func(_ *State, n *node, r *Request) string {
			return fmt.Sprintf("QEMU knows machine types up to %s, needed is %s", n.machineType, r.MachineType)
		}},
	amount("cpu", "not enough vCPUs", "", func(d Demand) int64 { return d.CPUs }),
	amount("memory", "not enough memory", " MiB", func(d Demand) int64 { return d.MemoryMiB }),
	amount("huge pages of 2 MiB", "not enough huge pages of 2 MiB", " MiB", func(d Demand) int64 { return d.Huge2MMiB }),
	amount("huge pages of 1 GiB", "not enough huge pages of 1 GiB", " MiB", func(d Demand) int64 { return d.Huge1GMiB }),
	{Name: "cpu speed",
		Passes: func(_ *State, n *node, r *Request) bool {
			return r.CPUReservationMHz == 0 || r.CPUReservationMHz <= r.CPUs*n.mhz
		},
		Why: func(_ *State, n *node, r *Request) string {
			return fmt.Sprintf("a vCPU uses at most %d MHz there, %d of them can never use the %d MHz that are to be reserved", n.mhz, r.CPUs, r.CPUReservationMHz)
		}},
	amount("cpu reservation", "not enough CPU that nobody has reserved", " MHz", func(d Demand) int64 { return d.CPUReservationMHz }),
	amount("memory reservation", "not enough memory that nobody has reserved", " MiB", func(d Demand) int64 { return d.MemoryReservationMiB }),
	{Name: "numa", Why: says("no memory node with capacity for all its vCPUs and memory"),
		Passes: func(_ *State, n *node, r *Request) bool {
			return r.NUMA != numa.Required || spread(n, r) == max(1, len(r.Parts))
		},
		Capacity: func(*node) (int64, int64) { return 0, 0 }, // one node may lack vCPUs, and another memory
		Needs:    func(r *Request) (int64, string) { return r.CPUs, fmt.Sprintf(" vCPUs and %d MiB on one", r.allMiB()) }},
	{Name: "reach", Passes: func(s *State, n *node, r *Request) bool { return unreached(s, n, r) == nil },
		Why: func(s *State, n *node, r *Request) string {
			d := unreached(s, n, r)
			at, there := s.storeAt[d.DatastoreID]
			switch {
			case d.DatastoreID == "":
				return "no datastore within reach"
			case !there || !s.stores[at].known:
				return "the datastore of disk " + d.Name + " is gone"
			}
			return fmt.Sprintf("datastore %s, with disk %s, is out of reach", s.stores[at].name, d.Name)
		}},
	{Name: "datastore", Why: says("no datastore within reach has space for the new disks"),
		Passes:   func(s *State, n *node, r *Request) bool { return s.spaceFor(n, r.Disks) >= 0 },
		Capacity: func(*node) (int64, int64) { return 0, 0 },
		Needs: func(r *Request) (need int64, unit string) {
			for _, d := range r.Disks {
				need += d.NewMiB
			}
			return need, " MiB"
		}},
}

// unreached gives the first disk of a request that a host does not reach; nil: it reaches all.
func unreached(s *State, n *node, r *Request) *Disk {
	for i := range r.Disks {
		d := &r.Disks[i]
		if d.DatastoreID == "" && len(n.stores) == 0 || d.DatastoreID != "" && !s.reaches(n, d.DatastoreID) {
			return d
		}
	}
	return nil
}
