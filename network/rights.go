package network

import "github.com/virga-cloud/virga/engine/store"

// Holder lets go of networks, subnets and ports when their last effect is undone; the API puts
// it on every one that it creates.
const Holder = "network"

// AgentHolder lets go of plugs: the tap is gone. Whoever creates a plug puts it on.
const AgentHolder = "agent"

// Writers are the rights of the network loops on the server.
type Writers struct {
	Networks *store.StatusWriter[Spec, Status]
	Subnets  *store.StatusWriter[SubnetSpec, SubnetStatus]
	Ports    *store.StatusWriter[PortSpec, PortStatus]
	Zones    *store.SpecWriter[ZoneSpec, ZoneStatus]
}

// NewWriters takes the rights from the ledger.
func NewWriters(l *store.Ledger) *Writers {
	return &Writers{
		Networks: store.Statuses(l, Networks, Holder),
		Subnets:  store.Statuses(l, Subnets, Holder),
		Ports:    store.Statuses(l, Ports, Holder),
		Zones:    store.Specs(l, Zones, Holder),
	}
}
