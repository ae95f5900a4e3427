package onhost

import (
	"context"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
)

// PortBindingStatuses is the right to report on port bindings.
type PortBindingStatuses = store.StatusWriter[network.PortBindingSpec, network.PortBindingStatus]

const (
	notReady     = 100 * time.Millisecond // until the next look at a port that is not ready
	bindingCheck = 30 * time.Second       // between looks at all ports
	tooLong      = 10 * time.Second       // to wait for a port without saying why
)

// NewPortBindingLoop makes the taps of this host's port bindings.
func NewPortBindingLoop(db *store.DB, hostID resource.ID, statuses *PortBindingStatuses, sw Switch) *reconcile.Loop {
	l := &bindingLoop{db: db, hostID: hostID, statuses: statuses, sw: sw}
	return &reconcile.Loop{
		Name: "network/portbinding", Kind: network.PortBindings.Kind, Workers: 4, Resync: bindingCheck, Step: l.step,
		// A port binding may wait for another of its port to close.
		Also: map[resource.Kind]func(resource.Object) []resource.ID{network.PortBindings.Kind: func(x resource.Object) []resource.ID {
			var out []resource.ID
			for _, other := range store.Referring(db.Snapshot(), network.PortBindings, x.(*network.PortBinding).Spec.PortID) {
				out = append(out, other.ID)
			}
			return out
		}},
	}
}

type bindingLoop struct {
	db       *store.DB
	hostID   resource.ID
	statuses *PortBindingStatuses
	sw       Switch
}

// act is what to do about a port binding.
type act string

const (
	nothing act = "nothing" // it is not ours
	attach  act = "attach"
	detach  act = "detach" // and let go
	wait    act = "wait"   // without a port
)

// decide looks at a port binding and the others of its port. A port has one tap on a host: the one of
// the highest epoch, when the others have gone.
func decide(hostID resource.ID, p *network.PortBinding, siblings []*network.PortBinding) (act, string) {
	if p.Spec.HostID != hostID {
		return nothing, ""
	}
	if p.Deleting != nil {
		return detach, ""
	}
	for _, other := range siblings {
		if other.ID == p.ID || other.Spec.HostID != hostID || other.Status.Phase == network.PortBindingClosed {
			continue
		}
		if other.Spec.Epoch > p.Spec.Epoch {
			return wait, "a newer port binding of the port has taken its place on this host"
		}
		if other.Spec.Epoch < p.Spec.Epoch {
			return wait, "an older port binding of the port is not closed yet on this host"
		}
	}
	return attach, ""
}

func (l *bindingLoop) step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	s := l.db.Snapshot()
	p := store.Find(s, network.PortBindings, id)
	if p == nil {
		return reconcile.Result{}, nil // gone after we let go, or the sweep's work
	}
	todo, why := decide(l.hostID, p, store.Referring(s, network.PortBindings, p.Spec.PortID))
	switch todo {
	case attach:
		return l.attach(ctx, p)
	case detach:
		return reconcile.Result{}, l.detach(ctx, p)
	case wait:
		if err := l.sw.RemovePort(ctx, p.ID); err != nil {
			return reconcile.Result{}, err
		}
		return reconcile.Result{}, l.report(ctx, p, Attached{Why: why})
	}
	return reconcile.Result{}, nil
}

func (l *bindingLoop) attach(ctx context.Context, p *network.PortBinding) (reconcile.Result, error) {
	at, err := l.sw.EnsurePort(ctx, Port{PortBindingID: p.ID, PortID: p.Spec.PortID, NetworkID: p.Spec.NetworkID, UID: p.Spec.UID, MTU: p.Spec.MTU, Queues: p.Spec.Queues})
	if err != nil {
		b := l.db.Begin()
		l.statuses.Set(b, p, func(st *network.PortBindingStatus) {
			st.Problems = resource.SetProblem(st.Problems, string(fault.KindOf(err)), err.Error(), l.db.Now())
		})
		_ = l.db.Commit(ctx, b)
		return reconcile.Result{}, err
	}
	result := reconcile.Result{}
	if !at.Ready {
		result.After = notReady
	}
	switch settled := at.Device == p.Status.Device && len(p.Status.Problems) == 0; {
	case at.Ready && p.Status.Phase == network.PortBindingReady && settled:
		return result, nil // what has changed in its spec is other hosts' business
	case !at.Ready && (p.Status.Phase == network.PortBindingReady || p.Young(l.db.Now())):
		return result, nil // a switch that restarts is no reason to tell a running VM that its port is gone
	}
	return result, l.report(ctx, p, at)
}

func (l *bindingLoop) report(ctx context.Context, p *network.PortBinding, at Attached) error {
	b := l.db.Begin()
	l.statuses.Set(b, p, func(st *network.PortBindingStatus) {
		st.SeenGeneration, st.Device, st.Phase = p.Generation, at.Device, network.PortBindingWaiting
		st.Problems = nil
		if at.Ready {
			st.Phase = network.PortBindingReady
		} else if at.Device == "" || l.db.Now().Sub(p.Created) > tooLong {
			st.Problems = resource.SetProblem(p.Status.Problems, string(fault.Unavailable), at.Why, l.db.Now())
		}
	})
	return l.db.Commit(ctx, b)
}

func (l *bindingLoop) detach(ctx context.Context, p *network.PortBinding) error {
	if err := l.sw.RemovePort(ctx, p.ID); err != nil {
		return err
	}
	b := l.db.Begin()
	l.statuses.Set(b, p, func(st *network.PortBindingStatus) {
		st.SeenGeneration, st.Phase, st.Device, st.Problems = p.Generation, network.PortBindingClosed, "", nil
	})
	store.Release(b, p, network.AgentHolder)
	return l.db.Commit(ctx, b)
}
