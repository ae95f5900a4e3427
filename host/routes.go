package host

import (
	"context"
	"net/http"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Events tells people what happened.
type Events interface {
	Record(b *store.Batch, about resource.Ref, name, severity, reason, message, by string, outside ...string)
}

// Register offers hosts: list, show, change of mode, zone and overcommitment, and removal. A host
// is not made by a request; it joins.
func Register(a *httpapi.API, m *Remover, e Events) {
	httpapi.Register(a, Hosts, httpapi.Routes[Spec, Status]{
		Specs: m.Hosts, Verbs: []httpapi.Verb{httpapi.Update, httpapi.Delete}, Default: Default, Check: Check,
		Renaming: httpapi.Named[Spec, Status]("a host keeps the name that it joined with, which is written down on it"),
		Changing: func(_ context.Context, c *httpapi.Call, h *Host, spec *Spec) error {
			if spec.ClusterID == "" {
				spec.ClusterID = h.Spec.ClusterID
			}
			if err := enter(c, h, spec.ClusterID); err != nil {
				return err
			}
			if e != nil && spec.Mode != h.Spec.Mode {
				e.Record(c.Batch, h.Ref(), h.Name, "info", string(spec.Mode), c.User+" made it "+string(spec.Mode), c.User)
			}
			return nil
		},
		Deleting: func(_ context.Context, c *httpapi.Call, h *Host) error {
			return m.Living(c.Batch, c.Snapshot, h, c.User, c.Force)
		},
	})
	httpapi.Action(a, Hosts, httpapi.Act{
		Name: "declare-dead", Summary: "Remove a host that is silent and switched off for good",
		Doc: "Its certificate is refused from then on. Its VMs start elsewhere by their own policy; what lay on its own disks is given up.", Status: http.StatusAccepted,
	}, func(_ context.Context, c *httpapi.Call, h *Host, in *DeadRequest) (*Host, error) {
		return h, m.Dead(c.Batch, c.Snapshot, h, in, c.User)
	})
	httpapi.Register(a, Removals, httpapi.Routes[RemovalSpec, RemovalStatus]{})
	httpapi.Register(a, Livenesses, httpapi.Routes[LivenessSpec, LivenessStatus]{})
}

// enter lets a host into another cluster, which the commit holds as the host needs it. A host stays in one.
func enter(c *httpapi.Call, h *Host, id resource.ID) error {
	if id == h.Spec.ClusterID {
		return nil
	}
	x := c.Snapshot.Lookup(id)
	if x == nil || x.Head().Kind != clusterKind || x.Head().Deleting != nil {
		return fault.New(fault.NotFound, "change host %s: no cluster with id %q; virga cluster list shows them", h.Name, id)
	}
	return nil
}

// RegisterHeartbeat offers agents the route by which they send heartbeats, and servers the one by which
// they pass them on.
func RegisterHeartbeat(a *httpapi.API, r *Relay) {
	type relayed struct{ Body RelayRequest }
	httpapi.Handle(a, httpapi.Op{ID: "relay-heartbeats", Method: http.MethodPost, Path: "/v1/server/heartbeats", Right: httpapi.AsServer,
		Tag: "agent", Status: http.StatusNoContent, Summary: "Pass on to the server that leads which hosts live"},
		func(_ context.Context, c *httpapi.Call, in *relayed) (*struct{}, error) {
			if r.Leads != nil && !r.Leads() {
				return nil, fault.New(fault.Unavailable, "this server does not lead; ask who does, and tell it")
			}
			for _, id := range in.Body.HostIDs {
				r.Listener.Heartbeat(id, c.DB.Now())
			}
			return nil, nil
		})
	httpapi.Handle(a, httpapi.Op{ID: "send-heartbeat", Method: http.MethodPost, Path: "/v1/agent/heartbeat", Right: httpapi.AsHost,
		Tag: "agent", Status: http.StatusNoContent, Summary: "Say that a host lives"},
		func(_ context.Context, c *httpapi.Call, _ *struct{}) (*struct{}, error) {
			if err := Refused(c.Snapshot, c.Host); err != nil {
				return nil, err
			}
			if Find(c.Snapshot, c.Host) == nil {
				return nil, fault.New(fault.NotFound, "no host with id %q: it was removed from the cloud, or has not joined; join again", c.Host)
			}
			r.Heartbeat(c.Host, c.DB.Now())
			return nil, nil
		})
}
