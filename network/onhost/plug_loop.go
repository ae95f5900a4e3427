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

// PlugStatuses is the right to report on plugs.
type PlugStatuses = store.StatusWriter[network.PlugSpec, network.PlugStatus]

const (
	notReady  = 100 * time.Millisecond // until the next look at a port that is not ready
	plugCheck = 30 * time.Second       // between looks at all ports
)

// NewPlugLoop makes the taps of this host's plugs.
func NewPlugLoop(db *store.DB, hostID resource.ID, statuses *PlugStatuses, sw Switch) *reconcile.Loop {
	l := &plugLoop{db: db, hostID: hostID, statuses: statuses, sw: sw}
	return &reconcile.Loop{
		Name: "network/plug", Kind: network.Plugs.Kind, Workers: 4, Resync: plugCheck, Step: l.step,
		// A plug may wait for another of its port to close.
		Also: map[resource.Kind]func(resource.Object) []resource.ID{network.Plugs.Kind: func(x resource.Object) []resource.ID {
			var out []resource.ID
			for _, other := range store.Referring(db.Snapshot(), network.Plugs, x.(*network.Plug).Spec.PortID) {
				out = append(out, other.ID)
			}
			return out
		}},
	}
}

type plugLoop struct {
	db       *store.DB
	hostID   resource.ID
	statuses *PlugStatuses
	sw       Switch
}

// act is what to do about a plug.
type act string

const (
	nothing act = "nothing" // it is not ours
	attach  act = "attach"
	detach  act = "detach" // and let go
	wait    act = "wait"   // without a port
)

// decide looks at a plug and the others of its port. A port has one tap on a host: the one of
// the highest epoch, when the others have gone.
func decide(hostID resource.ID, p *network.Plug, siblings []*network.Plug) (act, string) {
	if p.Spec.HostID != hostID {
		return nothing, ""
	}
	if p.Deleting != nil {
		return detach, ""
	}
	for _, other := range siblings {
		if other.ID == p.ID || other.Spec.HostID != hostID || other.Status.Phase == network.PlugClosed {
			continue
		}
		if other.Spec.Epoch > p.Spec.Epoch {
			return wait, "a newer plug of the port has taken its place on this host"
		}
		if other.Spec.Epoch < p.Spec.Epoch {
			return wait, "an older plug of the port is not closed yet on this host"
		}
	}
	return attach, ""
}

func (l *plugLoop) step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	s := l.db.Snapshot()
	p := store.Find(s, network.Plugs, id)
	if p == nil {
		return reconcile.Result{}, nil // gone after we let go, or the sweep's work
	}
	todo, why := decide(l.hostID, p, store.Referring(s, network.Plugs, p.Spec.PortID))
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

func (l *plugLoop) attach(ctx context.Context, p *network.Plug) (reconcile.Result, error) {
	at, err := l.sw.EnsurePort(ctx, Port{PlugID: p.ID, PortID: p.Spec.PortID, NetworkID: p.Spec.NetworkID, UID: p.Spec.UID, MTU: p.Spec.MTU})
	if err != nil {
		b := l.db.Begin()
		l.statuses.Set(b, p, func(st *network.PlugStatus) {
			st.Problems = resource.SetProblem(st.Problems, string(fault.KindOf(err)), err.Error(), l.db.Now())
		})
		_ = l.db.Commit(ctx, b)
		return reconcile.Result{}, err
	}
	result := reconcile.Result{}
	if !at.Ready {
		result.After = notReady
	}
	if !at.Ready && p.Status.Phase == network.PlugReady {
		return result, nil // a switch that restarts is no reason to tell a running machine that its port is gone
	}
	return result, l.report(ctx, p, at)
}

func (l *plugLoop) report(ctx context.Context, p *network.Plug, at Attached) error {
	b := l.db.Begin()
	l.statuses.Set(b, p, func(st *network.PlugStatus) {
		st.SeenGeneration, st.Device, st.Phase = p.Generation, at.Device, network.PlugWaiting
		st.Problems = nil
		if at.Ready {
			st.Phase = network.PlugReady
		} else if at.Device == "" {
			st.Problems = resource.SetProblem(p.Status.Problems, string(fault.Unavailable), at.Why, l.db.Now())
		}
	})
	return l.db.Commit(ctx, b)
}

func (l *plugLoop) detach(ctx context.Context, p *network.Plug) error {
	if err := l.sw.RemovePort(ctx, p.ID); err != nil {
		return err
	}
	b := l.db.Begin()
	l.statuses.Set(b, p, func(st *network.PlugStatus) {
		st.SeenGeneration, st.Phase, st.Device, st.Problems = p.Generation, network.PlugClosed, "", nil
	})
	store.Release(b, p, network.AgentHolder)
	return l.db.Commit(ctx, b)
}
