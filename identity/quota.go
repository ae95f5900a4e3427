package identity

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Usage is what a project has, or is about to have more, in the units of Quota.
type Usage struct {
	// VMs is the number of virtual machines.
	VMs int64 `json:"vms"`
	// CPUs is the sum of the virtual CPUs of all VMs.
	CPUs int64 `json:"cpus"`
	// MemoryMiB is the sum of the memory of all VMs, in MiB.
	MemoryMiB int64 `json:"memoryMiB"`
	// DiskMiB is the sum of the sizes of all volumes, in MiB.
	DiskMiB int64 `json:"diskMiB"`
}

// ProjectUsage is what a project has of what its quota limits.
type ProjectUsage struct {
	// ProjectID is the project.
	ProjectID resource.ID `json:"projectID"`
	// Project is its name now.
	Project string `json:"project"`
	// Used is what it has.
	Used Usage `json:"used"`
}

type usageList struct {
	Items []ProjectUsage `json:"items" doc:"The projects, by name."`
}

type usageOut struct{ Body usageList }

// registerUsage offers the totals, which the view keeps: it counts nothing.
func registerUsage(a *httpapi.API, used func(*store.Snapshot, resource.ID) Usage) {
	op := httpapi.Op{ID: "list-usage", Method: http.MethodGet, Path: "/v1/usage", Right: httpapi.Known, Tag: "projects",
		Summary: "Say what each project uses of what its quota limits", Doc: "Who is limited to a project sees that one."}
	httpapi.Handle(a, op, func(_ context.Context, c *httpapi.Call, _ *struct{}) (*usageOut, error) {
		out := &usageOut{}
		out.Body.Items = []ProjectUsage{}
		for _, p := range store.Every(c.Snapshot, Projects) {
			if c.Caller.Project == "" || c.Caller.Project == p.ID {
				out.Body.Items = append(out.Body.Items, ProjectUsage{p.ID, p.Name, used(c.Snapshot, p.ID)})
			}
		}
		slices.SortFunc(out.Body.Items, func(a, b ProjectUsage) int { return cmp.Compare(a.Project, b.Project) })
		return out, nil
	})
}

// Check refuses what would exceed a quota, with the numbers. What does not grow is never refused:
// a project whose quota was lowered can still shrink.
func Check(q Quota, used, more Usage) error {
	var over []string
	for _, l := range []struct {
		what              string
		quota, used, more int64
	}{
		{"VMs", q.VMs, used.VMs, more.VMs},
		{"virtual CPUs", q.CPUs, used.CPUs, more.CPUs},
		{"MiB of memory", q.MemoryMiB, used.MemoryMiB, more.MemoryMiB},
		{"MiB of disk", q.DiskMiB, used.DiskMiB, more.DiskMiB},
	} {
		if l.quota > 0 && l.more > 0 && l.used+l.more > l.quota {
			over = append(over, fmt.Sprintf("%d %s are used, %d more are wanted, the quota is %d", l.used, l.what, l.more, l.quota))
		}
	}
	if len(over) == 0 {
		return nil
	}
	return fault.New(fault.Exhausted, "the project's quota: %s; delete something or ask for a higher quota", strings.Join(over, "; "))
}
