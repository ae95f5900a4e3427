package wiring

import (
	"context"
	"net"
	"time"

	"github.com/virga-cloud/virga/cluster"
	"github.com/virga-cloud/virga/cluster/evacuation"
	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/image"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/task"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/identity"
	"github.com/virga-cloud/virga/identity/ca"
	"github.com/virga-cloud/virga/identity/keyring"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/ovn"
	"github.com/virga-cloud/virga/observe"
	"github.com/virga-cloud/virga/storage"
)

// ServerDeps are what a server is made with.
type ServerDeps struct {
	API      *store.DB // commits of requests
	Leader   *store.DB // commits of loops, which carry the leadership
	Registry *store.Registry
	Listener *host.Listener
	North    ovn.Sink
	South    ovn.ChassisRemover
	// Servers is the way to the other servers; nil: there are none.
	Servers Servers
	// Images is how content is fetched, converted and kept; nil: no image is imported here.
	Images *image.ServiceOptions

	// The rest is for routes alone.

	Authority *ca.Authority
	// Addresses are where hosts reach the servers, Overlay where they reach OVN's database.
	Addresses func() []string
	Overlay   func() string
	// Home is the host that this server runs on.
	Home func() resource.ID
	// Dial opens a secured connection to the agent of a host.
	Dial func(ctx context.Context, hostID resource.ID) (net.Conn, error)
	// AuditFor is how long the audit log is kept.
	AuditFor time.Duration
	// Progress asks a host how far a task is; nil: nobody is asked.
	Progress func(ctx context.Context, t *task.Task) (task.Progress, error)
	// Ring is the keys of secrets.
	Ring *keyring.Ring
}

// Server is a server's parts, and what its requests are made with.
type Server struct {
	Rights
	Parts   []part.Part
	Events  *observe.Recorder
	Front   *compute.Front
	Remover *host.Remover
	Relay   *host.Relay
	Audit   *identity.Audit
}

// NewServer makes a server. It reads as the list of what a server does.
func NewServer(d ServerDeps) *Server {
	r := newRights(d.Registry)
	s := &Server{Rights: r, Events: observe.NewRecorder(d.Leader, r.Events, ""), Relay: relay(d.Listener, d.Servers), Audit: identity.NewAudit(d.API, d.AuditFor)}
	gate := placement.NewGate(d.Leader, r.Claims)
	s.Front = &compute.Front{VMs: r.VMs, Volumes: r.Storage.Volumes, Ports: r.Network.Ports, VMStatuses: r.Compute.VMStatuses,
		VMSnapshots: r.VMSnapshots, Snapshots: r.Storage.VolumeSnapshots, Operations: r.Operations, Placer: gate}
	s.Remover = &host.Remover{Hosts: r.Host.Hosts, Removals: r.Host.Removals, Home: d.Home, User: compute.UserOfHost(d.API.Catalog()),
		Leaving: func(b *store.Batch, snap *store.Snapshot, h *host.Host) { r.Storage.Leave(b, snap, h.ID) }}
	s.Parts = []part.Part{
		identity.Server(identity.ServerDeps{DB: d.Leader, Writers: r.Identity, Auth: identity.NewAuthenticator(d.API, host.Refused), Own: r.Network.Seeder(), Gate: identity.Gate{
			Authority: d.Authority, Addresses: d.Addresses, Network: d.Overlay, NewHost: r.letIn, Removed: host.Refused,
		}, Audit: s.Audit, Ring: d.Ring}),
		host.Server(host.ServerDeps{DB: d.Leader, Rights: r.Host, Listener: d.Listener, Relay: s.Relay, Remover: s.Remover, Events: s.Events, Held: []host.Held{
			host.HeldOf(compute.Instances), host.HeldOf(storage.Attachments), host.HeldOf(network.PortBindings), host.MadeBy(storage.Devices),
		}}),
		compute.Server(compute.ServerDeps{API: d.API, DB: d.Leader, Writers: r.Compute, Pools: r.Pools, Front: s.Front, Events: s.Events, Signer: signer(d.Authority), Returner: r.Returner, Dial: d.Dial}),
		storage.Server(d.Leader, r.Storage, r.StorageLoops),
		network.Server(d.Leader, r.Network, r.NetworkLoops),
		ovn.Server(d.Leader, d.North, d.South, r.NetworkLoops),
		cluster.Server(r.Clusters),
		placement.Server(d.Leader, r.AffinityRules),
		observe.Server(d.Leader, r.Events, compute.Remarks(), compute.Seen(d.Dial)),
		evacuation.Server(d.Leader, r.Evacuations, s.Front, s.Events),
	}
	if d.Images != nil {
		d.Images.Home, d.Images.Progress = d.Home, d.Progress
		s.Parts = append(s.Parts, image.Server(image.NewService(d.Leader, r.Image.Statuses, r.Operations, r.Tasks, *d.Images), r.Image))
	}
	s.Parts = append(s.Parts, operations(d.Leader, r, s.Events.Undone, d.Servers, s.Parts), tasks(d.Leader, r, d.Progress))
	return s
}

// signer is the authority, where there is one.
func signer(a *ca.Authority) compute.Signer {
	if a == nil {
		return nil
	}
	return a
}

// Routes offers everything that the cloud has.
func (s *Server) Routes(a *httpapi.API) {
	for _, p := range s.Parts {
		if p.Routes != nil {
			p.Routes(a)
		}
	}
}

// Rights is who writes what on a server: the rights of each domain, and those that belong to several.
// Each is handed out once; a right that is asked for twice ends the start.
type Rights struct {
	Identity    identity.Writers
	Host        host.Rights
	Image       image.Rights
	Clusters    *cluster.Writer
	VMs         *store.SpecWriter[compute.VMSpec, compute.VMStatus]
	VMSnapshots *store.SpecWriter[compute.VMSnapshotSpec, compute.VMSnapshotStatus]
	Compute     compute.Writers
	Pools       compute.PoolWriters
	Returner    *store.Returner
	// AffinityRules are written by the API, and looked at by a loop.
	AffinityRules placement.RuleWriters
	Evacuations   evacuation.Writers
	Claims        *store.SpecWriter[placement.ClaimSpec, placement.ClaimStatus]
	Storage       storage.APIRights
	StorageLoops  storage.Writers
	Network       network.APIRights
	NetworkLoops  *network.Writers
	Events        *store.SpecWriter[observe.EventSpec, observe.EventStatus]

	Operations      *store.SpecWriter[operation.Spec, operation.Status]
	OperationStatus *store.StatusWriter[operation.Spec, operation.Status]
	Tasks           *store.SpecWriter[task.Spec, task.Status]
}

func newRights(l *store.Registry) Rights {
	return Rights{
		Identity:    identity.NewWriters(l),
		Host:        host.NewRights(l),
		Image:       image.NewRights(l),
		Clusters:    cluster.NewRight(l),
		VMs:         compute.NewAPIRight(l),
		VMSnapshots: compute.NewSnapshotRight(l),
		Compute:     compute.NewWriters(l),
		Pools:       compute.NewPoolWriters(l),
		Returner:    compute.NewReturner(l),

		AffinityRules: placement.NewRuleWriters(l),
		Evacuations:   evacuation.NewWriters(l),
		Claims:        placement.NewRight(l),
		Storage:       storage.NewAPIRights(l),
		StorageLoops:  storage.Rights(l, "storage loops"),
		Network:       network.NewAPIRights(l),
		NetworkLoops:  network.NewWriters(l),
		Events:        observe.NewRight(l),

		Operations:      store.Specs(l, operation.Operations, "api"),
		OperationStatus: store.Statuses(l, operation.Operations, "operation runner"),
		Tasks:           store.Specs(l, task.Tasks, "servers"),
	}
}
