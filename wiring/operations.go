package wiring

import (
	"context"
	"net/http"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/store"
)

// operations runs what the parts define, and offers it: to look at, and to cancel while that is possible.
func operations(db *store.DB, r Rights, undone func(*store.Batch, *operation.Operation, string), others Servers, parts []part.Part) part.Part {
	var definitions []operation.Definition
	for _, p := range parts {
		definitions = append(definitions, p.Operations...)
	}
	runner := operation.NewRunner(db, r.OperationStatus, definitions...)
	runner.Undone = undone
	return part.Part{
		Loops:  []*reconcile.Loop{runner.Loop()},
		Routes: func(a *httpapi.API) { registerOperations(a, r.Operations, runner, others) },
	}
}

func registerOperations(a *httpapi.API, specs *store.SpecWriter[operation.Spec, operation.Status], runner *operation.Runner, others Servers) {
	httpapi.Register(a, operation.Operations, httpapi.Routes[operation.Spec, operation.Status]{
		Ready: func(o *operation.Operation) (bool, error) { return operation.Outcome(o) },
	})
	httpapi.Action(a, operation.Operations, httpapi.Act{Name: "cancel", Summary: "Undo an operation that has not passed its point of no return"},
		func(_ context.Context, c *httpapi.Call, o *operation.Operation, _ *operation.CancelRequest) (*operation.Operation, error) {
			return o, operation.Cancel(c.Batch, specs, o)
		})
	httpapi.Handle(a, httpapi.Op{
		ID: "get-operation-progress", Method: "GET", Path: "/v1/projects/{project}/operations/{name}/progress", Right: httpapi.Read, Tag: "operations",
		Summary: "Say how far the present step of an operation is", Doc: "It is asked of the server that leads, and may be unknown.",
	}, func(ctx context.Context, c *httpapi.Call, in *progressIn) (*progressOut, error) {
		o := store.Named(c.Snapshot, operation.Operations, c.Project, in.Name)
		if o == nil {
			return nil, fault.New(fault.NotFound, "no operation %q in project %s", in.Name, c.Snapshot.NameOf(c.Project))
		}
		p, known := runner.Progress(o.ID)
		if !known && others != nil && !others.Leads() && !c.Server {
			path := "/v1/projects/" + string(c.Project) + "/operations/" + string(o.ID) + "/progress"
			if err := others.Ask(ctx, http.MethodGet, path, nil, &p); err != nil {
				return nil, err
			}
		}
		return &progressOut{p}, nil
	})
}

type progressIn struct {
	Project string `path:"project" doc:"The name or the id of the project."`
	Name    string `path:"name" doc:"The name or the id."`
}

type progressOut struct{ Body operation.Progress }
