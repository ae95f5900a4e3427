package identity

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Usage is what a project has, by the names of Quota.
type Usage map[string]int64

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
func registerUsage(a *httpapi.API, totals []string) {
	op := httpapi.Op{ID: "list-usage", Method: http.MethodGet, Path: "/v1/usage", Right: httpapi.Known, Tag: "projects",
		Summary: "Say what each project uses of what a quota may limit", Doc: "Who is limited to a project sees that one."}
	httpapi.Handle(a, op, func(_ context.Context, c *httpapi.Call, _ *struct{}) (*usageOut, error) {
		out := &usageOut{}
		out.Body.Items = []ProjectUsage{}
		for _, p := range store.Every(c.Snapshot, Projects) {
			if c.Caller.Project == "" || c.Caller.Project == p.ID {
				used := Usage{}
				for _, total := range totals {
					used[total] = c.Snapshot.Total(p.ID, total)
				}
				out.Body.Items = append(out.Body.Items, ProjectUsage{p.ID, p.Name, used})
			}
		}
		slices.SortFunc(out.Body.Items, func(a, b ProjectUsage) int { return cmp.Compare(a.Project, b.Project) })
		return out, nil
	})
}

// titles are the totals that are not called in messages as they are in quotas.
var titles = map[string]string{"vms": "VMs", "cpus": "virtual CPUs", "memoryMiB": "MiB of memory", "diskMiB": "MiB of disk"}

// Limits gives what holds a project to its quota; nil where it has none.
func Limits(snap *store.Snapshot, project resource.ID) func(growth map[string]int64) error {
	p := store.Find(snap, Projects, project)
	if p == nil || len(p.Spec.Quota) == 0 {
		return nil
	}
	return func(growth map[string]int64) error { return Check(snap, p, growth) }
}

// Check refuses what would exceed a project's quota, with the numbers. What does not grow is never refused:
// a project whose quota was lowered can still shrink.
func Check(snap *store.Snapshot, p *Project, more map[string]int64) error {
	return check(p.Spec.Quota, func(total string) int64 { return snap.Total(p.ID, total) }, more)
}

func check(q Quota, used func(total string) int64, more map[string]int64) error {
	var over []string
	for _, total := range slices.Sorted(maps.Keys(q)) {
		if n := more[total]; n > 0 && used(total)+n > q[total] {
			over = append(over, fmt.Sprintf("%d %s are used, %d more are wanted, the quota is %d", used(total), cmp.Or(titles[total], total), n, q[total]))
		}
	}
	if len(over) == 0 {
		return nil
	}
	return fault.New(fault.Exhausted, "the project's quota: %s; delete something or ask for a higher quota", strings.Join(over, "; "))
}
