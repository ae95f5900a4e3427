package onhost

import (
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// Host is the hosts' half: the agent writes the status of its own host.
func Host(db *store.DB, l *store.Registry, self Self, m Hardware) part.Part {
	return part.Part{Loops: []*reconcile.Loop{NewLoop(db, self, m, store.Statuses(l, host.Hosts, "agent"))}}
}
