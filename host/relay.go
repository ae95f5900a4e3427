package host

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
)

// Relay brings heartbeats to the server that leads, whichever one they reached. Between two servers
// they go together, twice in a second: their cost does not grow with the number of hosts, and no store
// is written.
type Relay struct {
	// Listener is this server's; it decides while this server leads.
	Listener *Listener
	// Leads reports whether this server leads.
	Leads func() bool
	// Tell tells the server that leads.
	Tell func(ctx context.Context, hosts []resource.ID) error

	mu      sync.Mutex
	pending map[resource.ID]bool
}

// RelayRequest names the hosts whose heartbeats another server took.
type RelayRequest struct {
	// HostIDs are the hosts.
	HostIDs []resource.ID `json:"hostIDs" maxItems:"100000"`
}

const relayEvery = 500 * time.Millisecond

// Heartbeat takes one.
func (r *Relay) Heartbeat(id resource.ID, at time.Time) {
	if r.Leads == nil || r.Leads() {
		r.Listener.Heartbeat(id, at)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pending == nil {
		r.pending = map[resource.ID]bool{}
	}
	r.pending[id] = true
}

// Pass tells the server that leads what came since the last time. What cannot be told is dropped: a
// host that lives says so again within a second.
func (r *Relay) Pass(ctx context.Context, now time.Time) error {
	r.mu.Lock()
	hosts := slices.Sorted(maps.Keys(r.pending))
	clear(r.pending)
	r.mu.Unlock()
	switch {
	case len(hosts) == 0:
		return nil
	case r.Leads():
		for _, id := range hosts {
			r.Listener.Heartbeat(id, now)
		}
		return nil
	}
	return r.Tell(ctx, hosts)
}

// Run passes on until ctx ends.
func (r *Relay) Run(ctx context.Context, now func() time.Time) {
	tick := time.NewTicker(relayEvery)
	defer tick.Stop()
	for failing := false; ; {
		err := r.Pass(ctx, now())
		if err != nil && !failing && ctx.Err() == nil {
			slog.Warn("heartbeats cannot be passed on to the server that leads", "error", err)
		}
		failing = err != nil
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
