package onhost

import (
	"context"
	"strings"
	"sync"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/storage"
)

const (
	rounds      = 8                // acts in one step, before others have their turn
	insideEvery = 15 * time.Second // the guest's own agent is asked
	firstLook   = 10 * time.Second // at everything that runs
	bootTime    = 3 * time.Minute  // in which a guest may not have loaded its drivers
)

// InstanceOptions are what the loop needs to know of its host.
type InstanceOptions struct {
	// Profile is read at each start of a guest.
	Profile func() host.Profile
	// Screen is the graphics adapter of new guests; empty: VGA.
	Screen Screen
}

// Supervisor keeps the instances of one host. It is the only writer of their statuses.
type Supervisor struct {
	db       *store.DB
	hostID   resource.ID
	statuses *store.StatusWriter[compute.InstanceSpec, compute.InstanceStatus]
	hv       Hypervisor
	o        InstanceOptions

	mu     sync.Mutex
	listed bool                      // a complete list was seen since the agent began
	asked  map[resource.ID]time.Time // when the guest's agent was last asked
	// tuned is the generation for which all disks of a guest had their size and limits.
	tuned map[resource.ID]int64
	// devicesFit is the generation for which a guest had all its devices, and no others.
	devicesFit map[resource.ID]int64
}

// NewSupervisor makes a supervisor; Loop is what is run.
func NewSupervisor(db *store.DB, hostID resource.ID, statuses *store.StatusWriter[compute.InstanceSpec, compute.InstanceStatus], hv Hypervisor, o InstanceOptions) *Supervisor {
	if o.Profile == nil {
		o.Profile = func() host.Profile { return host.Profile{} }
	}
	return &Supervisor{db: db, hostID: hostID, statuses: statuses, hv: hv, o: o, asked: map[resource.ID]time.Time{}, tuned: map[resource.ID]int64{}, devicesFit: map[resource.ID]int64{}}
}

// NewInstanceLoop is NewSupervisor and its Loop in one.
func NewInstanceLoop(db *store.DB, hostID resource.ID, statuses *store.StatusWriter[compute.InstanceSpec, compute.InstanceStatus], hv Hypervisor, o InstanceOptions) *reconcile.Loop {
	return NewSupervisor(db, hostID, statuses, hv, o).Loop()
}

// Loop is the reconciler of this host's instances.
func (k *Supervisor) Loop() *reconcile.Loop {
	return &reconcile.Loop{Name: "compute/onhost/instance", Kind: compute.Instances.Kind, Workers: 8, Resync: 30 * time.Second, Step: k.Step}
}

// Inventoried reports whether everything that runs here has been looked at once. It looks, if nobody
// has: a host without instances has no step that would.
func (k *Supervisor) Inventoried() bool {
	ctx, cancel := context.WithTimeout(context.Background(), firstLook)
	defer cancel()
	return k.inventory(ctx) == nil
}

// inventory is the first complete look. Until it has succeeded nothing is touched.
func (k *Supervisor) inventory(ctx context.Context) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.listed {
		return nil
	}
	if _, err := k.hv.List(ctx); err != nil {
		return fault.Wrap(err, "look at what runs on this host")
	}
	k.listed = true
	return nil
}

// Step implements reconcile.Loop's step.
func (k *Supervisor) Step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	if err := k.inventory(ctx); err != nil {
		return reconcile.Result{}, err
	}
	for range rounds {
		i := store.Find(k.db.Snapshot(), compute.Instances, id)
		if i == nil || i.Spec.HostID != k.hostID {
			k.forget(id)
			return reconcile.Result{}, nil
		}
		g, err := k.hv.Look(ctx, id)
		if err != nil {
			return reconcile.Result{}, k.trouble(ctx, i, err)
		}
		if i.Deleting != nil {
			return reconcile.Result{}, k.remove(ctx, i, g)
		}
		d := decide(i, g, k.db.Now())
		again, err := k.carryOut(ctx, i, g, &d)
		if err != nil || !again {
			return reconcile.Result{After: d.after}, err
		}
	}
	return reconcile.Result{After: quick}, nil
}

// carryOut reports, does the one thing, and says whether to look again at once.
func (k *Supervisor) carryOut(ctx context.Context, i *compute.Instance, g Guest, d *decision) (again bool, err error) {
	switch d.act {
	case launch:
		return k.launch(ctx, i)
	case rest:
		i, seen, err := k.devices(ctx, i, g)
		if err != nil || i == nil {
			return false, err
		}
		if seen.busy {
			d.after = steady
		}
		seen.trouble = together(seen.trouble, k.tune(ctx, i, g))
		return false, k.reportLooked(ctx, i, g, *d, seen)
	case lost:
		return false, k.reportLost(ctx, i)
	case refuse:
		return false, k.trouble(ctx, i, fault.New(fault.Conflict, "instance %s has epoch %d on this host, and its record says %d: a newer owner has it", i.ID, g.Epoch, i.Spec.Epoch))
	case kill, ask, send:
		// These are told before they are done: others wait to hear of them.
		if err := k.report(ctx, i, g, *d); err != nil {
			return false, err
		}
	}
	if err := k.do(ctx, i, d.act); err != nil {
		return false, k.trouble(ctx, i, err)
	}
	if d.act == resume && g.Problem != "" {
		return false, k.report(ctx, i, g, *d)
	}
	return true, nil
}

func (k *Supervisor) do(ctx context.Context, i *compute.Instance, a act) error {
	switch a {
	case raise:
		return k.hv.Ensure(ctx, VMConfig{ID: i.ID, Epoch: i.Spec.Epoch})
	case resume:
		return k.hv.Resume(ctx, i.ID)
	case pause:
		return k.hv.Pause(ctx, i.ID)
	case ask:
		return k.hv.Ask(ctx, i.ID)
	case kill:
		return k.hv.Kill(ctx, i.ID)
	}
	m, ok := k.hv.(Migrator)
	switch {
	case !ok:
		return fault.New(fault.Precondition, "migrate instance %s: the hypervisor of this host cannot", i.ID)
	case a == send:
		return m.Send(ctx, i.ID, *i.Spec.Outgoing)
	case a == cancel:
		return m.Cancel(ctx, i.ID)
	}
	return fault.New(fault.Internal, "instance %s: no act %q", i.ID, a)
}

// launch starts a guest when all that it needs is ready. "starting" is written only where people read
// "waiting": an instance is new, or it has started, and who adopts looks at the host. A failure that leaves an ended guest behind is reported by the next look.
func (k *Supervisor) launch(ctx context.Context, i *compute.Instance) (again bool, err error) {
	snap := k.db.Snapshot()
	vm, waits, err := Compile(i, Inputs{
		Attachments: store.Referring(snap, storage.Attachments, i.ID), PortBindings: store.Referring(snap, network.PortBindings, i.ID),
		Profile: k.o.Profile(), Inventory: k.has(snap), Screen: k.o.Screen,
	})
	if err != nil {
		return false, k.trouble(ctx, i, err)
	}
	if len(waits) > 0 && i.Status.Phase == "" && i.Young(k.db.Now()) {
		return false, nil
	}
	if len(waits) > 0 {
		return false, k.set(ctx, i, func(s *compute.InstanceStatus) {
			s.Phase = compute.InstanceWaiting
			s.Problems = resource.SetProblem(s.Problems, string(fault.Unavailable), "waits for "+strings.Join(waits, "; "), k.db.Now().UTC())
		})
	}
	if err := k.alone(i, snap); err != nil {
		return false, k.trouble(ctx, i, err)
	}
	if i.Status.Phase == compute.InstanceWaiting {
		// The problem of the last try stays until one succeeds: taking it back would wake us at once.
		if err := k.set(ctx, i, func(s *compute.InstanceStatus) { s.Phase, s.Problems = compute.InstanceStarting, nil }); err != nil {
			return false, err
		}
	}
	if err := k.hv.Ensure(ctx, vm); err != nil {
		if g, lookErr := k.hv.Look(ctx, i.ID); lookErr == nil && g.State == Ended {
			return true, nil
		}
		if i = store.Find(k.db.Snapshot(), compute.Instances, i.ID); i == nil {
			return false, err
		}
		return false, k.trouble(ctx, i, err)
	}
	return true, nil
}

// has is what this host has, as it said itself.
func (k *Supervisor) has(snap *store.Snapshot) host.Inventory {
	if h := host.Find(snap, k.hostID); h != nil {
		return h.Status.Inventory
	}
	return host.Inventory{}
}

// alone refuses a second guest beside one of the same VM that runs here and has no record: the records
// were restored from a backup that is older than it.
func (k *Supervisor) alone(i *compute.Instance, snap *store.Snapshot) error {
	kin, ok := k.hv.(Kin)
	if !ok {
		return nil
	}
	for _, g := range kin.OfVM(i.Spec.VMID) {
		if g.ID != i.ID && snap.Lookup(g.ID) == nil {
			return fault.New(fault.Precondition, "start VM %s: process %d on this host is a guest of it that the records do not know (instance %s); shut that down from inside, or end what no record knows by virga restore --settle, and this VM starts",
				i.Spec.VMName, g.PID, g.ID)
		}
	}
	return nil
}

// remove undoes everything and lets go. Where others hold the record still, and wait to read
// it, the end is on it before the holder goes.
func (k *Supervisor) remove(ctx context.Context, i *compute.Instance, g Guest) error {
	if !i.HeldBy(compute.AgentHolder) {
		return nil
	}
	if g.State != Absent {
		if err := k.hv.Kill(ctx, i.ID); err != nil {
			return k.trouble(ctx, i, err)
		}
		ended, err := k.hv.Look(ctx, i.ID)
		if err != nil {
			return k.trouble(ctx, i, err)
		}
		if len(i.Holders) > 1 {
			if err := k.report(ctx, i, ended, decision{rest, compute.InstanceStopped, 0}); err != nil {
				return err
			}
		}
		if err := k.hv.Remove(ctx, i.ID); err != nil {
			return k.trouble(ctx, i, err)
		}
		if i = store.Find(k.db.Snapshot(), compute.Instances, i.ID); i == nil {
			return nil
		}
	}
	b := k.db.Begin()
	k.statuses.Set(b, i, func(s *compute.InstanceStatus) { s.Phase, s.Problems, s.PID = compute.InstanceStopped, nil, 0 })
	store.Release(b, i, compute.AgentHolder)
	k.forget(i.ID)
	return k.db.Commit(ctx, b)
}

func (k *Supervisor) forget(id resource.ID) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.asked, id)
	delete(k.tuned, id)
	delete(k.devicesFit, id)
}
