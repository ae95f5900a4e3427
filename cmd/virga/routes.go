package main

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/docs/api"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/remote"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/observe"
	"github.com/virga-cloud/virga/storage"
)

// routes offers everything that the cloud has.
func (s *server) routes(front *compute.Front) {
	r := s.rights
	auth := identity.NewAuthenticator(s.db, host.Refused)
	a := httpapi.New(s.db, httpapi.Options{
		Title: "Virga", Version: version, Authenticate: auth.Authenticate, Project: identity.ProjectOf, Note: s.note, Quota: quota, Document: api.Document,
	})
	identity.Register(a, r.identity, s.seeder(), used)
	identity.RegisterGate(a, r.identity, identity.Gate{
		Authority: s.authority, Addresses: func() []string { return s.c.Servers },
		Network: s.overlay,
		NewHost: func(c *httpapi.Call, name string) (resource.ID, error) {
			if store.Named(c.Snapshot, host.Hosts, "", name) != nil {
				return "", fault.New(fault.Exists, "there is a host of this name already; join with --name and another")
			}
			id := resource.NewID()
			s.newHost(c.Batch, id, name)
			return id, nil
		},
	})
	disks := storage.APIRights{Resources: r.resources, Datastores: r.datastores, Volumes: r.volumes}
	host.Register(a, &host.Remover{
		Hosts: r.hosts, Removals: r.removals, Home: func() resource.ID { return s.c.HostID }, User: compute.UserOfHost(s.db.Catalog()),
		Leaving: func(b *store.Batch, snap *store.Snapshot, h *host.Host) { disks.Leave(b, snap, h.ID) },
	}, s.events)
	host.RegisterHeartbeat(a, s.listener)
	front.Register(a)
	compute.RegisterGone(a)
	(&compute.Screens{DB: s.db, Dial: s.dialAgent}).Register(a)
	s.images.Register(a, r.images)
	storage.Register(a, disks)
	network.Register(a, network.APIRights{Networks: r.networks, Subnets: r.subnets, Ports: r.ports})
	httpapi.Register(a, placement.Claims, httpapi.Routes[placement.ClaimSpec, placement.ClaimStatus]{})
	observe.Register(a)
	observe.RegisterExplain(a, compute.Remarks())
	registerOperations(a, r.operations, s.work)
	s.api = a
}

// note remembers what people did, in the same commit; a new project gets its first network.
func (s *server) note(c *httpapi.Call, verb string, about *resource.Meta) {
	if about.Kind == identity.Projects.Kind && verb == string(httpapi.Create) {
		s.seeder().SeedDefaults(c.Batch, about.Name)
	}
	s.events.Record(c.Batch, about.Ref(), about.Name, observe.Info, verb, c.User+" asked: "+verb+" "+string(about.Kind)+" "+about.Name, c.User)
}

// handler is the API, the agents' way to their records, and a mark that the server is ready.
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
	mux.Handle("/", s.api)
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
	d := tls.Dialer{Config: ca.ClientTLS(s.keeper, s.authority.Pool(), ca.HostName(hostID))}
	return d.DialContext(ctx, "tcp", h.Status.Address)
}
