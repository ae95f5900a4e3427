package host

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// agentHolder is what agents hold records by.
const agentHolder = "agent"

// atOnce is how many records are let go of in one commit.
const atOnce = 200

// Held lets go, in place of an agent that is not believed any more, of what it held on a host and
// is being deleted. It returns what is left there, in words, and how many it has let go of.
type Held func(b *store.Batch, s *store.Snapshot, hostID resource.ID, most int) (left []string, released int)

// HeldOf is Held for a kind that an agent makes real for others, who decide when it goes.
func HeldOf[S, T any](t *resource.Type[S, T]) Held {
	return func(b *store.Batch, s *store.Snapshot, hostID resource.ID, most int) (left []string, released int) {
		for _, r := range store.Referring(s, t, hostID) {
			left = append(left, string(t.Kind)+" "+r.Name)
			if r.Deleting != nil && r.HeldBy(agentHolder) && released < most {
				store.Release(b, r, agentHolder)
				released++
			}
		}
		return left, released
	}
}

// MadeBy is Held for a kind that agents make themselves: it goes with its maker.
func MadeBy[S, T any](t *resource.Type[S, T]) Held {
	return func(b *store.Batch, s *store.Snapshot, hostID resource.ID, most int) (left []string, released int) {
		for _, r := range store.Referring(s, t, hostID) {
			left = append(left, string(t.Kind)+" "+r.Name)
			if released < most {
				store.Release(b, r, agentHolder)
				store.MarkDeleting(b, r)
				released++
			}
		}
		return left, released
	}
}

// RemovalLoop lets a removed host go when nothing is left that its agent made real. Whoever wanted
// those things gives them up first: a VM its instance, a migration its target.
type RemovalLoop struct {
	DB       *store.DB
	Statuses *store.StatusWriter[RemovalSpec, RemovalStatus]
	Held     []Held
}

// Loop is the reconciler, called for hosts.
func (l *RemovalLoop) Loop() *reconcile.Loop {
	return &reconcile.Loop{Name: "host/removal", Kind: Hosts.Kind, Step: l.step}
}

func (l *RemovalLoop) step(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	s := l.DB.Snapshot()
	h, removal := Find(s, id), RemovalOf(s, id)
	if h == nil || removal == nil {
		return reconcile.Result{}, nil
	}
	b := l.DB.Begin()
	var left []string
	most := atOnce
	for _, held := range l.Held {
		more, released := held(b, s, id, most)
		left, most = append(left, more...), most-released
	}
	why := ""
	if len(left) > 0 {
		slices.Sort(left)
		why = "it goes when these are given up: " + strings.Join(left[:min(3, len(left))], ", ")
		if more := len(left) - 3; more > 0 {
			why += fmt.Sprintf(" and %d more", more)
		}
	} else {
		store.Release(b, h, removalHolder)
	}
	kind := ""
	if why != "" {
		kind = string(fault.Unavailable)
	}
	l.Statuses.Set(b, removal, func(t *RemovalStatus) {
		t.SeenGeneration = removal.Generation
		t.Problems = resource.SetProblem(t.Problems, kind, why, l.DB.Now())
	})
	result := reconcile.Result{}
	if why != "" {
		result.After = 5 * time.Second
	}
	return result, fault.Wrap(l.DB.Commit(ctx, b), "remove host %s", h.Name)
}
