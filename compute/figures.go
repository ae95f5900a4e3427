package compute

import (
	"cmp"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Figures are what a VM has and uses of its host, as the host's agent saw in the last two seconds. They are no
// record: whoever wants them asks the host.
type Figures struct {
	// CPUEntitledMHz is what the VM gets of its host's processors as long as others want theirs, in MHz.
	CPUEntitledMHz int64 `json:"cpuEntitledMHz"`
	// CPUDemandMHz is what it would have used, had it had all: what its threads ran and waited to run.
	CPUDemandMHz int64 `json:"cpuDemandMHz"`
	// CPUUsedMHz is what it used.
	CPUUsedMHz int64 `json:"cpuUsedMHz"`
	// CPUReadyMillis is how long its threads were ready to run and waited for a processor, all together, in ms of a
	// second; -1: not measured yet, which begins with the first that asks.
	CPUReadyMillis int64 `json:"cpuReadyMillis"`
	// Memory is what it has of its host's memory; none: nobody has looked.
	Memory *MemoryFigures `json:"memory,omitempty"`
}

// MemoryFigures are what a VM has of its host's memory, in MiB.
type MemoryFigures struct {
	// EntitledMiB is what it gets as long as others want theirs.
	EntitledMiB int64 `json:"entitledMiB"`
	// ActiveMiB is what its programs use.
	ActiveMiB int64 `json:"activeMiB"`
	// BalloonedMiB is what its balloon has taken from it.
	BalloonedMiB int64 `json:"balloonedMiB"`
	// ResidentMiB is what its process holds of the host's memory.
	ResidentMiB int64 `json:"residentMiB"`
	// SwappedMiB is what of it the host has swapped.
	SwappedMiB int64 `json:"swappedMiB"`
	// SharedMiB is what of it is one with pages of the same content.
	SharedMiB int64 `json:"sharedMiB"`
}

// HostFigures are those of a host, of all that runs there.
type HostFigures struct {
	// CPUMHz is what its processors have, CPUUsedMHz what everything on it used in the last second.
	CPUMHz     int64 `json:"cpuMHz"`
	CPUUsedMHz int64 `json:"cpuUsedMHz"`
	// CPUShort says that its processors had hardly a pause in the last second.
	CPUShort bool `json:"cpuShort"`
	// Guests are those of the instances there.
	Guests map[resource.ID]Figures `json:"guests"`
	// PoolsMHz is what resource pools are entitled to there, in MHz.
	PoolsMHz map[resource.ID]int64 `json:"poolsMHz,omitempty"`
}

// How long a host may take to tell its figures, how many are asked at once, and how much an answer may hold.
const (
	figuresWait  = 2 * time.Second
	askedAtOnce  = 32
	longestSheet = 8 << 20
)

// Asker asks hosts for their figures.
type Asker struct {
	// Dial opens a secured connection to the agent of a host.
	Dial func(ctx context.Context, hostID resource.ID) (net.Conn, error)
	// People: it asks for somebody who looks, so that more is measured.
	People bool
}

// Host asks one.
func (a Asker) Host(ctx context.Context, id resource.ID) (out HostFigures, err error) {
	ctx, stop := context.WithTimeout(ctx, figuresWait)
	defer stop()
	way := &http.Transport{DisableKeepAlives: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return a.Dial(ctx, id) }}
	where := "https://agent/figures"
	if a.People {
		where += "?people"
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, where, nil)
	if err != nil {
		return out, err
	}
	answer, err := way.RoundTrip(request)
	if err != nil {
		return out, fault.New(fault.Unavailable, "ask host %s for its figures: %w", id, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return out, fault.New(fault.Unavailable, "ask host %s for its figures: it answered %s", id, answer.Status)
	}
	return out, json.NewDecoder(http.MaxBytesReader(nil, answer.Body, longestSheet)).Decode(&out)
}

// Hosts asks many at once. One that does not answer in time is left out.
func (a Asker) Hosts(ctx context.Context, ids []resource.ID) map[resource.ID]HostFigures {
	out := map[resource.ID]HostFigures{}
	if a.Dial == nil {
		return out
	}
	var mu sync.Mutex
	var all sync.WaitGroup
	slots := make(chan struct{}, askedAtOnce)
	for _, id := range ids {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if f, err := a.Host(ctx, id); err == nil {
				mu.Lock()
				defer mu.Unlock()
				out[id] = f
			}
		})
	}
	all.Wait()
	return out
}

// VMFigures is a line of `virga vm top`.
type VMFigures struct {
	// ID, Name and Project are the VM's.
	ID      resource.ID `json:"id"`
	Name    string      `json:"name"`
	Project string      `json:"project"`
	// Host is where it runs; told to operators.
	Host string `json:"host,omitempty"`
	// Pool is its resource pool.
	Pool string `json:"pool,omitempty"`
	// CPUs and MemoryMiB are its size.
	CPUs      int64 `json:"cpus"`
	MemoryMiB int64 `json:"memoryMiB"`
	Figures
}

// PoolFigures is a line of `virga pool top`.
type PoolFigures struct {
	// ID and Name are the pool's, Parent the name of the one that it lies in.
	ID     resource.ID `json:"id"`
	Name   string      `json:"name"`
	Parent string      `json:"parent,omitempty"`
	// VMs is how many of its VMs, and of the pools in it, have told.
	VMs int64 `json:"vms"`
	// CPUReservationMHz and CPULimitMHz are its own.
	CPUReservationMHz int64 `json:"cpuReservationMHz"`
	CPULimitMHz       int64 `json:"cpuLimitMHz"`
	Figures
}

// plus sums what two have. What one of them does not know the sum does not.
func (f Figures) plus(o Figures) Figures {
	f.CPUEntitledMHz, f.CPUDemandMHz, f.CPUUsedMHz = f.CPUEntitledMHz+o.CPUEntitledMHz, f.CPUDemandMHz+o.CPUDemandMHz, f.CPUUsedMHz+o.CPUUsedMHz
	if f.CPUReadyMillis += o.CPUReadyMillis; o.CPUReadyMillis < 0 || f.CPUReadyMillis < o.CPUReadyMillis {
		f.CPUReadyMillis = -1
	}
	if o.Memory == nil {
		return f
	}
	sum := *o.Memory
	if m := f.Memory; m != nil {
		sum.EntitledMiB, sum.ActiveMiB, sum.BalloonedMiB = sum.EntitledMiB+m.EntitledMiB, sum.ActiveMiB+m.ActiveMiB, sum.BalloonedMiB+m.BalloonedMiB
		sum.ResidentMiB, sum.SwappedMiB, sum.SharedMiB = sum.ResidentMiB+m.ResidentMiB, sum.SwappedMiB+m.SwappedMiB, sum.SharedMiB+m.SharedMiB
	}
	f.Memory = &sum
	return f
}

// vmSheet are the lines of VMs, those that use most first. Hosts are named to operators.
func vmSheet(snap *store.Snapshot, vms []*VM, told map[resource.ID]HostFigures, operator bool) []VMFigures {
	out := []VMFigures{}
	for _, vm := range vms {
		i := Find(snap, vm)
		if i == nil {
			continue
		}
		f, there := told[i.Spec.HostID].Guests[i.ID]
		if !there {
			continue
		}
		line := VMFigures{ID: vm.ID, Name: vm.Name, Project: snap.NameOf(vm.Project), CPUs: i.Spec.CPUs, MemoryMiB: i.Spec.MemoryMiB, Figures: f}
		if vm.Spec.PoolID != "" {
			line.Pool = snap.NameOf(vm.Spec.PoolID)
		}
		if operator {
			line.Host = snap.NameOf(i.Spec.HostID)
		}
		out = append(out, line)
	}
	slices.SortStableFunc(out, func(a, b VMFigures) int {
		return cmp.Or(cmp.Compare(b.CPUUsedMHz, a.CPUUsedMHz), cmp.Compare(a.Project, b.Project), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// poolSheet are the lines of all pools, a pool before those in it.
func poolSheet(snap *store.Snapshot, told map[resource.ID]HostFigures) []PoolFigures {
	sums, vms := map[resource.ID]Figures{}, map[resource.ID]int64{}
	for _, i := range store.Every(snap, Instances) {
		f, there := told[i.Spec.HostID].Guests[i.ID]
		if !there {
			continue
		}
		f.CPUEntitledMHz = 0 // that of a pool is not the sum of what those in it get: some do not demand theirs
		at := store.Find(snap, Pools, i.Spec.PoolID)
		for ; at != nil; at = store.Find(snap, Pools, at.Spec.ParentID) {
			sums[at.ID], vms[at.ID] = sums[at.ID].plus(f), vms[at.ID]+1
		}
	}
	out := []PoolFigures{}
	for _, p := range parentsFirst(store.Every(snap, Pools)) {
		line := PoolFigures{ID: p.ID, Name: p.Name, VMs: vms[p.ID], CPUReservationMHz: p.Spec.CPUReservationMHz, CPULimitMHz: p.Spec.CPULimitMHz, Figures: sums[p.ID]}
		if p.Spec.ParentID != "" {
			line.Parent = snap.NameOf(p.Spec.ParentID)
		}
		for _, h := range told {
			line.CPUEntitledMHz += h.PoolsMHz[p.ID]
		}
		out = append(out, line)
	}
	return out
}

type (
	figuresIn struct {
		Project string   `path:"project" doc:"Name of the project."`
		Name    []string `query:"name,explode" doc:"Only VMs with these names."`
	}
	allFiguresIn struct {
		Name []string `query:"name,explode" doc:"Only VMs with these names."`
	}
	vmFiguresOut   struct{ Body VMFiguresList }
	poolFiguresOut struct{ Body PoolFiguresList }
)

// VMFiguresList is what VMs use of their hosts.
type VMFiguresList struct {
	// Items are the VMs that run, those that use most first.
	Items []VMFigures `json:"items"`
}

// PoolFiguresList is what the VMs of resource pools use of their hosts.
type PoolFiguresList struct {
	// Items are the pools, each before those in it.
	Items []PoolFigures `json:"items"`
}

// Register offers figures.
func (a Asker) Register(api *httpapi.API) {
	vms := func(ctx context.Context, c *httpapi.Call, names []string) (*vmFiguresOut, error) {
		var wanted []*VM
		for _, vm := range store.Every(c.Snapshot, VMs) {
			if (c.Project == "" || vm.Project == c.Project) && (len(names) == 0 || slices.Contains(names, vm.Name)) && c.May(httpapi.Read, vm.Project) {
				wanted = append(wanted, vm)
			}
		}
		out := &vmFiguresOut{}
		out.Body.Items = vmSheet(c.Snapshot, wanted, a.Hosts(ctx, hostsOf(c.Snapshot, wanted)), c.May(httpapi.Admin, ""))
		return out, nil
	}
	op := httpapi.Op{ID: "get-vm-figures", Method: http.MethodGet, Path: "/v1/projects/{project}/vm-figures", Action: "vm.read", Right: httpapi.Read, Tag: "vms",
		Summary: "Say what the VMs that run use of their hosts", Doc: "It is asked of the hosts; VMs on one that does not answer are left out."}
	httpapi.Handle(api, op, func(ctx context.Context, c *httpapi.Call, in *figuresIn) (*vmFiguresOut, error) {
		return vms(ctx, c, in.Name)
	})
	op.ID, op.Path, op.Summary = "get-all-vm-figures", "/v1/vm-figures", op.Summary+", in all projects"
	httpapi.Handle(api, op, func(ctx context.Context, c *httpapi.Call, in *allFiguresIn) (*vmFiguresOut, error) {
		return vms(ctx, c, in.Name)
	})
	httpapi.Handle(api, httpapi.Op{ID: "get-resourcepool-figures", Method: http.MethodGet, Path: "/v1/resourcepool-figures", Action: "resourcepool.read", Right: httpapi.Admin, Tag: "resourcepools",
		Summary: "Say what the VMs of resource pools use of their hosts", Doc: "It is asked of the hosts; VMs on one that does not answer are left out."},
		func(ctx context.Context, c *httpapi.Call, _ *struct{}) (*poolFiguresOut, error) {
			var ids []resource.ID
			for _, p := range store.Every(c.Snapshot, Pools) {
				for _, part := range p.Status.Parts {
					ids = append(ids, part.HostID)
				}
			}
			slices.Sort(ids)
			out := &poolFiguresOut{}
			out.Body.Items = poolSheet(c.Snapshot, a.Hosts(ctx, slices.Compact(ids)))
			return out, nil
		})
}

// hostsOf are the hosts where VMs run, each once.
func hostsOf(snap *store.Snapshot, vms []*VM) (out []resource.ID) {
	for _, vm := range vms {
		if i := Find(snap, vm); i != nil {
			out = append(out, i.Spec.HostID)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}
