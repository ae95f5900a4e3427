package wiring

import (
	"github.com/virga-cloud/virga/cluster"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/storage"
)

// LocalFolder is the datastore that every host has, below its state folder.
const LocalFolder = "datastore"

// NewHost writes a host of a cluster with a datastore of its own, in a folder below its state folder.
func (r Rights) NewHost(b *store.Batch, id resource.ID, name string, clusterID resource.ID) {
	h := host.New(id, name)
	h.Spec.ClusterID = clusterID
	r.Host.Hosts.Create(b, h)
	local := &storage.Backend{Spec: storage.BackendSpec{Type: storage.Folder, Path: LocalFolder, HostIDs: []resource.ID{id}}}
	local.ID, local.Name = resource.NewID(), "local-"+name
	r.Storage.Backends.Create(b, local)
	d := &storage.Datastore{Spec: storage.DatastoreSpec{BackendID: local.ID}}
	d.Name = local.Name
	r.Storage.Datastores.Create(b, d)
}

// letIn makes a host of one that joins.
func (r Rights) letIn(c *httpapi.Call, name, into string) (resource.ID, error) {
	if store.Named(c.Snapshot, host.Hosts, "", name) != nil {
		return "", fault.New(fault.Exists, "there is a host of this name already; join with --name and another")
	}
	clusterID, err := cluster.Join(c.Snapshot, into)
	if err != nil {
		return "", err
	}
	id := resource.NewID()
	r.NewHost(c.Batch, id, name, clusterID)
	return id, nil
}
