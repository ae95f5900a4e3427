package onhost

import (
	"context"
	"slices"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

func (k *Supervisor) set(ctx context.Context, i *compute.Instance, change func(*compute.InstanceStatus)) error {
	b := k.db.Begin()
	k.statuses.Set(b, i, func(s *compute.InstanceStatus) {
		s.SeenGeneration = i.Generation
		change(s)
	})
	return k.db.Commit(ctx, b)
}

// report writes what was seen.
func (k *Supervisor) report(ctx context.Context, i *compute.Instance, g Guest, d decision) error {
	return k.reportLooked(ctx, i, g, d, looked{})
}

// reportLooked writes what was seen, and what else was found out.
func (k *Supervisor) reportLooked(ctx context.Context, i *compute.Instance, g Guest, d decision, l looked) error {
	inside, fresh := k.inside(ctx, i.ID, g)
	return k.set(ctx, i, func(s *compute.InstanceStatus) {
		before := s.Problems
		describe(s, i, g, d.phase, k.db.Now().UTC())
		l.write(s)
		if l.trouble != nil && g.Problem == "" {
			s.Problems = resource.SetProblem(before, string(fault.KindOf(l.trouble)), l.trouble.Error(), k.db.Now().UTC())
		}
		if fresh {
			s.GuestAgent, s.GuestAddresses = "", inside.Addresses
			if inside.Answers {
				s.GuestAgent = "yes"
			}
			s.BalloonDriver, s.MemoryMiB = k.balloonDriver(ctx, i.ID, g), k.grownMemory(ctx, i)
		}
	})
}

// describe is the status that a guest makes.
func describe(s *compute.InstanceStatus, i *compute.Instance, g Guest, phase string, now time.Time) {
	s.Phase = phase
	if g.State == Absent {
		return
	}
	kind := fault.Exhausted
	if g.State == Silent {
		kind = fault.Unavailable
	}
	s.Problems = resource.SetProblem(s.Problems, string(kind), g.Problem, now)
	s.StartedAt, s.PID = g.StartedAt, int64(g.PID)
	s.OutgoingID, s.OutgoingError, s.DowntimeMillis, s.TransferMillis = "", "", 0, 0
	if out := i.Spec.Outgoing; out != nil {
		s.OutgoingID = out.OperationID
		if g.Transfer.OperationID == out.OperationID {
			s.DowntimeMillis, s.TransferMillis = g.Transfer.DowntimeMillis, g.Transfer.TotalMillis
			if g.Transfer.State == TransferFailed || g.Transfer.State == TransferCanceled {
				s.OutgoingError = g.Transfer.Error
			}
		}
	}
	if g.State == Ended {
		s.PID, s.EndedAt, s.Exit, s.ExitMessage = 0, g.EndedAt, g.Exit, g.ExitMessage
		s.GuestAgent, s.GuestAddresses, s.BalloonDriver, s.MemoryMiB, s.Devices, s.DevicesGeneration = "", nil, "", 0, nil, 0
	}
}

// reportLost tells of an instance that had started and of which nothing is left, or that was told
// to end before it had started.
func (k *Supervisor) reportLost(ctx context.Context, i *compute.Instance) error {
	return k.set(ctx, i, func(s *compute.InstanceStatus) {
		s.Phase, s.PID, s.EndedAt, s.Problems = compute.InstanceStopped, 0, k.db.Now().UTC(), nil
		s.GuestAgent, s.GuestAddresses, s.BalloonDriver, s.MemoryMiB = "", nil, "", 0
		if s.StartedAt.IsZero() {
			s.Exit, s.ExitMessage = compute.ExitForced, "it was told to end before it had started"
			return
		}
		s.Exit, s.ExitMessage = compute.ExitLost, "nothing is left of it on this host: the host was started again, or its run folder was emptied"
	})
}

// trouble writes down why a step did not do what it wanted, and hands the cause on so that the step
// is tried again. The phase stays as it was: what cannot be seen has not changed.
func (k *Supervisor) trouble(ctx context.Context, i *compute.Instance, cause error) error {
	err := k.set(ctx, i, func(s *compute.InstanceStatus) {
		s.Problems = resource.SetProblem(s.Problems, string(fault.KindOf(cause)), cause.Error(), k.db.Now().UTC())
	})
	if err != nil {
		return err
	}
	return cause
}

// inside asks the guest's own agent now and then. It is slow where the guest is busy.
func (k *Supervisor) inside(ctx context.Context, id resource.ID, g Guest) (in Insight, fresh bool) {
	insider, ok := k.hv.(Insider)
	if !ok || g.State != Running || g.Transfer.State == TransferActive {
		return in, false
	}
	now := k.db.Now()
	k.mu.Lock()
	due := now.Sub(k.asked[id]) >= insideEvery
	if due {
		k.asked[id] = now
	}
	k.mu.Unlock()
	if !due {
		return in, false
	}
	in = insider.Inside(ctx, id)
	slices.Sort(in.Addresses)
	in.Addresses = slices.Compact(in.Addresses)
	return in, true
}

// grownMemory is what the guest has of a memory that may grow; 0: it may not, or nobody knows.
func (k *Supervisor) grownMemory(ctx context.Context, i *compute.Instance) int64 {
	hv, can := k.hv.(MemoryGrower)
	if !can || i.Spec.MaxMemoryMiB == 0 {
		return 0
	}
	has, err := hv.GrownMemory(ctx, i.ID)
	if err != nil {
		return 0
	}
	return has
}

// balloonDriver says whether the guest has a balloon driver; empty: it may be booting still.
func (k *Supervisor) balloonDriver(ctx context.Context, id resource.ID, g Guest) string {
	b, ok := k.hv.(Ballooner)
	if !ok {
		return ""
	}
	seen, err := b.Memory(ctx, id)
	switch {
	case err == nil && seen.Answers:
		return "yes"
	case err == nil && k.db.Now().Sub(g.StartedAt) > bootTime:
		return "no"
	}
	return ""
}
