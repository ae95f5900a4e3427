package main

import (
	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/observe"
	"github.com/virga-cloud/virga/storage"
)

// serverRights is who writes what on a server. Each line hands out one half of one kind, and
// asking for one twice ends the start.
type serverRights struct {
	identity   identity.Writers
	hosts      *store.SpecWriter[host.Spec, host.Status]
	removals   *store.SpecWriter[host.RemovalSpec, host.RemovalStatus]
	removing   *store.StatusWriter[host.RemovalSpec, host.RemovalStatus]
	lives      *store.SpecWriter[host.LivenessSpec, host.LivenessStatus]
	lifeStatus *store.StatusWriter[host.LivenessSpec, host.LivenessStatus]

	images      *store.SpecWriter[compute.ImageSpec, compute.ImageStatus]
	imageStatus *store.StatusWriter[compute.ImageSpec, compute.ImageStatus]
	vms         *store.SpecWriter[compute.VMSpec, compute.VMStatus]
	compute     compute.Writers
	claims      *store.SpecWriter[placement.ClaimSpec, placement.ClaimStatus]

	resources  *store.SpecWriter[storage.ResourceSpec, storage.ResourceStatus]
	datastores *store.SpecWriter[storage.DatastoreSpec, storage.DatastoreStatus]
	volumes    *store.SpecWriter[storage.VolumeSpec, storage.VolumeStatus]
	storage    storage.Writers

	networks *store.SpecWriter[network.Spec, network.Status]
	subnets  *store.SpecWriter[network.SubnetSpec, network.SubnetStatus]
	ports    *store.SpecWriter[network.PortSpec, network.PortStatus]
	network  *network.Writers

	operations      *store.SpecWriter[operation.Spec, operation.Status]
	operationStatus *store.StatusWriter[operation.Spec, operation.Status]
	events          *store.SpecWriter[observe.EventSpec, observe.EventStatus]
}

func newServerRights(l *store.Ledger) serverRights {
	return serverRights{
		identity:   identity.NewWriters(l),
		hosts:      store.Specs(l, host.Hosts, "api"),
		removals:   store.Specs(l, host.Removals, "api"),
		removing:   store.Statuses(l, host.Removals, "removal loop"),
		lives:      store.Specs(l, host.Livenesses, "liveness loop"),
		lifeStatus: store.Statuses(l, host.Livenesses, "liveness loop"),

		images:      store.Specs(l, compute.Images, "api"),
		imageStatus: store.Statuses(l, compute.Images, "image loop"),
		vms:         store.Specs(l, compute.VMs, "api"),
		compute: compute.Writers{
			VMStatuses:  store.Statuses(l, compute.VMs, "compute"),
			Instances:   store.Specs(l, compute.Instances, "compute"),
			Attachments: store.Specs(l, storage.Attachments, "compute"),
			Plugs:       store.Specs(l, network.Plugs, "compute"),
		},
		claims: store.Specs(l, placement.Claims, "placement"),

		resources:  store.Specs(l, storage.Resources, "api"),
		datastores: store.Specs(l, storage.Datastores, "api"),
		volumes:    store.Specs(l, storage.Volumes, "api"),
		storage:    storage.Rights(l, "storage loops"),

		networks: store.Specs(l, network.Networks, "api"),
		subnets:  store.Specs(l, network.Subnets, "api"),
		ports:    store.Specs(l, network.Ports, "api"),
		network:  network.NewWriters(l),

		operations:      store.Specs(l, operation.Operations, "api"),
		operationStatus: store.Statuses(l, operation.Operations, "operation runner"),
		events:          store.Specs(l, observe.Events, "recorder"),
	}
}
