package wiring

import (
	"context"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/task"
	"github.com/virga-cloud/virga/engine/task/process"
)

// taskRunner does what the parts of a host can do.
func taskRunner(known reconcile.Knowledge, host resource.ID, l *store.Registry, parts []part.Part) *task.Runner {
	var definitions []task.Definition
	for _, p := range parts {
		definitions = append(definitions, p.Tasks...)
	}
	return task.NewRunner(known, host, store.Statuses(l, task.Tasks, "agent"), definitions...)
}

// programs ends those of tasks that have no record any more.
func programs(known reconcile.Knowledge, f process.Folder) part.Chore {
	p := &reconcile.Pruner{Name: "program of a task", Kind: task.Tasks.Kind, Wait: time.Minute,
		List:   func(context.Context) ([]resource.ID, error) { return f.List() },
		Remove: func(_ context.Context, id resource.ID) error { return f.Stop(id) },
	}
	return part.Chore{Name: "task/programs", Every: time.Minute, Do: func(ctx context.Context) error { return p.Sweep(ctx, known) }}
}

// tasks takes tasks away when they are over, and offers them: to look at, and to cancel.
func tasks(db *store.DB, r Rights, progress func(context.Context, *task.Task) (task.Progress, error)) part.Part {
	return part.Part{
		Loops:  []*reconcile.Loop{task.NewController(db, r.Tasks).Loop()},
		Routes: func(a *httpapi.API) { registerTasks(a, r.Tasks, progress) },
	}
}

func registerTasks(a *httpapi.API, specs *store.SpecWriter[task.Spec, task.Status], progress func(context.Context, *task.Task) (task.Progress, error)) {
	httpapi.Register(a, task.Tasks, httpapi.Routes[task.Spec, task.Status]{
		Ready: func(t *task.Task) (bool, error) { return task.Outcome(t) },
	})
	httpapi.Action(a, task.Tasks, httpapi.Act{Name: "cancel", Summary: "Stop a task, and remove what it has half made"},
		func(_ context.Context, c *httpapi.Call, t *task.Task, _ *task.CancelRequest) (*task.Task, error) {
			return t, task.Cancel(c.Batch, specs, t)
		})
	httpapi.Handle(a, httpapi.Op{
		ID: "get-task-progress", Method: "GET", Path: "/v1/projects/{project}/tasks/{name}/progress", Right: httpapi.Read, Tag: "tasks",
		Summary: "Say how far a task is", Doc: "It is asked of the host that does it, and may be unknown.",
	}, func(ctx context.Context, c *httpapi.Call, in *progressIn) (*progressOut, error) {
		t := store.Named(c.Snapshot, task.Tasks, c.Project, in.Name)
		if t == nil {
			return nil, fault.New(fault.NotFound, "no task %q in project %s", in.Name, c.Snapshot.NameOf(c.Project))
		}
		out := &progressOut{}
		if progress == nil || t.Status.Phase != task.Running {
			return out, nil
		}
		p, err := progress(ctx, t)
		out.Body = p
		return out, err
	})
}
