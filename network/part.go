package network

import (
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Nouns are the kinds of this domain.
var Nouns = []resource.Noun{Networks, Subnets, Ports, PortBindings, DNSZones, SecurityGroups}

// NewAPIRights takes the rights of the API out of the registry. The specs of port bindings are
// compute's.
func NewAPIRights(l *store.Registry) APIRights {
	return APIRights{
		Networks: store.Specs(l, Networks, "api"),
		Subnets:  store.Specs(l, Subnets, "api"),
		Ports:    store.Specs(l, Ports, "api"),
		Groups:   store.Specs(l, SecurityGroups, "api"),
	}
}

// Writers are the rights of the network loops on the server.
type Writers struct {
	Networks *store.StatusWriter[Spec, Status]
	Subnets  *store.StatusWriter[SubnetSpec, SubnetStatus]
	Ports    *store.StatusWriter[PortSpec, PortStatus]
	DNSZones *store.SpecWriter[DNSZoneSpec, DNSZoneStatus]
	Groups   *store.StatusWriter[SecurityGroupSpec, SecurityGroupStatus]
}

// NewWriters takes the rights from the registry.
func NewWriters(l *store.Registry) *Writers {
	return &Writers{
		Networks: store.Statuses(l, Networks, Holder),
		Subnets:  store.Statuses(l, Subnets, Holder),
		Ports:    store.Statuses(l, Ports, Holder),
		DNSZones: store.Specs(l, DNSZones, Holder),
		Groups:   store.Statuses(l, SecurityGroups, Holder),
	}
}

// Seeder gives what makes and removes the network of a project.
func (w APIRights) Seeder() Seeder {
	return Seeder{Networks: w.Networks, Subnets: w.Subnets, Groups: w.Groups}
}

// Server is the servers' half, besides OVN (ovn.Server).
func Server(db *store.DB, api APIRights, loops *Writers) part.Part {
	return part.Part{
		Loops:  []*reconcile.Loop{NewNetworkLoop(db, loops), NewSubnetLoop(db, loops), NewPortLoop(db, loops)},
		Routes: func(a *httpapi.API) { Register(a, api) },
	}
}
