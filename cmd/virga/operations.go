package main

import (
	"context"

	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/store"
)

// CancelRequest asks for an operation to be undone.
type CancelRequest struct{}

// registerOperations offers operations: to look at, and to cancel while that is possible.
func registerOperations(a *httpapi.API, specs *store.SpecWriter[operation.Spec, operation.Status], runner *operation.Runner) {
	httpapi.Register(a, operation.Operations, httpapi.Routes[operation.Spec, operation.Status]{
		Ready: func(o *operation.Operation) (bool, error) { return operation.Outcome(o) },
	})
	httpapi.Action(a, operation.Operations, httpapi.Act{Name: "cancel", Summary: "Undo an operation that has not passed its point of no return"},
		func(_ context.Context, c *httpapi.Call, o *operation.Operation, _ *CancelRequest) (*operation.Operation, error) {
			return o, operation.Cancel(c.Batch, specs, o)
		})
	httpapi.Action(a, operation.Operations, httpapi.Act{Name: "progress", Summary: "Say how far the present step of an operation is", Right: httpapi.Read},
		func(_ context.Context, _ *httpapi.Call, o *operation.Operation, _ *CancelRequest) (*operation.Progress, error) {
			p, _ := runner.Progress(o.ID)
			return &p, nil
		})
}
