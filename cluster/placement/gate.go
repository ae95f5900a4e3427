package placement

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/storage"
)

// Gate is the one place where claims are made. One request at a time is decided and committed;
// the next one sees its claim. Only the leader has a gate: its commits are fenced.
type Gate struct {
	db     *store.DB
	claims *store.SpecWriter[ClaimSpec, ClaimStatus]
	mu     sync.Mutex
}

// NewGate makes the gate.
func NewGate(db *store.DB, claims *store.SpecWriter[ClaimSpec, ClaimStatus]) *Gate {
	return &Gate{db: db, claims: claims}
}

var _ compute.Placer = (*Gate)(nil)

// Check implements compute.Placer.
func (g *Gate) Check(r compute.PlaceRequest) error {
	_, err := g.choose(g.db.Snapshot(), r)
	return err
}

// Place implements compute.Placer.
func (g *Gate) Place(ctx context.Context, r compute.PlaceRequest, fill func(*store.Batch, resource.ID) error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	chosen, err := g.choose(g.db.Snapshot(), r)
	if err != nil {
		return err
	}
	b := g.db.Begin()
	claim := &Claim{Spec: ClaimSpec{
		Workload: r.VM.Ref(), HostID: chosen.ID, CPUs: r.VM.Spec.CPUs, MemoryMiB: r.VM.Spec.MemoryMiB, Epoch: r.Epoch,
		Why: fmt.Sprintf("%s; %s had the most free capacity (%d of %d vCPUs, %d of %d MiB free before)", r.Why, chosen.Name,
			chosen.CPUs-chosen.ClaimedCPUs, chosen.CPUs, chosen.MemoryMiB-chosen.ClaimedMemoryMiB, chosen.MemoryMiB),
	}}
	claim.Project = r.VM.Project
	claim.Name = fmt.Sprintf("%s-%d", r.VM.ID, r.Epoch)
	g.claims.Create(b, claim)
	if err := fill(b, chosen.ID); err != nil {
		return err
	}
	return g.db.Commit(ctx, b)
}

// Release implements compute.Placer.
func (g *Gate) Release(b *store.Batch, vm *compute.VM, keep resource.ID) {
	for _, c := range store.Referring(g.db.Snapshot(), Claims, vm.ID) {
		if c.Spec.HostID != keep {
			g.claims.Delete(b, c)
		}
	}
}

func (g *Gate) choose(snap *store.Snapshot, r compute.PlaceRequest) (Candidate, error) {
	need := Need{
		CPUs: r.VM.Spec.CPUs, MemoryMiB: r.VM.Spec.MemoryMiB, OnHost: r.OnHost, NotOn: r.NotOn, MachineType: r.MachineType,
	}
	if need.OnHost == "" {
		need.OnHost = r.VM.Spec.HostID
	}
	chosen, refused, ok := Choose(Candidates(snap, r.VM), need)
	if !ok {
		return Candidate{}, Explain("VM "+r.VM.Name, refused)
	}
	return chosen, nil
}

// Candidates gathers the facts about every host, for the disks of one VM.
func Candidates(snap *store.Snapshot, vm *compute.VM) []Candidate {
	volumes := vmVolumes(snap, vm)
	var out []Candidate
	for _, h := range store.Every(snap, host.Hosts) {
		if h.Deleting != nil {
			continue
		}
		inv := h.Status.Inventory
		c := Candidate{
			ID: h.ID, Name: h.Name, Mode: h.Spec.Mode, State: host.StateOf(snap, h.ID), MachineType: h.Status.Profile.MachineType,
			CPUs:      inv.Threads * h.Spec.CPUOvercommitPercent / 100,
			MemoryMiB: (inv.MemoryMiB - inv.ReservedMemoryMiB) * h.Spec.MemoryOvercommitPercent / 100,
			Unreached: unreached(snap, h.ID, volumes),
		}
		if len(h.Status.Problems) > 0 {
			c.Problem = h.Status.Problems[0].Message
		}
		if c.State == host.Alive && inv.Threads == 0 {
			c.State = host.Unknown // alive, but it has not told what it has
		}
		for _, claim := range store.Referring(snap, Claims, h.ID) {
			c.ClaimedCPUs += claim.Spec.CPUs
			c.ClaimedMemoryMiB += claim.Spec.MemoryMiB
		}
		out = append(out, c)
	}
	return out
}

func vmVolumes(snap *store.Snapshot, vm *compute.VM) []*storage.Volume {
	var out []*storage.Volume
	for _, d := range vm.Spec.Disks {
		if v := store.Find(snap, storage.Volumes, d.VolumeID); v != nil {
			out = append(out, v)
		}
	}
	return out
}

func unreached(snap *store.Snapshot, hostID resource.ID, volumes []*storage.Volume) string {
	for _, v := range volumes {
		wanted := v.Status.DatastoreID
		if wanted == "" {
			wanted = v.Spec.DatastoreID
		}
		if wanted == "" {
			if !reachesAny(snap, hostID) {
				return "it reaches no datastore"
			}
			continue
		}
		d := store.Find(snap, storage.Datastores, wanted)
		if d == nil {
			return fmt.Sprintf("the datastore of disk %s is gone", v.Name)
		}
		if !slices.Contains(d.Status.HostIDs, hostID) {
			return fmt.Sprintf("it does not reach datastore %s, where disk %s lives", d.Name, v.Name)
		}
	}
	return ""
}

func reachesAny(snap *store.Snapshot, hostID resource.ID) bool {
	for _, d := range store.Every(snap, storage.Datastores) {
		if slices.Contains(d.Status.HostIDs, hostID) {
			return true
		}
	}
	return false
}
