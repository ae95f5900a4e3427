package observe

import (
	"context"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// How many events are kept, and for how long.
const (
	KeepNewest = 10_000
	KeepFor    = 7 * 24 * time.Hour
)

const (
	sweepEvery   = time.Minute
	removeAtOnce = 64 // keeps a commit small
)

// NewRetention makes the loop that removes old events. It is called for each new event, and
// sweeps all of them at most once a minute.
func NewRetention(db *store.DB, specs *store.SpecWriter[EventSpec, EventStatus]) *reconcile.Loop {
	var next time.Time
	step := func(ctx context.Context, _ resource.ID) (reconcile.Result, error) {
		now := db.Now()
		if wait := next.Sub(now); wait > 0 && wait <= sweepEvery {
			return reconcile.Result{}, nil
		}
		surplus := Surplus(store.Every(db.Snapshot(), Events), now)
		for part := range slices.Chunk(surplus, removeAtOnce) {
			b := db.Begin()
			for _, e := range part {
				specs.Delete(b, e)
			}
			if err := db.Commit(ctx, b); err != nil {
				return reconcile.Result{}, fault.Wrap(err, "remove old events")
			}
		}
		next = now.Add(sweepEvery)
		return reconcile.Result{After: sweepEvery}, nil
	}
	return &reconcile.Loop{Name: "observe/retention", Kind: Events.Kind, Resync: time.Hour, Step: step}
}

// Surplus lists the events that are too many or too old.
func Surplus(events []*Event, now time.Time) []*Event {
	events = slices.Clone(events)
	slices.SortFunc(events, func(a, b *Event) int { return b.Spec.At.Compare(a.Spec.At) })
	for i, e := range events {
		if i >= KeepNewest || now.Sub(e.Spec.At) > KeepFor {
			return events[i:]
		}
	}
	return nil
}
