package onhost

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
)

// orphanWait is how long a guest's record must have been missing before the guest is ended.
const orphanWait = 2 * time.Minute

// mostNamed is how many guests without a record are named.
const mostNamed = 5

// Sweeper ends guests without a record.
type Sweeper struct {
	known  reconcile.Knowledge
	hv     Hypervisor
	pruner reconcile.Pruner

	mu      sync.Mutex
	unknown []Guest
}

// NewSweeper makes a sweeper.
func NewSweeper(known reconcile.Knowledge, hv Hypervisor) *Sweeper {
	s := &Sweeper{known: known, hv: hv}
	s.pruner = reconcile.Pruner{Name: "guest", Kind: compute.Instances.Kind, Wait: orphanWait, List: s.here, Remove: hv.Remove}
	return s
}

func (s *Sweeper) here(ctx context.Context) ([]resource.ID, error) {
	guests, err := s.hv.List(ctx)
	var out []resource.ID
	for _, g := range guests {
		out = append(out, g.ID)
	}
	return out, err
}

// Sweep ends the guests whose record is surely gone, and has been for long enough.
func (s *Sweeper) Sweep(ctx context.Context) error {
	return errors.Join(s.pruner.Sweep(ctx, s.known), s.look(ctx))
}

// look remembers the guests that the records do not know.
func (s *Sweeper) look(ctx context.Context) error {
	guests, err := s.hv.List(ctx)
	if err != nil || s.known.DB.Revision() == 0 {
		return err
	}
	snap := s.known.DB.Snapshot()
	guests = slices.DeleteFunc(guests, func(g Guest) bool {
		return !g.State.Alive() || snap.Lookup(g.ID) != nil || !s.known.DB.Understands(g.ID)
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unknown = guests
	return nil
}

// Unknown tells of guests that run here and have no record, and what becomes of them; nil: there are none.
func (s *Sweeper) Unknown() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.unknown) == 0 {
		return nil
	}
	var named []string
	for _, g := range s.unknown[:min(len(s.unknown), mostNamed)] {
		named = append(named, fmt.Sprintf("instance %s (process %d)", g.ID, g.PID))
	}
	if more := len(s.unknown) - len(named); more > 0 {
		named = append(named, fmt.Sprintf("%d more", more))
	}
	fate := fmt.Sprintf("what stays without a record for %s is ended", orphanWait)
	if doubt := s.known.Doubt(); doubt != nil {
		fate = doubt.Error()
	}
	return fault.New(fault.Precondition, "guests run here that the records do not know: %s; %s", strings.Join(named, ", "), fate)
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
