package wiring

import (
	"context"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/image"
	computehost "github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/task"
	"github.com/virga-cloud/virga/engine/task/process"
	"github.com/virga-cloud/virga/host"
	hosthost "github.com/virga-cloud/virga/host/onhost"
	networkhost "github.com/virga-cloud/virga/network/onhost"
	storagehost "github.com/virga-cloud/virga/storage/onhost"
)

// HostDeps are what a host's agent is made with: who it is, and its drivers.
type HostDeps struct {
	DB         *store.DB
	Registry   *store.Registry
	Self       hosthost.Self
	Hardware   hosthost.Hardware
	Hypervisor computehost.Hypervisor
	// Processors are divided among the guests; nil: they are not.
	Processors computehost.Processors
	// Memory is the host's; nil: it is judged by what the guests hold.
	Memory computehost.HostMemory
	// MemoryGroups hold the guests to their parts; nil: balloons alone do.
	MemoryGroups computehost.MemoryGroups
	Switch       networkhost.Switch
	Responders   []networkhost.Responder
	Storage      storagehost.Options
	// Current says why the view may be behind what the servers have; nil: it is not.
	Current func() error
	// Logs keeps serial logs; nil: none are kept. Gone asks a server which VMs were deleted.
	Logs computehost.Logger
	Gone func(context.Context, []resource.ID) ([]resource.ID, error)
	// RecordsIn is the folder of the copies of records that this host keeps; empty: it keeps none. Copies asks a server
	// for them.
	RecordsIn string
	Copies    func(context.Context, compute.CopiesRequest) (compute.CopiesAnswer, error)
	// Converter converts what is staged for images on this host; nil: no server stages anything here.
	Converter *image.Converter
	// Programs are those of this host's tasks; they outlive the agent.
	Programs process.Folder
}

// Host is a host's parts.
type Host struct {
	Parts []part.Part
	// Sweeper ends guests that must not run here.
	Sweeper *computehost.Sweeper
	// Tasks does this host's tasks.
	Tasks *task.Runner
	// Figures are what guests use of this host; nil: nobody looks.
	Figures func(people bool) compute.HostFigures
	// Records are the copies of records that are kept here; nil: none are.
	Records *computehost.RecordCopies
}

// NewHost makes the agent of a host. It reads as the list of what an agent does.
func NewHost(d HostDeps) *Host {
	id := d.Self.HostID
	guests := computehost.Host(d.Registry, computehost.HostDeps{
		DB: d.DB, HostID: id, Hypervisor: d.Hypervisor, Current: d.Current, Logs: d.Logs, Gone: d.Gone, RecordsIn: d.RecordsIn, Copies: d.Copies,
		Processors: d.Processors, Memory: d.Memory, MemoryGroups: d.MemoryGroups, MaySharePages: func() bool { return sharesPages(d.DB, id) }, Inventory: func() host.Inventory { return inventory(d.DB, id) },
		Options: computehost.InstanceOptions{Profile: func() host.Profile { return profile(d.DB, id) }},
	})
	d.Self.Unknown = guests.Sweeper.Unknown
	d.Self.Inventoried, d.Storage.HostID = guests.Supervisor.Inventoried, id
	d.Storage.Current = d.Current
	known := reconcile.Knowledge{DB: d.DB, Current: d.Current}
	h := &Host{Sweeper: guests.Sweeper, Figures: guests.Figures(), Records: guests.Records, Parts: []part.Part{
		hosthost.Host(d.DB, d.Registry, d.Self, d.Hardware),
		guests.Part,
		networkhost.Host(known, d.Registry, id, d.Switch, d.Responders...),
		storagehost.Host(d.DB, d.Registry, d.Storage),
	}}
	if d.Converter != nil {
		h.Parts = append(h.Parts, part.Part{Tasks: []task.Definition{d.Converter.Definition()}})
	}
	h.Tasks = taskRunner(known, id, d.Registry, h.Parts)
	h.Parts = append(h.Parts, part.Part{Loops: []*reconcile.Loop{h.Tasks.Loop()}, Chores: []part.Chore{programs(known, d.Programs)}})
	return h
}

// profile is what the host has found out of itself.
func profile(db *store.DB, id resource.ID) host.Profile {
	if h := host.Find(db.Snapshot(), id); h != nil {
		return h.Status.Profile
	}
	return host.Profile{}
}

// sharesPages reports whether the host may keep pages of the same content once.
func sharesPages(db *store.DB, id resource.ID) bool {
	h := host.Find(db.Snapshot(), id)
	return h != nil && h.Spec.PageSharing == host.ShareWhenShort
}

// inventory is what the host has.
func inventory(db *store.DB, id resource.ID) host.Inventory {
	if h := host.Find(db.Snapshot(), id); h != nil {
		return h.Status.Inventory
	}
	return host.Inventory{}
}
