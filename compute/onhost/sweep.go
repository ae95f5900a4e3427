package onhost

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// orphanWait is how long a guest's record must have been missing before the guest is ended.
const orphanWait = 2 * time.Minute

// Sweeper looks for guests without a record.
type Sweeper struct {
	db     *store.DB
	hostID resource.ID
	hv     Hypervisor
	// synced tells whether the view shows what the servers have, now.
	synced func() bool

	mu      sync.Mutex
	missing map[resource.ID]time.Time // since when a guest's record is missing
}

// NewSweeper makes a sweeper. Synced must be false while the servers are unreachable.
func NewSweeper(db *store.DB, hostID resource.ID, hv Hypervisor, synced func() bool) *Sweeper {
	return &Sweeper{db: db, hostID: hostID, hv: hv, synced: synced, missing: map[resource.ID]time.Time{}}
}

// Orphans lists the guests that no record names.
func (s *Sweeper) Orphans(ctx context.Context) ([]Guest, error) {
	guests, err := s.hv.List(ctx)
	if err != nil {
		return nil, fault.Wrap(err, "look for orphans")
	}
	snap := s.db.Snapshot()
	var out []Guest
	for _, g := range guests {
		if !s.db.Understands(g.ID) {
			continue // its record is of another version
		}
		if i := store.Find(snap, compute.Instances, g.ID); i == nil || i.Spec.HostID != s.hostID {
			out = append(out, g)
		}
	}
	return out, nil
}

// Sweep ends the guests whose record was missing at an earlier sweep already, long enough ago. It
// does nothing, and forgets what it saw, while the servers are unreachable.
func (s *Sweeper) Sweep(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.db.Revision() == 0 || !s.synced() {
		clear(s.missing)
		return nil
	}
	orphans, err := s.Orphans(ctx)
	if err != nil {
		return err
	}
	now, still := s.db.Now(), map[resource.ID]time.Time{}
	for _, g := range orphans {
		since, before := s.missing[g.ID]
		if !before {
			since = now
			slog.Warn("a guest has no record; it is ended if that stays so", "instance", g.ID, "pid", g.PID, "wait", orphanWait)
		}
		still[g.ID] = since
		if before && now.Sub(since) >= orphanWait {
			slog.Warn("a guest without a record is ended", "instance", g.ID, "pid", g.PID)
			if err := s.hv.Remove(ctx, g.ID); err != nil {
				return fault.Wrap(err, "end orphan %s", g.ID)
			}
			delete(still, g.ID)
		}
	}
	s.missing = still
	return nil
}

// EndAll ends every guest here at once: the host was removed, and its VMs may run elsewhere.
func (s *Sweeper) EndAll(ctx context.Context) error {
	guests, err := s.hv.List(ctx)
	for _, g := range guests {
		if failed := s.hv.Remove(ctx, g.ID); failed != nil {
			err = errors.Join(err, fault.Wrap(failed, "end guest %s", g.ID))
		}
	}
	return fault.Wrap(err, "end the guests of a host that was removed")
}
