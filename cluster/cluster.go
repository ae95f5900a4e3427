package cluster

import (
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// DefaultName is the cluster that is there from the first start.
const DefaultName = "default"

// The overcommitment of a cluster that nobody decided about: processors are idle most of the time
// and can be shared; memory cannot.
const (
	DefaultCPUOvercommitPercent    = 400
	DefaultMemoryOvercommitPercent = 100
)

// Spec is what holds for the hosts of a cluster.
type Spec struct {
	// Description is for people.
	Description string `json:"description,omitempty"`
	// CPUOvercommitPercent is how many virtual CPUs are promised for 100 of a host's threads.
	CPUOvercommitPercent int64 `json:"cpuOvercommitPercent"`
	// MemoryOvercommitPercent is how much guest memory is promised for 100 MiB of a host's.
	MemoryOvercommitPercent int64 `json:"memoryOvercommitPercent"`
}

// Status has nothing to observe.
type Status struct{ resource.Observed }

// Cluster is hosts that share capacity and settings.
type Cluster = resource.Record[Spec, Status]

// Clusters is the kind.
var Clusters = resource.Define("cluster", "clusters", resource.Options[Spec, Status]{
	Doc: "Hosts that share capacity and settings.", Scope: resource.InCloud,
})

// Default fills in what a cluster's spec leaves out.
func Default(s *Spec) {
	if s.CPUOvercommitPercent == 0 {
		s.CPUOvercommitPercent = DefaultCPUOvercommitPercent
	}
	if s.MemoryOvercommitPercent == 0 {
		s.MemoryOvercommitPercent = DefaultMemoryOvercommitPercent
	}
}

// Check lists everything that is wrong with a cluster's spec.
func Check(s *Spec) []fault.Detail {
	return append(host.CheckOvercommit("spec.cpuOvercommitPercent", "thread", s.CPUOvercommitPercent),
		host.CheckOvercommit("spec.memoryOvercommitPercent", "MiB", s.MemoryOvercommitPercent)...)
}

// Ratios says how many percent of a host's threads and memory are promised: what its own spec says, else
// its cluster's, else, where that is not known, the usual.
func Ratios(h *host.Spec, of *Spec) (cpu, memory int64) {
	own := Spec{CPUOvercommitPercent: h.CPUOvercommitPercent, MemoryOvercommitPercent: h.MemoryOvercommitPercent}
	if of != nil && own.CPUOvercommitPercent == 0 {
		own.CPUOvercommitPercent = of.CPUOvercommitPercent
	}
	if of != nil && own.MemoryOvercommitPercent == 0 {
		own.MemoryOvercommitPercent = of.MemoryOvercommitPercent
	}
	Default(&own)
	return own.CPUOvercommitPercent, own.MemoryOvercommitPercent
}
