package ovn

import (
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
)

// Server brings OVN to the records: the leader is the only writer of its databases.
func Server(db *store.DB, north Sink, south ChassisRemover, w *network.Writers) part.Part {
	return part.Part{
		Loops: []*reconcile.Loop{NewChassisLoop(db, south)},
		Chores: []part.Chore{{
			Name: "network/northbound", Every: relook, Together: together, Do: NewNorthbound(db, north, w).Step,
			Wakes: []resource.Kind{network.Networks.Kind, network.Subnets.Kind, network.Ports.Kind, network.PortBindings.Kind, network.SecurityGroups.Kind,
				host.Hosts.Kind, host.Livenesses.Kind},
		}},
	}
}
