package daemon

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// The pauses between two looks: while something is amiss, and at most. The kernel tells of a death, and
// nobody tells that the run folder was emptied.
const (
	soon   = time.Second
	seldom = 5 * time.Second
)

// Supervisor keeps several programs running, in the order given.
type Supervisor struct {
	programs     []Program
	soon, seldom time.Duration
}

// NewSupervisor keeps programs; a program may need those before it.
func NewSupervisor(programs ...Program) *Supervisor {
	return &Supervisor{programs: programs, soon: soon, seldom: seldom}
}

// Ensure starts or adopts every program.
func (k *Supervisor) Ensure(ctx context.Context) error {
	for _, p := range k.programs {
		if _, err := p.Ensure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Run starts again what dies, until ctx ends. The programs live on. The kernel tells of a death at
// once; a program that does not stay is started once a second.
func (k *Supervisor) Run(ctx context.Context) {
	for ctx.Err() == nil {
		if !k.again(ctx) || !k.rest(ctx) {
			pause(ctx, k.soon)
		}
	}
}

// again reports whether every program ran already.
func (k *Supervisor) again(ctx context.Context) bool {
	ran := true
	for _, p := range k.programs {
		started, err := p.Ensure(ctx)
		if err != nil && ctx.Err() == nil {
			slog.Error("a daemon has died and does not start again", "daemon", p.Name, "error", err)
		}
		if err != nil {
			return false
		}
		if started {
			ran = false
			slog.Warn("a daemon was gone and was started again", "daemon", p.Name)
		}
	}
	return ran
}

// rest returns when a program has ended or has been left alone for long; false: this cannot be told.
func (k *Supervisor) rest(ctx context.Context) bool {
	ctx, wake := context.WithTimeout(ctx, k.seldom)
	defer wake()
	var blind atomic.Bool
	var wg sync.WaitGroup
	for _, p := range k.programs {
		wg.Go(func() {
			defer wake()
			if err := p.Await(ctx); err != nil {
				blind.Store(true)
			}
		})
	}
	wg.Wait()
	return !blind.Load()
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// Stop ends the programs, last first. The first error is given, after all were tried.
func (k *Supervisor) Stop(ctx context.Context) error {
	var first error
	for i := len(k.programs) - 1; i >= 0; i-- {
		if err := k.programs[i].Stop(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}
