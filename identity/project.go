package identity

import "github.com/virga-cloud/virga/engine/resource"

// DefaultProject is the name of the project that is there from the first start, and stays.
const DefaultProject = "default"

// ProjectSpec is what a tenant may use.
type ProjectSpec struct {
	// Description is for people.
	Description string `json:"description,omitempty"`
	// Quota limits what the project may have; zero fields are unlimited.
	Quota Quota `json:"quota"`
}

// Quota limits a project. Zero: no limit.
type Quota struct {
	// VMs is the number of virtual machines.
	VMs int64 `json:"vms,omitempty"`
	// CPUs is the sum of the virtual CPUs of all VMs.
	CPUs int64 `json:"cpus,omitempty"`
	// MemoryMiB is the sum of the memory of all VMs, in MiB.
	MemoryMiB int64 `json:"memoryMiB,omitempty"`
	// DiskMiB is the sum of the sizes of all volumes, in MiB.
	DiskMiB int64 `json:"diskMiB,omitempty"`
}

// ProjectStatus has nothing to observe yet.
type ProjectStatus struct{ resource.Observed }

// Project owns everything a tenant has.
type Project = resource.Record[ProjectSpec, ProjectStatus]

// projectRef refers to a project.
func projectRef(id resource.ID) resource.Ref { return resource.Ref{Kind: "project", ID: id} }

// Projects is the kind.
var Projects = resource.Define("project", "projects", resource.Options[ProjectSpec, ProjectStatus]{
	Doc: "A tenant: it owns VMs, disks, networks and images.", Scope: resource.InCloud, Tenant: true,
})
