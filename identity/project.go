package identity

import "github.com/virga-cloud/virga/engine/resource"

// DefaultProject is the name of the project that is there from the first start, and stays.
const DefaultProject = "default"

// ProjectSpec is what a tenant may use.
type ProjectSpec struct {
	// Description is for people.
	Description string `json:"description,omitempty"`
	// Quota limits what the project may have. What it does not name is not limited.
	Quota Quota `json:"quota,omitempty"`
}

// Quota says how much a project may have, by the name of what is counted: vms, cpus and memoryMiB (of all VMs,
// running or not), diskMiB (the sizes of volumes, and what is stored of images), volumes, images, networks and so on;
// the totals that usage lists. 0: nothing of it may be made. What is not named is not limited.
type Quota map[string]int64

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
