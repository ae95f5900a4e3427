package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/virga-cloud/virga/docs/api"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store/remote"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/observe"
	"github.com/virga-cloud/virga/web"
)

// routes makes the API of everything that the parts offer.
func (s *server) routes() {
	auth := identity.NewAuthenticator(s.db, host.Refused)
	s.api = httpapi.New(s.db, httpapi.Options{
		Title: "Virga", Version: version, Authenticate: auth.Authenticate, Note: s.note, Audit: s.cloud.Audit, Document: api.Document,
		ServiceManager: func() string { return s.c.serviceManager(unitFolder) },
	})
	s.cloud.Routes(s.api)
}

// note remembers what people did, in the same commit; a new project gets its first network.
func (s *server) note(c *httpapi.Call, verb string, about *resource.Meta) {
	if about.Kind == identity.Projects.Kind && verb == string(httpapi.Create) {
		s.cloud.Network.Seeder().SeedDefaults(c.Batch, about.ID)
	}
	s.cloud.Events.Record(c.Batch, about.Ref(), about.Name, observe.Info, verb, c.User+" asked: "+verb+" "+string(about.Kind)+" "+about.Name, c.User)
}

// handler is the API, the console, the agents' way to their records, and a mark that the server is ready.
func (s *server) handler() http.Handler {
	mux := http.NewServeMux()
	auth := identity.NewAuthenticator(s.db, host.Refused)
	mux.Handle("/v1/agent/store/", http.StripPrefix("/v1/agent/store", remote.Handler(s.db.Shared(), func(r *http.Request) (remote.Scope, error) {
		caller, err := auth.Authenticate(r)
		if err != nil {
			return nil, err
		}
		if h := host.Find(s.db.Snapshot(), caller.Host); h == nil {
			return nil, fault.New(fault.Denied, "only a host of this cloud may read records this way")
		}
		return remote.HostScope(s.db.Catalog(), caller.Host, s.db.View), nil
	})))
	mux.HandleFunc("GET /ready", func(w http.ResponseWriter, r *http.Request) {
		if !s.ready.Load() {
			httpapi.Fail(w, r, fault.New(fault.Unavailable, "this host's agent is still starting; ask again in a moment"))
		}
	})
	mux.Handle("/v1/agent/heartbeat", s.life.said(s.api))
	s.local(mux, auth.Authenticate)
	mux.Handle("/", web.Console(s.api))
	return mux
}

// dialAgent opens a connection to the agent of a host; both show certificates.
func (s *server) dialAgent(ctx context.Context, hostID resource.ID) (net.Conn, error) {
	snap := s.db.Snapshot()
	if err := host.Refused(snap, hostID); err != nil {
		return nil, err
	}
	h := host.Find(snap, hostID)
	if h == nil || h.Status.Address == "" {
		return nil, fault.New(fault.Unavailable, "host %s has not told where its agent listens", hostID)
	}
	d := tls.Dialer{Config: ca.ClientTLS(s.rotator, s.authority.Pool(), ca.HostName(hostID))}
	return d.DialContext(ctx, "tcp", h.Status.Address)
}
