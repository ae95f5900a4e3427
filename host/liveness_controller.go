package host

import (
	"context"
	"fmt"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

const livenessHolder = "liveness"

// LivenessLoop keeps what the servers know of each host's life, in a record beside the host's own.
type LivenessLoop struct {
	DB       *store.DB
	Listener *Listener
	Specs    *store.SpecWriter[LivenessSpec, LivenessStatus]
	Statuses *store.StatusWriter[LivenessSpec, LivenessStatus]
	// Note tells people, in the same commit; it may be nil.
	Note func(b *store.Batch, h *Host, severity, reason, message string)
}

// Loop is the reconciler, called for hosts.
func (l *LivenessLoop) Loop() *reconcile.Loop {
	return &reconcile.Loop{Name: "host/liveness", Kind: Hosts.Kind, Step: l.step}
}

func (l *LivenessLoop) step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	s := l.DB.Snapshot()
	h := Find(s, id)
	if h == nil {
		l.Listener.Forget(id)
		return reconcile.Result{}, nil
	}
	lives := store.Referring(s, Livenesses, id)
	b := l.DB.Begin()
	switch {
	case h.Deleting != nil:
		for _, life := range lives {
			l.Specs.Delete(b, life)
		}
		store.Release(b, h, livenessHolder)
		return reconcile.Result{}, l.commit(ctx, b, h)
	case len(lives) == 0:
		// The hold and the record are one commit: there is never a life without a host that waits for it.
		store.Hold(b, h, livenessHolder)
		life := &Liveness{Spec: LivenessSpec{HostID: id}}
		life.Name = string(id)
		life.Status.State, life.Status.Since = Unknown, l.DB.Now().UTC()
		l.Specs.Create(b, life)
		return reconcile.Result{After: l.Listener.Every()}, l.commit(ctx, b, h)
	}
	state, _ := l.Listener.State(id, l.DB.Now())
	if state == Unknown && lives[0].Status.State == Alive && !l.Listener.settled() {
		state = Alive // a server that was upgraded does not make every host and VM flicker
	}
	l.report(b, h, lives[0], state)
	return reconcile.Result{After: l.Listener.Every()}, l.commit(ctx, b, h)
}

func (l *LivenessLoop) commit(ctx context.Context, b *store.Batch, h *Host) error {
	return fault.Wrap(l.DB.Commit(ctx, b), "report the life of host %s", h.Name)
}

func (l *LivenessLoop) report(b *store.Batch, h *Host, life *Liveness, state LifeState) {
	old := life.Status.State
	if old == state && life.Status.SeenGeneration == life.Generation {
		return // each host is looked at each second, and nearly always nothing has changed
	}
	l.Statuses.Set(b, life, func(t *LivenessStatus) {
		t.SeenGeneration = life.Generation
		if t.State != state {
			t.State, t.Since = state, l.DB.Now().UTC()
		}
	})
	if old == state || l.Note == nil {
		return
	}
	switch {
	case state == Lost:
		l.Note(b, h, "error", "lost", fmt.Sprintf("heartbeat of host %s lost: none came for %s", h.Name, l.Listener.grace))
	case state == Alive && old == Lost:
		l.Note(b, h, "info", "heartbeat-restored", fmt.Sprintf("heartbeat of host %s restored", h.Name))
	}
}

// Find gives a host; nil if there is none.
func Find(s *store.Snapshot, id resource.ID) *Host { return store.Find(s, Hosts, id) }

// StateOf is what the servers know of a host's life. One that was removed is lost for good: nobody
// waits for it.
func StateOf(s *store.Snapshot, id resource.ID) LifeState {
	if Removed(s, id) {
		return Lost
	}
	for _, life := range store.Referring(s, Livenesses, id) {
		if life.Status.State != "" {
			return life.Status.State
		}
	}
	return Unknown
}

// NameOf gives a host's name for a sentence; its id where it was never a host.
func NameOf(s *store.Snapshot, id resource.ID) string {
	if h := Find(s, id); h != nil {
		return h.Name
	}
	if r := RemovalOf(s, id); r != nil {
		return r.Spec.HostName
	}
	return string(id)
}
