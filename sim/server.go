package sim

import (
	"context"
	"slices"
	"time"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/ovn"
	"github.com/virga-cloud/virga/observe"
	"github.com/virga-cloud/virga/storage"
)

var kinds = resource.NewCatalog(
	host.Hosts, host.Livenesses, host.Removals,
	compute.Images, compute.VMs, compute.Instances,
	storage.Resources, storage.Devices, storage.Datastores, storage.Volumes, storage.Allocations, storage.ImageCopies, storage.Attachments,
	network.Networks, network.Subnets, network.Ports, network.Plugs, network.Zones,
	placement.Claims, observe.Events, operation.Operations,
)

// server is the server's daemon: loops, and the functions that the API calls.
type server struct {
	party
	listener *host.Listener

	front       *compute.Front
	migration   operation.Definition
	gate        *placement.Gate
	hosts       *store.SpecWriter[host.Spec, host.Status]
	remover     *host.Remover
	images      *store.SpecWriter[compute.ImageSpec, compute.ImageStatus]
	imageStatus *store.StatusWriter[compute.ImageSpec, compute.ImageStatus]
	resources   *store.SpecWriter[storage.ResourceSpec, storage.ResourceStatus]
	datastores  *store.SpecWriter[storage.DatastoreSpec, storage.DatastoreStatus]
	seeder      network.Seeder
}

func newServer(c *Cluster) *server {
	s := &server{party: party{c: c, name: "server"}}
	s.unreachable = func() string { return "" }
	return s
}

// start wires a server as cmd/virga does.
func (s *server) start() {
	s.begin(nil, func() time.Duration { return s.c.between(0, 10*time.Millisecond) })
	l := store.NewLedger()
	told := store.Specs(l, observe.Events, "recorder")
	events := observe.NewRecorder(s.db, told, "")
	s.gate = placement.NewGate(s.db, store.Specs(l, placement.Claims, "placement"))
	controller := compute.NewController(s.db, compute.Writers{
		VMStatuses:  store.Statuses(l, compute.VMs, "compute"),
		Instances:   store.Specs(l, compute.Instances, "compute"),
		Attachments: store.Specs(l, storage.Attachments, "compute"),
		Plugs:       store.Specs(l, network.Plugs, "compute"),
	}, s.gate, events)
	s.api(l)
	s.migration = controller.Migration()
	s.listener = host.NewListener(0, s.c.Now())
	liveness := &host.LivenessLoop{
		DB: s.db, Listener: s.listener, Specs: store.Specs(l, host.Livenesses, "liveness"), Statuses: store.Statuses(l, host.Livenesses, "liveness"),
		Note: func(b *store.Batch, h *host.Host, severity, reason, message string) {
			events.Record(b, h.Ref(), h.Name, severity, reason, message, "liveness")
		},
	}
	removal := &host.RemovalLoop{DB: s.db, Statuses: store.Statuses(l, host.Removals, "removal loop"), Held: []host.Held{
		host.HeldOf(compute.Instances), host.HeldOf(storage.Attachments), host.HeldOf(network.Plugs), host.MadeBy(storage.Devices),
	}}
	work := operation.NewRunner(s.db, store.Statuses(l, operation.Operations, "runner"), s.migration)
	work.Undone = events.Undone
	writers := network.NewWriters(l)
	s.loops(liveness.Loop(), removal.Loop(), controller.Loop(),
		work.Loop(),
		network.NewNetworkLoop(s.db, writers), network.NewSubnetLoop(s.db, writers), network.NewPortLoop(s.db, writers),
		observe.NewRetention(s.db, told))
	s.loops(storage.NewLoops(s.db, storage.Rights(l, "storage"), storage.Policy{})...)
	s.northbound(writers)
	if err := l.Err(); err != nil {
		s.c.fail("the server's rights: %v", err)
	}
	s.connect()
}

// api takes the rights of the API.
func (s *server) api(l *store.Ledger) {
	s.front = &compute.Front{
		VMs: store.Specs(l, compute.VMs, "api"), Volumes: store.Specs(l, storage.Volumes, "api"), Ports: store.Specs(l, network.Ports, "api"),
		Operations: store.Specs(l, operation.Operations, "api"), Placer: s.gate,
	}
	s.hosts = store.Specs(l, host.Hosts, "api")
	s.images, s.imageStatus = store.Specs(l, compute.Images, "api"), store.Statuses(l, compute.Images, "image loop")
	s.resources, s.datastores = store.Specs(l, storage.Resources, "api"), store.Specs(l, storage.Datastores, "api")
	s.remover = &host.Remover{Hosts: s.hosts, Removals: store.Specs(l, host.Removals, "api"),
		Leaving: func(b *store.Batch, snap *store.Snapshot, h *host.Host) {
			storage.APIRights{Resources: s.resources, Datastores: s.datastores}.Leave(b, snap, h.ID)
		}}
	s.seeder = network.Seeder{Networks: store.Specs(l, network.Networks, "api"), Subnets: store.Specs(l, network.Subnets, "api")}
}

type nowhere struct{}

// Apply implements ovn.Sink.
func (nowhere) Apply(context.Context, []ovn.Row) error { return nil }

// northbound does what ovn.Northbound.Run does, in virtual time.
func (s *server) northbound(w *network.Writers) {
	north := ovn.NewNorthbound(s.db, nowhere{}, w)
	work := s.chore("northbound", time.Minute, func(ctx context.Context) time.Duration {
		if s.db.Revision() == 0 {
			return time.Second
		}
		if north.Step(ctx) != nil {
			return 100 * time.Millisecond
		}
		return time.Minute
	})
	concerns := []resource.Kind{network.Networks.Kind, network.Subnets.Kind, network.Ports.Kind, network.Plugs.Kind, host.Hosts.Kind, host.Livenesses.Kind}
	s.db.Subscribe(func(deltas []store.Delta) {
		for _, d := range deltas {
			x := d.New
			if x == nil {
				x = d.Old
			}
			if slices.Contains(concerns, x.Head().Kind) {
				work.by(s.c.now.Add(10 * time.Millisecond))
			}
		}
	})
}
