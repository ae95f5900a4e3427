package onhost

import (
	"context"
	"time"

	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
)

// Host is the hosts' half: the agent writes the statuses of the port bindings on its switch.
func Host(known reconcile.Knowledge, l *store.Registry, hostID resource.ID, sw Switch, responders ...Responder) part.Part {
	db := known.DB
	return part.Part{
		Loops: []*reconcile.Loop{
			NewPortBindingLoop(db, hostID, store.Statuses(l, network.PortBindings, "agent"), sw),
			NewDNSZoneLoop(db, hostID, sw, responders...),
		},
		Chores: []part.Chore{{
			Name: "network/onhost/sweep", Every: time.Minute,
			Do: func(ctx context.Context) error { return Sweep(ctx, known, sw, responders...) },
		}},
	}
}
