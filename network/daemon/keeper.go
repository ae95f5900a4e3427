package daemon

import (
	"context"
	"log/slog"
	"time"
)

// Keeper keeps several programs running, in the order given.
type Keeper struct {
	programs []Program
	every    time.Duration
}

// NewKeeper keeps programs; a program may need those before it.
func NewKeeper(programs ...Program) *Keeper {
	return &Keeper{programs: programs, every: time.Second}
}

// Ensure starts or adopts every program.
func (k *Keeper) Ensure(ctx context.Context) error {
	for _, p := range k.programs {
		if _, err := p.Ensure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Run looks every second until ctx ends and starts again what has died. The programs live on.
func (k *Keeper) Run(ctx context.Context) {
	tick := time.NewTicker(k.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			k.again(ctx)
		}
	}
}

func (k *Keeper) again(ctx context.Context) {
	for _, p := range k.programs {
		started, err := p.Ensure(ctx)
		if err != nil && ctx.Err() == nil {
			slog.Error("a daemon has died and does not start again", "daemon", p.Name, "error", err)
			return
		}
		if started {
			slog.Warn("a daemon had died and was started again", "daemon", p.Name)
		}
	}
}

// Stop ends the programs, last first. The first error is given, after all were tried.
func (k *Keeper) Stop(ctx context.Context) error {
	var first error
	for i := len(k.programs) - 1; i >= 0; i-- {
		if err := k.programs[i].Stop(ctx); err != nil && first == nil {
			first = err
		}
	}
	return first
}
