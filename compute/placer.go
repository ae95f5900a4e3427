package compute

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/virga-cloud/virga/cluster/placement"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// Placer is the one gate that puts workloads onto hosts: placement.Gate.
type Placer interface {
	// Check says whether there is a host now: fault.Exhausted or fault.Precondition with the
	// reasons why hosts were refused.
	Check(placement.Request) error
	// Place chooses a host and commits the claim together with what fill adds, or nothing.
	Place(ctx context.Context, r placement.Request, fill func(b *store.Batch, on placement.Choice) error) error
	// Resize gives a claim another demand, in one commit with what fill adds, or does nothing.
	Resize(ctx context.Context, c *placement.Claim, name string, to placement.Demand, fill func(*store.Batch) error) error
	// CheckResize says whether there is as much on the claim's host now.
	CheckResize(c *placement.Claim, name string, to placement.Demand) error
	// SetRules says which affinity rules the workload of a claim is in now.
	SetRules(b *store.Batch, c *placement.Claim, rules []resource.ID)
	// Release gives back what the workload has claimed on hosts other than keep.
	Release(b *store.Batch, workload resource.Ref, keep resource.ID)
}

var _ Placer = (*placement.Gate)(nil)

// placing asks for a host for a VM. Beside are volumes of the same commit, which the snapshot does not
// show yet.
func placing(snap *store.Snapshot, vm *VM, beside ...*storage.Volume) placement.Request {
	r := placement.Request{
		Workload: vm.Ref(), Name: "VM " + vm.Name,
		Demand:      demandOf(&vm.Spec),
		Constraints: placement.Constraints{OnHost: vm.Spec.HostID, NUMA: vm.Spec.NUMA, ClusterID: clusterOf(snap, vm), Rules: placement.RulesOf(snap, vm.Spec.AffinityRuleIDs)},
	}
	for _, d := range vm.Status.Disks {
		v := store.Find(snap, storage.Volumes, d.VolumeID)
		if i := slices.IndexFunc(beside, func(v *storage.Volume) bool { return v.ID == d.VolumeID }); i >= 0 {
			v = beside[i]
		}
		if v == nil {
			continue // the VM loop says that it is gone
		}
		disk := placement.Disk{Name: v.Name, DatastoreID: v.Status.DatastoreID}
		if v.Status.AllocationID == "" {
			disk.DatastoreID, disk.NewMiB = v.Spec.DatastoreID, v.Spec.SizeMiB
		}
		r.Disks = append(r.Disks, disk)
	}
	return r
}

// demandOf is what a VM takes of its host.
func demandOf(s *VMSpec) placement.Demand {
	d := placement.Demand{
		CPUs: s.CPUs, MemoryMiB: s.MemoryMiB, CPUReservationMHz: s.CPUReservationMHz, MemoryReservationMiB: s.MemoryReservationMiB,
	}
	switch s.HugePages {
	case HugePages2MiB:
		d.MemoryMiB, d.MemoryReservationMiB, d.Huge2MMiB = 0, 0, s.MemoryMiB
	case HugePages1GiB:
		d.MemoryMiB, d.MemoryReservationMiB, d.Huge1GMiB = 0, 0, s.MemoryMiB
	}
	return d
}

// claimOn finds what a VM has claimed on a host; nil: nothing.
func claimOn(snap *store.Snapshot, vm *VM, hostID resource.ID) *placement.Claim {
	for _, c := range store.Referring(snap, placement.Claims, vm.ID) {
		if c.Spec.HostID == hostID {
			return c
		}
	}
	return nil
}

// The pauses before a VM that no host could take asks again by itself. They grow with the time that it
// has waited; room that is given back is told at once.
const (
	firstRetry = 5 * time.Second
	lastRetry  = 5 * time.Minute
)

// retryAfter is the pause after having waited for so long.
func retryAfter(waited time.Duration) time.Duration { return min(max(firstRetry, waited/2), lastRetry) }

// wokenAtOnce is how many waiting VMs one change of capacity wakes: those that have waited longest.
const wokenAtOnce = 32

// waiting are the VMs that no host could take, the one that has waited longest first. It is a hint in
// memory: after a restart each finds itself here again at its first refusal.
type waiting struct {
	mu  sync.Mutex
	ids []resource.ID
}

func (w *waiting) add(id resource.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !slices.Contains(w.ids, id) {
		w.ids = append(w.ids, id)
	}
}

func (w *waiting) forget(id resource.ID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids = slices.DeleteFunc(w.ids, func(there resource.ID) bool { return there == id })
}

// wake gives those that may ask again, and forgets them until they are refused again.
func (w *waiting) wake() []resource.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := min(wokenAtOnce, len(w.ids))
	out := slices.Clone(w.ids[:n])
	w.ids = slices.Delete(w.ids, 0, n)
	return out
}
