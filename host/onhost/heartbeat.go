package onhost

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"
)

const (
	beat         = time.Second
	beatPatience = 3 * time.Second
)

// Heartbeat sends a sign of life every second, give or take a tenth so that many hosts do not
// speak at once, until ctx ends. It logs when sending begins to fail and when it works again.
func Heartbeat(ctx context.Context, send func(ctx context.Context) error) {
	failing := false
	for ctx.Err() == nil {
		err := sendOnce(ctx, send)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !failing:
			slog.Warn("the servers do not hear this host", "error", err)
		case err == nil && failing:
			slog.Info("the servers hear this host again")
		}
		failing = err != nil
		select {
		case <-ctx.Done():
		case <-time.After(beat - beat/10 + rand.N(beat/5)):
		}
	}
}

func sendOnce(ctx context.Context, send func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, beatPatience)
	defer cancel()
	return send(ctx)
}
