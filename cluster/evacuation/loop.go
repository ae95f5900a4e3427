package evacuation

import (
	"context"
	"reflect"
	"slices"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// By is who asks for the migrations of an evacuation, as events and operations tell it.
const By = "host maintenance"

// lookAgain is how often a host that is not empty is looked at by itself.
const lookAgain = 2 * time.Second

// Mover starts migrations. What it refuses it says why.
type Mover interface {
	CheckMigration(snap *store.Snapshot, vm *compute.VM, by string) error
	StartMigration(b *store.Batch, vm *compute.VM, by string) error
}

// Loop empties hosts in maintenance.
type Loop struct {
	DB       *store.DB
	Specs    *store.SpecWriter[Spec, Status]
	Statuses *store.StatusWriter[Spec, Status]
	Mover    Mover
	// Note tells people, in the same commit; it may be nil.
	Note func(b *store.Batch, h *host.Host, severity, reason, message string)
}

// Loop is the reconciler, called for hosts.
func (l *Loop) Loop() *reconcile.Loop {
	return &reconcile.Loop{Name: "cluster/evacuation", Kind: host.Hosts.Kind, Step: l.step}
}

func (l *Loop) step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap, b := l.DB.Snapshot(), l.DB.Begin()
	h := host.Find(snap, id)
	all := store.Referring(snap, Evacuations, id)
	if h == nil || h.Deleting != nil || h.Spec.Mode != host.Maintenance {
		for _, e := range all {
			l.Specs.Delete(b, e)
		}
		return reconcile.Result{}, fault.Wrap(l.DB.Commit(ctx, b), "end the evacuation of a host")
	}
	if len(all) == 0 {
		e := &Evacuation{Spec: Spec{HostID: id}}
		e.Name = h.Name
		l.Specs.Create(b, e)
		return reconcile.Result{After: time.Millisecond}, fault.Wrap(l.DB.Commit(ctx, b), "begin the evacuation of host %s", h.Name)
	}
	e := all[0]
	guests, ids := l.guests(snap, h, e)
	d := Next(l.DB.Now(), guests)
	for _, vmID := range d.Start {
		if err := l.Mover.StartMigration(b, ids[vmID], By); err != nil {
			return reconcile.Result{}, fault.Wrap(err, "begin the migration of VM %s off host %s", ids[vmID].Name, h.Name)
		}
	}
	l.report(b, h, e, d)
	after := lookAgain
	if d.Phase == Empty {
		after = 0
	}
	return reconcile.Result{After: after}, fault.Wrap(l.DB.Commit(ctx, b), "evacuate host %s", h.Name)
}

// report writes what has changed, and tells people of a new phase.
func (l *Loop) report(b *store.Batch, h *host.Host, e *Evacuation, d Decision) {
	if e.Status.Phase == d.Phase && reflect.DeepEqual(e.Status.Left, d.Left) && e.Status.SeenGeneration == e.Generation {
		return
	}
	changed := e.Status.Phase != d.Phase
	l.Statuses.Set(b, e, func(s *Status) {
		if s.SeenGeneration, s.Left = e.Generation, d.Left; changed {
			s.Phase, s.Since = d.Phase, l.DB.Now().UTC()
		}
	})
	if !changed || l.Note == nil {
		return
	}
	switch d.Phase {
	case Empty:
		l.Note(b, h, "info", "evacuated", "no VM is left on host "+h.Name+"; it may be switched off")
	case Blocked:
		l.Note(b, h, "warning", "evacuation-blocked", "some VMs of host "+h.Name+" cannot be moved; virga host show "+h.Name+" says why")
	}
}

// guests are what is on a host, in the eyes of whoever empties it.
func (l *Loop) guests(snap *store.Snapshot, h *host.Host, e *Evacuation) ([]Guest, map[resource.ID]*compute.VM) {
	var out []Guest
	ids := map[resource.ID]*compute.VM{}
	for _, i := range store.Referring(snap, compute.Instances, h.ID) {
		vm := store.Find(snap, compute.VMs, i.Spec.VMID)
		if i.Spec.HostID != h.ID || vm == nil || ids[vm.ID] != nil {
			continue
		}
		ids[vm.ID] = vm
		g := Guest{VM: VM{VMID: vm.ID, Name: vm.Name, ProjectID: vm.Project}, MemoryMiB: i.Spec.MemoryMiB}
		g.Tries, g.Failed, g.Failure = failures(snap, vm, e.Created)
		working := operation.InTheWay(snap, vm.ID)
		switch {
		case working != nil && working.Spec.Type == compute.MigrateType && vm.Status.HostID == h.ID:
			g.Moved = true
		case working != nil:
			g.Between, g.Why = true, "operation "+working.Spec.Type+" works on it"
		case vm.Status.HostID != h.ID || i.Deleting != nil || vm.Deleting != nil:
			g.Between, g.Why = true, "it is being cleaned up"
		case slices.Contains(passing, vm.Status.Phase):
			g.Between, g.Why = true, "it is "+vm.Status.Phase
		default:
			if err := l.Mover.CheckMigration(snap, vm, By); err != nil {
				g.Refusal = err.Error()
			}
		}
		out = append(out, g)
	}
	return out, ids
}

// passing are the phases that a VM leaves by itself.
var passing = []string{compute.PhasePending, compute.PhaseStarting, compute.PhaseStopping, compute.PhaseMoving, compute.PhaseDeleting}

// failures counts the migrations of a VM that were asked for by evacuations since an instant and failed.
func failures(snap *store.Snapshot, vm *compute.VM, since time.Time) (n int, last time.Time, why string) {
	for _, o := range store.Referring(snap, operation.Operations, vm.ID) {
		if o.Spec.Target.ID != vm.ID || o.Spec.By != By || o.Status.Phase != operation.Failed || o.Created.Before(since) {
			continue
		}
		if n++; o.Status.EndedAt.After(last) {
			last, why = o.Status.EndedAt, o.Status.Why
		}
	}
	return n, last, why
}
