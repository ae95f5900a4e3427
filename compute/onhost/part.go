package onhost

import (
	"context"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// HostDeps are what the hosts' half needs.
type HostDeps struct {
	DB         *store.DB
	HostID     resource.ID
	Hypervisor Hypervisor
	Options    InstanceOptions
	// Current says why the view may be behind what the servers have; nil: it is not.
	Current func() error
	// Processors are divided among the guests; nil: they are not. Inventory is what the host has.
	Processors Processors
	// Memory is the host's; nil: it is judged by what the guests hold.
	Memory HostMemory
	// MemoryGroups hold the guests to their parts; nil: balloons alone do.
	MemoryGroups MemoryGroups
	// MaySharePages is the policy of the host; nil: it may not.
	MaySharePages func() bool
	Inventory     func() host.Inventory
	// Logs keeps serial logs; nil: none are kept. Gone asks a server which VMs were deleted.
	Logs Logger
	Gone func(context.Context, []resource.ID) ([]resource.ID, error)
	// RecordsIn is the folder of the copies of records that this host keeps; empty: it keeps none. Copies asks a server
	// for them.
	RecordsIn string
	Copies    func(context.Context, compute.CopiesRequest) (compute.CopiesAnswer, error)
}

// Half is the hosts' half. The agent writes the statuses of the instances of its host.
type Half struct {
	part.Part
	Supervisor *Supervisor
	Sweeper    *Sweeper
	// Divider is nil where processors are not divided.
	Divider *Divider
	// Memory is nil where memory is not divided.
	Memory *MemoryDivider
	// Records is nil where no copies of records are kept.
	Records *RecordCopies
}

// Host makes the hosts' half.
func Host(l *store.Registry, d HostDeps) Half {
	h := Half{
		Supervisor: NewSupervisor(d.DB, d.HostID, store.Statuses(l, compute.Instances, "agent"), d.Hypervisor, d.Options),
		Sweeper:    NewSweeper(reconcile.Knowledge{DB: d.DB, Current: d.Current}, d.Hypervisor),
	}
	h.Loops = []*reconcile.Loop{h.Supervisor.Loop()}
	h.Chores = []part.Chore{{Name: "compute/onhost/orphans", Every: orphanWait / 4, Do: h.Sweeper.Sweep}}
	if h.Divider = NewDivider(d.DB, d.Hypervisor, d.Processors, d.Inventory); h.Divider != nil {
		h.Chores = append(h.Chores, part.Chore{Name: "compute/onhost/processors", Every: divideEvery, Do: h.Divider.Divide})
	}
	if h.Memory = NewMemoryDivider(d.DB, d.Hypervisor, d.Memory, d.MemoryGroups, d.Inventory); h.Memory != nil {
		h.Memory.maySharePages = d.MaySharePages
		if d.Options.Profile != nil {
			h.Memory.hugePages = func() int64 { return d.Options.Profile().HugeMiB() }
		}
		h.Chores = append(h.Chores, part.Chore{Name: "compute/onhost/memory", Every: divideMemoryEvery, Do: h.Memory.Divide})
	}
	if d.Logs != nil {
		logs := &LogSweeper{Known: reconcile.Knowledge{DB: d.DB, Current: d.Current}, Logs: d.Logs, Gone: d.Gone}
		h.Chores = append(h.Chores, part.Chore{Name: "compute/onhost/logs", Every: logSweep, Do: logs.Sweep})
	}
	if d.RecordsIn != "" {
		h.Records = &RecordCopies{Known: reconcile.Knowledge{DB: d.DB, Current: d.Current}, Dir: d.RecordsIn, Ask: d.Copies}
		h.Chores = append(h.Chores, h.Records.Chore())
	}
	return h
}
