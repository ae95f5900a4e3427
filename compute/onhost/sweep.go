package onhost

import (
	"context"
	"errors"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
)

// orphanWait is how long a guest's record must have been missing before the guest is ended.
const orphanWait = 2 * time.Minute

// Sweeper ends guests without a record.
type Sweeper struct {
	known  reconcile.Knowledge
	hv     Hypervisor
	pruner reconcile.Pruner
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
func (s *Sweeper) Sweep(ctx context.Context) error { return s.pruner.Sweep(ctx, s.known) }

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
