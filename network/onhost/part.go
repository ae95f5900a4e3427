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

// Host is the hosts' half: the agent writes the statuses of the plugs on its switch.
func Host(db *store.DB, l *store.Ledger, hostID resource.ID, sw Switch, responders ...Responder) part.Part {
	return part.Part{
		Loops: []*reconcile.Loop{
			NewPlugLoop(db, hostID, store.Statuses(l, network.Plugs, "agent"), sw),
			NewZoneLoop(db, hostID, sw, responders...),
		},
		Chores: []part.Chore{{
			Name: "network/onhost/sweep", Every: time.Minute,
			Do: func(ctx context.Context) error { return Sweep(ctx, db, sw, responders...) },
		}},
	}
}
