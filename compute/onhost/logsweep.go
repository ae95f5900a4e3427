package onhost

import (
	"context"
	"slices"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

const (
	logSweep  = time.Minute
	askAtOnce = 500 // VMs
)

// LogSweeper removes the serial logs of VMs that were deleted. A VM that does not run, or
// runs elsewhere, has no record here: only a server can tell whether it is gone.
type LogSweeper struct {
	Known reconcile.Knowledge
	Logs  Logger
	// Gone asks a server which of these VMs were deleted.
	Gone func(context.Context, []resource.ID) ([]resource.ID, error)
}

// Sweep does it once, unless there is doubt: also a server may have forgotten what was made.
func (s *LogSweeper) Sweep(ctx context.Context) error {
	if s.Known.Doubt() != nil {
		return nil
	}
	kept, err := s.Logs.Logged()
	if err != nil {
		return err
	}
	here := map[resource.ID]bool{}
	for _, i := range store.Every(s.Known.DB.Snapshot(), compute.Instances) {
		here[i.Spec.VMID] = true
	}
	kept = slices.DeleteFunc(kept, func(id resource.ID) bool { return here[id] })
	for asked := range slices.Chunk(kept, askAtOnce) {
		gone, err := s.Gone(ctx, asked)
		if err != nil {
			return fault.Wrap(err, "ask which VMs were deleted")
		}
		for _, id := range gone {
			if !slices.Contains(asked, id) {
				continue
			}
			if err := s.Logs.RemoveLog(id); err != nil {
				return err
			}
		}
	}
	return nil
}
