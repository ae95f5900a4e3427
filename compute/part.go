package compute

import (
	"context"
	"net"

	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

// Nouns are the kinds of this domain.
var Nouns = []resource.Noun{Images, VMs, VMSnapshots, Instances, Pools}

// NewAPIRight takes the right to write the specs of VMs out of the registry.
func NewAPIRight(l *store.Registry) *store.SpecWriter[VMSpec, VMStatus] {
	return store.Specs(l, VMs, "api")
}

// NewSnapshotRight takes the right to write the specs of snapshots of VMs out of the registry.
func NewSnapshotRight(l *store.Registry) *store.SpecWriter[VMSnapshotSpec, VMSnapshotStatus] {
	return store.Specs(l, VMSnapshots, "api")
}

// NewWriters takes the rights of compute's loops out of the registry. Images are written by image.Rights.
func NewWriters(l *store.Registry) Writers {
	return Writers{
		VMStatuses:   store.Statuses(l, VMs, "compute"),
		VMSnapshots:  store.Statuses(l, VMSnapshots, "compute"),
		Instances:    store.Specs(l, Instances, "compute"),
		Attachments:  store.Specs(l, storage.Attachments, "compute"),
		PortBindings: store.Specs(l, network.PortBindings, "compute"),
	}
}

// NewReturner takes the right to put lost records back out of the registry.
func NewReturner(l *store.Registry) *store.Returner { return store.Returns(l, "api") }

// NewPoolWriters takes the rights to write resource pools out of the registry.
func NewPoolWriters(l *store.Registry) PoolWriters {
	return PoolWriters{Specs: store.Specs(l, Pools, "api"), Statuses: store.Statuses(l, Pools, "compute")}
}

// ServerDeps are what the servers' half needs.
type ServerDeps struct {
	API     *store.DB // for the routes
	DB      *store.DB // for the loops
	Writers Writers
	Pools   PoolWriters
	Front   *Front
	Events  Recorder
	// Signer signs the copies of records that hosts keep, and Returner puts back what a restored backup lacks.
	Signer   Signer
	Returner *store.Returner
	// Dial opens a secured connection to the agent of a host.
	Dial func(ctx context.Context, hostID resource.ID) (net.Conn, error)
}

// Server is the servers' half, besides images (image.Server).
func Server(d ServerDeps) part.Part {
	vms := NewController(d.DB, d.Writers, d.Front.Placer, d.Events)
	people, loops := Asker{Dial: d.Dial, People: true}, Asker{Dial: d.Dial}
	return part.Part{
		Loops:      []*reconcile.Loop{vms.Loop(), vms.SnapshotLoop()},
		Chores:     []part.Chore{(&PoolSpreader{DB: d.DB, Statuses: d.Pools.Statuses, Figures: loops.Hosts}).Chore()},
		Operations: []operation.Definition{vms.Migration()},
		Routes: func(a *httpapi.API) {
			d.Front.Register(a)
			RegisterGone(a)
			RegisterPools(a, d.Pools.Specs)
			people.Register(a)
			screens := &Screens{DB: d.API, Dial: d.Dial}
			screens.Register(a)
			(&Registrar{Screens: screens, Returner: d.Returner, Signer: d.Signer, Events: d.Events}).Register(a)
		},
	}
}
