package compute

import (
	"math"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// A pool for which nobody decided about shares weighs as much as a VM of this size.
const (
	poolCPUs      = 4
	poolMemoryMiB = 16 << 10
)

// MaxPoolDepth is how many pools may lie in each other.
const MaxPoolDepth = 8

// PoolSpec is what the VMs and pools in a resource pool get together.
type PoolSpec struct {
	// Description is for people.
	Description string `json:"description,omitempty"`
	// ClusterID is the cluster whose hosts' capacity it divides; its VMs run there. A request may name it; empty:
	// that of its parent, else the cluster default. It is fixed.
	ClusterID resource.ID `json:"clusterID,omitempty" ref:"cluster"`
	// ParentID is the pool that it lies in; a request may name it. Empty: it lies in none. It is fixed.
	ParentID resource.ID `json:"parentID,omitempty" ref:"resourcepool"`
	// ProjectID is the project whose VMs alone may be in it; a request may name it. Empty: those of all projects.
	ProjectID resource.ID `json:"projectID,omitempty" ref:"project"`
	// CPUPolicy is what those in it get together of the cluster's processors; 0 shares: as many as 4 virtual CPUs.
	CPUPolicy
	// MemoryPolicy is what those in it get together of the cluster's memory; 0 shares: as many as 16 GiB.
	MemoryPolicy
}

// PoolPart is what one host has of a resource pool.
type PoolPart struct {
	// HostID is the host.
	HostID resource.ID `json:"hostID"`
	// CPUPolicy and MemoryPolicy are what those in the pool get together there.
	CPUPolicy
	MemoryPolicy
}

// PoolStatus is how a pool is divided now.
type PoolStatus struct {
	resource.Observed
	// CPUReservedMHz is what VMs that are to run, and pools, have reserved in it, in MHz.
	CPUReservedMHz int64 `json:"cpuReservedMHz"`
	// MemoryReservedMiB is what they have reserved of its memory, in MiB.
	MemoryReservedMiB int64 `json:"memoryReservedMiB"`
	// VMs is how many VMs run in it, in the pools in it too.
	VMs int64 `json:"vms"`
	// Parts are what each host with VMs of it has of it. They follow what the VMs demand.
	Parts []PoolPart `json:"parts,omitempty"`
}

// Pool is a resource pool.
type Pool = resource.Record[PoolSpec, PoolStatus]

// Pools is the kind.
var Pools = resource.Define("resourcepool", "resourcepools", resource.Options[PoolSpec, PoolStatus]{
	Doc: "A resource pool: capacity of a cluster that VMs share.", Scope: resource.InCloud, Reach: resource.NamedHost,
	Needs: func(p *Pool) []resource.Need {
		return []resource.Need{
			{Ref: resource.Ref{Kind: "cluster", ID: p.Spec.ClusterID}},
			{Ref: poolRef(p.Spec.ParentID)},
			{Ref: resource.Ref{Kind: "project", ID: p.Spec.ProjectID}},
		}
	},
	Refs: func(p *Pool) (out []resource.Ref) {
		for _, part := range p.Status.Parts {
			out = append(out, host.Ref(part.HostID))
		}
		return out
	},
})

func poolRef(id resource.ID) resource.Ref { return resource.Ref{Kind: "resourcepool", ID: id} }

// CheckPool lists everything that is wrong with a pool's spec, without looking at records.
func CheckPool(s *PoolSpec) []fault.Detail {
	return append(s.CPUPolicy.Check(), s.MemoryPolicy.Check(math.MaxInt64)...)
}

// poolReady says whether the hosts have been told.
func poolReady(p *Pool) (bool, error) { return p.Status.SeenGeneration >= p.Generation, nil }

// createPool gives a new pool its cluster and judges it beside the others.
func createPool(snap *store.Snapshot, b *store.Batch, p *Pool) error {
	parent := store.Find(snap, Pools, p.Spec.ParentID)
	switch {
	case p.Spec.ParentID != "" && parent == nil:
		return fault.New(fault.NotFound, "create resource pool %s: no resource pool %q; see virga pool list", p.Name, p.Spec.ParentID)
	case parent != nil && p.Spec.ClusterID == "":
		p.Spec.ClusterID = parent.Spec.ClusterID
	case parent != nil && p.Spec.ClusterID != parent.Spec.ClusterID:
		return fault.New(fault.Invalid, "create resource pool %s: its parent %s is of another cluster, %s; leave the cluster out",
			p.Name, parent.Name, snap.NameOf(parent.Spec.ClusterID))
	case p.Spec.ClusterID == "":
		usual := snap.NamedOf("cluster", "", "default")
		if usual == nil {
			return fault.New(fault.Invalid, "create resource pool %s: there is no cluster default; say of which cluster it is", p.Name)
		}
		p.Spec.ClusterID = usual.Head().ID
	}
	depth := 1
	for up := parent; up != nil; up = store.Find(snap, Pools, up.Spec.ParentID) {
		depth++
	}
	if depth > MaxPoolDepth {
		return fault.New(fault.Invalid, "create resource pool %s: at most %d pools lie in each other; put it into one that lies less deep", p.Name, MaxPoolDepth)
	}
	return admitPool(snap, b, p, &p.Spec)
}

// changePool judges a changed spec beside the other pools and the VMs.
func changePool(snap *store.Snapshot, b *store.Batch, old *Pool, spec *PoolSpec) error {
	if spec.ClusterID == "" {
		spec.ClusterID = old.Spec.ClusterID
	}
	if spec.ClusterID != old.Spec.ClusterID || spec.ParentID != old.Spec.ParentID {
		return fault.New(fault.Invalid, "change resource pool %s: its cluster and its parent cannot be changed; create another pool, and put the VMs there", old.Name)
	}
	for _, vm := range store.Referring(snap, VMs, old.ID) {
		if vm.Spec.PoolID == old.ID && spec.ProjectID != "" && vm.Project != spec.ProjectID {
			return fault.New(fault.Precondition, "change resource pool %s: VM %s of project %s is in it; take it out first: virga vm resize %s --project %s --pool none",
				old.Name, vm.Name, snap.NameOf(vm.Project), vm.Name, snap.NameOf(vm.Project))
		}
	}
	return admitPool(snap, b, old, spec)
}
