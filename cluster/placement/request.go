package placement

import (
	"strconv"
	"strings"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/host/numa"
)

// Demand is what a workload takes of a host. Its size may be overcommitted; what is reserved never is.
type Demand struct {
	// CPUs and MemoryMiB are its size.
	CPUs      int64 `json:"cpus"`
	MemoryMiB int64 `json:"memoryMiB"`
	// CPUReservationMHz is what it gets of the host's processors however busy they are, in MHz.
	CPUReservationMHz int64 `json:"cpuReservationMHz,omitempty"`
	// MemoryReservationMiB is what it has of the host's own memory however short that is, in MiB.
	MemoryReservationMiB int64 `json:"memoryReservationMiB,omitempty"`
	// Huge2MMiB and Huge1GMiB are what it has of the host's huge pages of 2 MiB and of 1 GiB, in MiB; they are no part
	// of MemoryMiB.
	Huge2MMiB int64 `json:"huge2MMiB,omitempty"`
	Huge1GMiB int64 `json:"huge1GMiB,omitempty"`
}

// allMiB is all its memory, whatever pages it lies in.
func (d Demand) allMiB() int64 { return d.MemoryMiB + d.Huge2MMiB + d.Huge1GMiB }

func (d Demand) plus(o Demand) Demand {
	return Demand{
		CPUs: d.CPUs + o.CPUs, MemoryMiB: d.MemoryMiB + o.MemoryMiB,
		CPUReservationMHz: d.CPUReservationMHz + o.CPUReservationMHz, MemoryReservationMiB: d.MemoryReservationMiB + o.MemoryReservationMiB,
		Huge2MMiB: d.Huge2MMiB + o.Huge2MMiB, Huge1GMiB: d.Huge1GMiB + o.Huge1GMiB,
	}
}

func (d Demand) minus(o Demand) Demand {
	return d.plus(Demand{
		CPUs: -o.CPUs, MemoryMiB: -o.MemoryMiB,
		CPUReservationMHz: -o.CPUReservationMHz, MemoryReservationMiB: -o.MemoryReservationMiB,
		Huge2MMiB: -o.Huge2MMiB, Huge1GMiB: -o.Huge1GMiB,
	})
}

// most is the larger of two, in each of what they take.
func (d Demand) most(o Demand) Demand {
	return Demand{
		CPUs: max(d.CPUs, o.CPUs), MemoryMiB: max(d.MemoryMiB, o.MemoryMiB),
		CPUReservationMHz: max(d.CPUReservationMHz, o.CPUReservationMHz), MemoryReservationMiB: max(d.MemoryReservationMiB, o.MemoryReservationMiB),
		Huge2MMiB: max(d.Huge2MMiB, o.Huge2MMiB), Huge1GMiB: max(d.Huge1GMiB, o.Huge1GMiB),
	}
}

// Disk is a volume that the host must reach.
type Disk struct {
	Name string
	// DatastoreID is where it lies, or must lie; empty: wherever there is capacity.
	DatastoreID resource.ID
	// NewMiB is the space that must be found for it; 0: it has its place.
	NewMiB int64
}

// Constraints narrow the choice down.
type Constraints struct {
	// OnHost pins the choice to one host; NotOn excludes hosts.
	OnHost resource.ID
	NotOn  []resource.ID
	// ClusterID is the cluster that the host must be of; empty: any.
	ClusterID resource.ID
	// MachineType must be known to the host's QEMU; empty: any.
	MachineType string
	// NUMA says how much the workload wants to be bound to memory nodes; empty: not at all. Parts are those
	// that its guest has seen already, because it moves; empty: it starts, and may be split as it fits.
	NUMA  numa.Policy
	Parts []host.NUMAPart
	// Disks must be within reach.
	Disks []Disk
	// Rules are the affinity rules that it is in.
	Rules []Rule
}

// Request asks for a host. Who asks is any workload: placement has never heard of a VM.
type Request struct {
	// Workload is who asks, and Name how people call it: "VM web".
	Workload resource.Ref
	Name     string
	// Epoch is the ownership that the claim is made for.
	Epoch int64
	// Why says what for, in words: "start of boot 1", "migration asked for by root".
	Why string
	Demand
	Constraints
}

// ruleIDs are those of its affinity rules.
func (r *Request) ruleIDs() (out []resource.ID) {
	for i := range r.Rules {
		out = append(out, r.Rules[i].ID)
	}
	return out
}

// RulesOf gives the affinity rules that a workload names, for a request.
func RulesOf(snap *store.Snapshot, ids []resource.ID) (out []Rule) {
	for _, id := range ids {
		if r := store.Find(snap, AffinityRules, id); r != nil {
			out = append(out, Rule{ID: id, Name: r.Name, AffinityRuleSpec: r.Spec})
		}
	}
	return out
}

// machineVersion orders versioned machine types: pc-q35-7.2 is 702, pc-q35-10.0 is 1000.
func machineVersion(machine string) int {
	version := machine[strings.LastIndexByte(machine, '-')+1:]
	major, minor, _ := strings.Cut(version, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	return a*100 + b
}
