package wiring

import (
	"context"
	"net/http"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// Servers is the way to the other servers of the cloud. What only one of them knows, because it is told
// each second and is no record, the others ask it for.
type Servers interface {
	// Leads reports whether this server leads.
	Leads() bool
	// Ask makes a request of the server that leads; in and out are JSON, nil: none.
	Ask(ctx context.Context, method, path string, in, out any) error
	// Forward passes a request that was admitted on to the server of a host; empty: the one that leads.
	Forward(w http.ResponseWriter, r *http.Request, server resource.ID, path string)
}

// relay brings heartbeats to the leader. Without other servers this one leads whenever it matters.
func relay(l *host.Listener, s Servers) *host.Relay {
	if s == nil {
		return &host.Relay{Listener: l}
	}
	return &host.Relay{Listener: l, Leads: s.Leads, Tell: func(ctx context.Context, hosts []resource.ID) error {
		return s.Ask(ctx, http.MethodPost, "/v1/server/heartbeats", host.RelayRequest{HostIDs: hosts}, nil)
	}}
}
