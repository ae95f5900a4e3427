package wiring

import (
	"context"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/store"
)

// operations runs what the parts define, and offers it: to look at, and to cancel while that is possible.
func operations(db *store.DB, r Rights, undone func(*store.Batch, *operation.Operation, string), parts []part.Part) part.Part {
	var definitions []operation.Definition
	for _, p := range parts {
		definitions = append(definitions, p.Operations...)
	}
	runner := operation.NewRunner(db, r.OperationStatus, definitions...)
	runner.Undone = undone
	return part.Part{
		Loops:  []*reconcile.Loop{runner.Loop()},
		Routes: func(a *httpapi.API) { registerOperations(a, r.Operations, runner) },
	}
}

func registerOperations(a *httpapi.API, specs *store.SpecWriter[operation.Spec, operation.Status], runner *operation.Runner) {
	httpapi.Register(a, operation.Operations, httpapi.Routes[operation.Spec, operation.Status]{
		Ready: func(o *operation.Operation) (bool, error) { return operation.Outcome(o) },
	})
	httpapi.Action(a, operation.Operations, httpapi.Act{Name: "cancel", Summary: "Undo an operation that has not passed its point of no return"},
		func(_ context.Context, c *httpapi.Call, o *operation.Operation, _ *operation.CancelRequest) (*operation.Operation, error) {
			return o, operation.Cancel(c.Batch, specs, o)
		})
	httpapi.Handle(a, httpapi.Op{
		ID: "get-operation-progress", Method: "GET", Path: "/v1/projects/{project}/operations/{name}/progress", Right: httpapi.Read, Tag: "operations",
		Summary: "Say how far the present step of an operation is", Doc: "Progress is kept in memory and may be unknown.",
	}, func(_ context.Context, c *httpapi.Call, in *progressIn) (*progressOut, error) {
		o := store.Named(c.Snapshot, operation.Operations, c.Project, in.Name)
		if o == nil {
			return nil, fault.New(fault.NotFound, "no operation %q in project %s", in.Name, c.Project)
		}
		p, _ := runner.Progress(o.ID)
		return &progressOut{p}, nil
	})
}

type progressIn struct {
	Project string `path:"project" doc:"The name of the project."`
	Name    string `path:"name" doc:"The name or the id."`
}

type progressOut struct{ Body operation.Progress }
