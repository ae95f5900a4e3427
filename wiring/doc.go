// Package wiring is the list of parts: what a server and what a host are made of.
//
// The daemon (cmd/virga) and the simulator (sim) both run it and differ in what they give it: real or
// simulated drivers. Each domain says in its part.go what it brings and who writes what (see
// engine/part); the registry, which the caller makes, sees to it that no right is handed out twice.
package wiring

import (
	"slices"

	"github.com/virga-cloud/virga/cluster"
	"github.com/virga-cloud/virga/cluster/evacuation"
	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/task"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/observe"
	"github.com/virga-cloud/virga/storage"
)

// Catalog is every noun that this version knows.
func Catalog() *resource.Catalog {
	return resource.NewCatalog(slices.Concat(
		identity.Nouns, host.Nouns, cluster.Nouns, compute.Nouns, storage.Nouns, network.Nouns, placement.Nouns, evacuation.Nouns, observe.Nouns,
		[]resource.Noun{operation.Operations, task.Tasks},
	)...)
}
