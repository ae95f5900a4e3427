package cluster

import (
	"context"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// Register offers clusters.
func Register(a *httpapi.API, w *Writer) {
	httpapi.Register(a, Clusters, httpapi.Routes[Spec, Status]{
		Specs: w, Default: Default, Check: Check,
		Ready:    func(*Cluster) (bool, error) { return true, nil },
		Renaming: httpapi.Named[Spec, Status]("new hosts are put into it by its name", DefaultName),
		Deleting: func(_ context.Context, c *httpapi.Call, x *Cluster) error {
			return Unused(c.Snapshot, x)
		},
	})
}

// Unused refuses to delete a cluster that has hosts.
func Unused(snap *store.Snapshot, x *Cluster) error {
	var names []string
	for _, h := range store.Referring(snap, host.Hosts, x.ID) {
		names = append(names, h.Name)
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	more := ""
	if n := len(names) - 5; n > 0 {
		names, more = names[:5], " and others"
	}
	return fault.New(fault.Precondition, "delete cluster %s: it has hosts (%s%s); put them into another cluster first: virga host set %s --cluster NAME",
		x.Name, strings.Join(names, ", "), more, names[0])
}

// EnsureDefault gives the cluster default, and makes it in a cloud that has no cluster.
func EnsureDefault(b *store.Batch, snap *store.Snapshot, w *Writer) resource.ID {
	if all := store.Every(snap, Clusters); len(all) > 0 {
		for _, x := range all {
			if x.Name == DefaultName {
				return x.ID
			}
		}
		return all[0].ID
	}
	x := &Cluster{}
	x.ID, x.Name = resource.NewID(), DefaultName
	Default(&x.Spec)
	w.Create(b, x)
	return x.ID
}

// Join finds the cluster that a new host goes into, by its name; none: default. The commit holds it, as the host needs it.
func Join(snap *store.Snapshot, name string) (resource.ID, error) {
	if name == "" {
		name = DefaultName
	}
	x := store.Named(snap, Clusters, "", name)
	if x == nil {
		return "", fault.New(fault.NotFound, "no cluster %q; virga cluster list shows them, join with --cluster and one of them", name)
	}
	if x.Deleting != nil {
		return "", fault.New(fault.Precondition, "cluster %s is being deleted; choose another", name)
	}
	return x.ID, nil
}
