package httpapi

import (
	"context"
	"net/http"
	"reflect"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// While gives a context that ends, with the reason as its cause, soon after check fails. It is for
// what lasts: a watch, a console, an upload. Stop ends the asking, and waits for it.
func While(ctx context.Context, every time.Duration, check func() error) (context.Context, func()) {
	ctx, end := context.WithCancelCause(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(every)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := check(); err != nil {
				end(err)
				return
			}
		}
	}()
	return ctx, func() { end(nil); <-done }
}

// stillAdmitted reports whether the sender of a request that lasts may go on: the token may have been
// deleted or have expired since, the host removed, the project deleted.
func (a *API) stillAdmitted(r *http.Request, action string, began Caller) error {
	project := resource.ID(r.PathValue("project"))
	now, err := a.admit(r, action, project, a.projectName(project))
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(now, began) {
		return fault.New(fault.Unauthenticated, "the rights of %s have changed; begin again", began.User)
	}
	_, err = a.project(&Call{Project: project, Snapshot: a.DB.Snapshot()})
	return err
}
