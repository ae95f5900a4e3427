package main

import (
	"cmp"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"time"

	"github.com/virga-cloud/virga/compute/image"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/task"
	"github.com/virga-cloud/virga/engine/task/process"
)

// programs are those of this host's tasks.
func (a *agent) programs() process.Folder { return process.Folder{Path: a.c.in("tasks")} }

// converter converts what the server of this host has staged; nil where there is none.
func (a *agent) converter() *image.Converter {
	if a.c.Server != "yes" {
		return nil
	}
	blobs := image.BlobsIn(cmp.Or(a.c.Images, a.c.in("images")))
	return &image.Converter{Importer: image.Importer{Blobs: blobs, Tool: imageTool()}, Programs: a.programs()}
}

// asking is how long a host may take to say how far a task is.
const asking = 2 * time.Second

// taskProgress asks the agent of a task's host.
func (s *server) taskProgress(ctx context.Context, t *task.Task) (p task.Progress, err error) {
	ctx, stop := context.WithTimeout(ctx, asking)
	defer stop()
	way := &http.Transport{DisableKeepAlives: true, DialTLSContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return s.dialAgent(ctx, t.Spec.HostID)
	}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://agent/tasks/"+string(t.ID)+"/progress", nil)
	if err != nil {
		return p, err
	}
	answer, err := way.RoundTrip(request)
	if err != nil {
		return p, fault.New(fault.Unavailable, "ask the host of task %s: %w", t.Name, err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return p, fault.New(fault.Unavailable, "ask the host of task %s: it answered %s", t.Name, answer.Status)
	}
	return p, json.NewDecoder(http.MaxBytesReader(nil, answer.Body, 64<<10)).Decode(&p)
}
