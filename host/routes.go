package host

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Register offers hosts: list, show, change of mode, zone and overcommitment, and removal. A host
// is not made by a request; it joins.
func Register(a *httpapi.API, specs *store.SpecWriter[Spec, Status]) {
	httpapi.Register(a, Hosts, httpapi.Routes[Spec, Status]{
		Specs: specs, Verbs: []httpapi.Verb{httpapi.Update, httpapi.Delete},
		Default: Default, Check: Check,
		Deleting: func(_ context.Context, c *httpapi.Call, h *Host) error { return Unused(c.Snapshot, h) },
	})
	httpapi.Register(a, Livenesses, httpapi.Routes[LivenessSpec, LivenessStatus]{})
}

// RegisterHeartbeat offers agents the route by which they are heard.
func RegisterHeartbeat(a *httpapi.API, l *Listener) {
	httpapi.Handle(a, httpapi.Op{ID: "send-heartbeat", Method: http.MethodPost, Path: "/v1/agent/heartbeat", Right: httpapi.AsHost,
		Tag: "agent", Status: http.StatusNoContent, Summary: "Say that a host lives"},
		func(_ context.Context, c *httpapi.Call, _ *struct{}) (*struct{}, error) {
			if Find(c.Snapshot, c.Host) == nil {
				return nil, fault.New(fault.NotFound, "no host with id %q: it was removed from the cloud, or has not joined; join again", c.Host)
			}
			l.Heard(c.Host, c.DB.Now())
			return nil, nil
		})
}

// Unused refuses with the names of what a tenant still has on a host.
func Unused(s *store.Snapshot, h *Host) error {
	var users []string
	for x := range s.Mentioning(h.ID) {
		head := x.Head()
		if head.Project == "" || slices.Contains([]resource.Kind{"event", "operation"}, head.Kind) {
			continue
		}
		users = append(users, fmt.Sprintf("%s %s of project %s", head.Kind, head.Name, head.Project))
	}
	if len(users) == 0 {
		return nil
	}
	slices.Sort(users)
	shown := strings.Join(users[:min(3, len(users))], ", ")
	if more := len(users) - 3; more > 0 {
		shown += fmt.Sprintf(" and %d more", more)
	}
	return fault.New(fault.Precondition, "remove host %s: it is still used by %s; move or delete these first", h.Name, shown)
}
