package placement

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// Candidate is a host as placement sees it.
type Candidate struct {
	ID          resource.ID
	Name        string
	Mode        host.Mode
	State       host.LifeState
	MachineType string // the newest that its QEMU knows; empty: no QEMU works there
	// Problem is what the host says is wrong with it; empty: nothing.
	Problem string
	// CPUs and MemoryMiB are what can be promised in all, overcommit included.
	CPUs, MemoryMiB int64
	// ClaimedCPUs and ClaimedMemoryMiB are promised already.
	ClaimedCPUs, ClaimedMemoryMiB int64
	// Unreached says for a disk that the host cannot reach why not; empty: all are reached.
	Unreached string
}

// Need is what a VM asks of a host.
type Need struct {
	CPUs, MemoryMiB int64
	OnHost          resource.ID
	NotOn           []resource.ID
	MachineType     string
}

// Refusal says why a host was not taken. Full: for lack of capacity alone.
type Refusal struct {
	Host, Reason string
	Full         bool
}

// Choose picks the host that keeps the largest share of its scarcer resource free (worst fit:
// VMs spread out), or none, with a reason for every host.
func Choose(candidates []Candidate, n Need) (Candidate, []Refusal, bool) {
	var fitting []Candidate
	var refused []Refusal
	for _, c := range candidates {
		if why, full := refuse(c, n); why != "" {
			refused = append(refused, Refusal{c.Name, why, full})
			continue
		}
		fitting = append(fitting, c)
	}
	if len(fitting) == 0 {
		return Candidate{}, refused, false
	}
	best := slices.MaxFunc(fitting, func(a, b Candidate) int {
		return cmp.Or(cmp.Compare(freeAfter(a, n), freeAfter(b, n)), cmp.Compare(b.ID, a.ID))
	})
	return best, refused, true
}

// freeAfter is the smaller of the free shares of CPU and memory, in parts of a million.
func freeAfter(c Candidate, n Need) int64 {
	cpus := (c.CPUs - c.ClaimedCPUs - n.CPUs) * 1_000_000 / max(1, c.CPUs)
	memory := (c.MemoryMiB - c.ClaimedMemoryMiB - n.MemoryMiB) * 1_000_000 / max(1, c.MemoryMiB)
	return min(cpus, memory)
}

func refuse(c Candidate, n Need) (why string, full bool) {
	switch {
	case n.OnHost != "" && c.ID != n.OnHost:
		return "another host was asked for", false
	case slices.Contains(n.NotOn, c.ID):
		return "it is excluded: the VM is there already or must not be", false
	case c.State == host.Lost:
		return "it is unreachable", false
	case c.State != host.Alive:
		return "it has sent no heartbeat yet", false
	case c.Mode != host.Active:
		return "it is in maintenance", false
	case c.MachineType == "":
		return cmp.Or(c.Problem, "it has not told what its QEMU can yet"), false
	case n.MachineType != "" && machineVersion(c.MachineType) < machineVersion(n.MachineType):
		return fmt.Sprintf("its QEMU knows machine types up to %s, needed is %s", c.MachineType, n.MachineType), false
	case c.CPUs-c.ClaimedCPUs < n.CPUs:
		return fmt.Sprintf("%d of %d vCPUs are free, needed are %d", c.CPUs-c.ClaimedCPUs, c.CPUs, n.CPUs), true
	case c.MemoryMiB-c.ClaimedMemoryMiB < n.MemoryMiB:
		return fmt.Sprintf("%d of %d MiB of memory are free, needed are %d", c.MemoryMiB-c.ClaimedMemoryMiB, c.MemoryMiB, n.MemoryMiB), true
	}
	return c.Unreached, false
}

// machineVersion orders versioned machine types: pc-q35-7.2 is 702, pc-q35-10.0 is 1000.
func machineVersion(machineType string) int {
	version := machineType[strings.LastIndexByte(machineType, '-')+1:]
	major, minor, _ := strings.Cut(version, ".")
	a, _ := strconv.Atoi(major)
	b, _ := strconv.Atoi(minor)
	return a*100 + b
}

// Explain puts the refusals into one error: exhausted if capacity would help, else a precondition.
func Explain(vm string, refused []Refusal) error {
	if len(refused) == 0 {
		return fault.New(fault.Unavailable, "no host for %s: the cloud has no host yet; wait for one, or add one with virga join", vm)
	}
	kind, advice := fault.Precondition, "virga host list shows the hosts; mend what is named here, or add a host"
	var words []string
	for _, r := range refused {
		if r.Full {
			kind, advice = fault.Exhausted, "stop or shrink a VM, or add a host"
		}
		words = append(words, r.Host+": "+r.Reason)
	}
	return fault.New(kind, "no host can take %s (%s); %s", vm, strings.Join(words, "; "), advice)
}
