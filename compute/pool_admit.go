package compute

import (
	"fmt"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// reserved is what of a host's, a pool's or a cluster's is promised.
type reserved struct{ mhz, mib int64 }

func (r reserved) plus(c CPUPolicy, m MemoryPolicy) reserved {
	return reserved{r.mhz + c.CPUReservationMHz, r.mib + m.MemoryReservationMiB}
}

// less reports whether less is promised of anything.
func (r reserved) less(than reserved) bool { return r.mhz < than.mhz || r.mib < than.mib }

// counts reports whether a VM's reservation is to be kept: one that is stopped has none.
func counts(vm *VM) bool { return vm.Spec.Power != Stopped && vm.Deleting == nil }

// reservedIn sums what VMs and pools directly in a pool have reserved, without one of them.
func reservedIn(snap *store.Snapshot, pool, without resource.ID) (out reserved) {
	for _, vm := range store.Referring(snap, VMs, pool) {
		if vm.Spec.PoolID == pool && vm.ID != without && counts(vm) {
			out = out.plus(vm.Spec.CPUPolicy, vm.Spec.MemoryPolicy)
		}
	}
	for _, p := range store.Referring(snap, Pools, pool) {
		if p.Spec.ParentID == pool && p.ID != without {
			out = out.plus(p.Spec.CPUPolicy, p.Spec.MemoryPolicy)
		}
	}
	return out
}

// clusterHas sums what the hosts of a cluster have that can be reserved, and what pools and VMs in no pool have
// reserved of it, without one pool.
func clusterHas(snap *store.Snapshot, clusterID, without resource.ID) (has, taken reserved) {
	here := map[resource.ID]bool{}
	for _, h := range store.Every(snap, host.Hosts) {
		if inv := h.Status.Inventory; h.Spec.ClusterID == clusterID && h.Deleting == nil {
			here[h.ID] = true
			has.mhz, has.mib = has.mhz+inv.Threads*inv.MHz, has.mib+inv.MemoryMiB-inv.ReservedMemoryMiB
		}
	}
	for _, p := range store.Every(snap, Pools) {
		if p.Spec.ClusterID == clusterID && p.Spec.ParentID == "" && p.ID != without {
			taken = taken.plus(p.Spec.CPUPolicy, p.Spec.MemoryPolicy)
		}
	}
	for _, vm := range store.Every(snap, VMs) {
		if vm.Spec.PoolID == "" && counts(vm) && here[vm.Status.HostID] {
			taken = taken.plus(vm.Spec.CPUPolicy, vm.Spec.MemoryPolicy)
		}
	}
	return has, taken
}

// admitPool refuses a pool whose reservation its parent, or its cluster, has not, or that has less than those in
// it have. What it has already is never refused, though its host went away. Who takes of the same, or gives
// less of it, goes one after the other, as each is judged by what the others have.
func admitPool(snap *store.Snapshot, b *store.Batch, p *Pool, spec *PoolSpec) error {
	inside := reservedIn(snap, p.ID, "")
	if inside.mhz > spec.CPUReservationMHz && spec.CPUReservationMHz < p.Spec.CPUReservationMHz ||
		inside.mib > spec.MemoryReservationMiB && spec.MemoryReservationMiB < p.Spec.MemoryReservationMiB {
		return fault.New(fault.Precondition, "reserve less for resource pool %s: the VMs and pools in it have %d MHz and %d MiB reserved; give them less first",
			p.Name, inside.mhz, inside.mib)
	}
	wanted := reserved{}.plus(spec.CPUPolicy, spec.MemoryPolicy)
	had := reserved{}
	if p.Revision != 0 {
		had = had.plus(p.Spec.CPUPolicy, p.Spec.MemoryPolicy)
	}
	if wanted.less(had) {
		b.InTurn(p.Ref(), snap)
	}
	parent := store.Find(snap, Pools, spec.ParentID)
	if had.less(wanted) {
		of := resource.Ref{Kind: "cluster", ID: spec.ClusterID}
		if parent != nil {
			of = parent.Ref()
		}
		b.InTurn(of, snap)
	}
	if parent != nil {
		return within("resource pool "+p.Name, parent, wanted, had, reservedIn(snap, parent.ID, p.ID))
	}
	has, taken := clusterHas(snap, spec.ClusterID, p.ID)
	for _, x := range []struct {
		wanted, had, has, taken int64
		unit                    string
	}{{wanted.mhz, had.mhz, has.mhz, taken.mhz, "MHz"}, {wanted.mib, had.mib, has.mib, taken.mib, "MiB"}} {
		if free := max(0, x.has-x.taken); x.wanted > x.had && x.wanted > free {
			return fault.New(fault.Exhausted, "reserve %d %s for resource pool %s: the hosts of cluster %s have %d %s, of which nobody has reserved %d; reserve at most that, or add a host",
				x.wanted, x.unit, p.Name, snap.NameOf(spec.ClusterID), x.has, x.unit, free)
		}
	}
	return nil
}

// within refuses a reservation that does not fit into that of a pool, beside what others in it have.
func within(who string, pool *Pool, wanted, had, others reserved) error {
	for _, x := range []struct {
		wanted, had, has, others   int64
		flag, unit, suffix, amount string
	}{
		{wanted.mhz, had.mhz, pool.Spec.CPUReservationMHz, others.mhz, "--cpu-reservation", "MHz", "", "CPU"},
		{wanted.mib, had.mib, pool.Spec.MemoryReservationMiB, others.mib, "--memory-reservation", "MiB", "MiB", "memory"},
	} {
		free := max(0, x.has-x.others)
		if x.wanted <= x.had || x.wanted <= free {
			continue
		}
		refused := fault.New(fault.Exhausted, "reserve %d %s of %s for %s: resource pool %s has %d %s reserved, of which %d are free; reserve less, or give the pool more: virga pool set %s %s %d%s",
			x.wanted, x.unit, x.amount, who, pool.Name, x.has, x.unit, free, pool.Name, x.flag, x.others+x.wanted, x.suffix)
		refused.Outside = fmt.Sprintf("reserve %d %s of %s for %s: resource pool %s has %d free; reserve less, or ask an operator",
			x.wanted, x.unit, x.amount, who, pool.Name, free)
		return refused
	}
	return nil
}

// admitVM refuses a VM in a pool that is not there for it, or that has not left what the VM reserves.
// Those who begin to reserve of one pool go one after the other.
func admitVM(snap *store.Snapshot, b *store.Batch, old, vm *VM) error {
	if vm.Spec.PoolID == "" {
		return nil
	}
	pool := store.Find(snap, Pools, vm.Spec.PoolID)
	if pool == nil || pool.Spec.ProjectID != "" && pool.Spec.ProjectID != vm.Project {
		return fault.New(fault.NotFound, "put VM %s into resource pool %q: there is none that project %s may use; see virga pool list, or ask an operator",
			vm.Name, snap.NameOf(vm.Spec.PoolID), snap.NameOf(vm.Project))
	}
	if h := store.Find(snap, host.Hosts, vm.Status.HostID); vm.Status.InstanceID != "" && h != nil && h.Spec.ClusterID != pool.Spec.ClusterID {
		return fault.New(fault.Precondition, "put VM %s into resource pool %s: the pool is of cluster %s, and the VM runs in another; stop it first: virga vm stop %s --wait",
			vm.Name, pool.Name, snap.NameOf(pool.Spec.ClusterID), vm.Name)
	}
	if !counts(vm) {
		return nil
	}
	had := reserved{}
	if old != nil && old.Spec.PoolID == vm.Spec.PoolID && counts(old) {
		had = had.plus(old.Spec.CPUPolicy, old.Spec.MemoryPolicy)
	}
	wanted := reserved{}.plus(vm.Spec.CPUPolicy, vm.Spec.MemoryPolicy)
	if had.less(wanted) {
		b.InTurn(pool.Ref(), snap)
	}
	return within("VM "+vm.Name, pool, wanted, had, reservedIn(snap, pool.ID, vm.ID))
}
