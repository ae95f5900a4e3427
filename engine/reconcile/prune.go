package reconcile

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Knowledge is what a host knows of its cloud, and how much may be concluded from it.
type Knowledge struct {
	DB *store.DB
	// Current says why the view may be behind what the servers have: none has answered lately, they have
	// other records than before; nil: it is not. Nil itself: it never is behind.
	Current func() error
}

// Doubt says why nothing may be concluded now from what the view does not show; nil: there is no doubt.
func (k Knowledge) Doubt() error {
	if k.DB.Revision() == 0 {
		return fault.New(fault.Unavailable, "no records are here yet")
	}
	if k.Current == nil {
		return nil
	}
	return k.Current()
}

// Pruner removes what is on a host and belongs to no record. Not seen is not the same as not there, so
// this is the one place that judges what is surely gone. An effect is removed only if
//
//   - the whole inventory was taken, and then the view was read: an effect is made after its record was
//     seen, so the view is at least as new as the effect's record;
//   - the view has no such record, and none of any kind that this version cannot read has its id;
//   - that was so at each sweep for as long as Wait says, without a doubt in between;
//   - the store itself, asked now and not behind the view, has no such record, whether it can be read or not;
//   - there is no doubt in the very moment.
type Pruner struct {
	// Name is of an effect, for logs and errors: "guest".
	Name string
	// Kind is of the record that an effect belongs to; they have one id.
	Kind resource.Kind
	// Wait is how long the record must be missing.
	Wait time.Duration
	// List tells of all effects that are here, or fails.
	List func(context.Context) ([]resource.ID, error)
	// Remove removes one. Removing what is absent succeeds.
	Remove func(context.Context, resource.ID) error

	mu      sync.Mutex
	missing map[resource.ID]time.Time // since when
}

// Sweep looks once. In doubt it does nothing, and forgets what it saw.
func (p *Pruner) Sweep(ctx context.Context, k Knowledge) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if k.Doubt() != nil {
		p.missing = nil
		return nil
	}
	here, err := p.List(ctx)
	if err != nil {
		return fault.Wrap(err, "list what is here, to find each %s without a record", p.Name)
	}
	due, revision := p.overdue(k.DB, here)
	if len(due) == 0 {
		return nil
	}
	gone, err := p.confirmed(ctx, k.DB, due, revision)
	if err != nil {
		return fault.Wrap(err, "ask whether a record is gone, to remove its %s", p.Name)
	}
	var failed error
	for _, id := range gone {
		if k.Doubt() != nil {
			p.missing = nil
			break
		}
		slog.Warn("what has no record is removed", "what", p.Name, "id", id)
		if err := p.Remove(ctx, id); err != nil {
			failed = errors.Join(failed, fault.Wrap(err, "remove %s %s, which has no record", p.Name, id))
			continue
		}
		delete(p.missing, id)
	}
	return failed
}

// overdue remembers what has no record, and gives what has had none for long enough.
func (p *Pruner) overdue(db *store.DB, here []resource.ID) (due []resource.ID, revision int64) {
	snap, now := db.Snapshot(), db.Now()
	revision = db.Revision()
	still := map[resource.ID]time.Time{}
	for _, id := range here {
		if snap.Lookup(id) != nil || !db.Understands(id) {
			continue
		}
		since, before := p.missing[id]
		if !before {
			since = now
			if p.Wait > 0 {
				slog.Warn("something has no record; it is removed if that stays so", "what", p.Name, "id", id, "wait", p.Wait)
			}
		}
		still[id] = since
		if now.Sub(since) >= p.Wait && (before || p.Wait == 0) {
			due = append(due, id)
		}
	}
	p.missing = still
	return due, revision
}

// confirmed asks the store. It keeps records under their project, which what lies on the host does not
// tell: so all of the kind are listed.
func (p *Pruner) confirmed(ctx context.Context, db *store.DB, due []resource.ID, revision int64) ([]resource.ID, error) {
	entries, at, err := db.Store().List(ctx, p.Kind)
	if err != nil {
		return nil, err
	}
	if at < revision {
		return nil, fault.New(fault.Unavailable, "the server that answered has revision %d, and %d was seen", at, revision)
	}
	there := map[resource.ID]bool{}
	for _, e := range entries {
		there[e.Key.ID] = true
	}
	var gone []resource.ID
	for _, id := range due {
		if there[id] {
			delete(p.missing, id)
			continue
		}
		gone = append(gone, id)
	}
	return gone, nil
}
