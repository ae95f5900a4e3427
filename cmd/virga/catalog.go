package main

import (
	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/observe"
	"github.com/virga-cloud/virga/storage"
)

// catalog is every noun that this version knows. A new noun is one line here.
func catalog() *resource.Catalog {
	return resource.NewCatalog(
		identity.Projects, identity.Tokens, identity.JoinTokens,
		host.Hosts, host.Livenesses, host.Removals,
		compute.Images, compute.VMs, compute.Instances,
		storage.Resources, storage.Devices, storage.Datastores, storage.Volumes,
		storage.Allocations, storage.ImageCopies, storage.Attachments,
		network.Networks, network.Subnets, network.Ports, network.Plugs, network.Zones,
		placement.Claims, observe.Events, operation.Operations,
	)
}
