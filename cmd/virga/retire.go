package main

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
)

// retireWithin is how long the guests and the switch of a removed host may take to end.
const retireWithin = time.Minute

// unwelcome reads why a server does not take a sign of life. Only one that knows of this host's
// removal ends it: a server that has never heard of it may have lost its memory.
func (a *agent) unwelcome(answer *http.Response) error {
	var p httpapi.Problem
	data, _ := io.ReadAll(io.LimitReader(answer.Body, 64<<10))
	if json.Unmarshal(data, &p) != nil || p.Kind != fault.TooLate {
		return errors.New("the server answered " + answer.Status)
	}
	over := fault.New(fault.TooLate, "%s", p.Detail)
	select {
	case a.over <- over:
	default: // it was told before
	}
	return over
}

// retire ends what runs on a host that was removed from its cloud: its VMs may run elsewhere by
// now. Guests first; a daemon that dies here is told again at its next start.
func (a *agent) retire(ctx context.Context, cancel context.CancelCauseFunc, over error) error {
	slog.Error("this host was removed from its cloud: its guests and its switch are ended", "why", over)
	ctx, done := context.WithTimeout(context.WithoutCancel(ctx), retireWithin)
	defer done()
	err := a.sweeper.EndAll(ctx)
	cancel(over)
	a.tasks.Wait()
	return errors.Join(over, err, a.c.removeAll(ctx, true))
}
