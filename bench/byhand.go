package bench

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/virga-cloud/virga/compute/onhost/qmp"
)

// handMove is how a migration by QMP alone went.
type handMove struct{ total, stopped time.Duration }

// moveTo moves a replica into another's QEMU process, with the settings that ours have, and ends the
// one that it came from. On one host the memory goes over a unix socket, else by TCP over the link.
func (r *replica) moveTo(to *replica) handMove {
	r.Helper()
	ctx, cancel := context.WithTimeout(r.Context(), slow)
	defer cancel()
	source := r.dial(ctx)
	defer source.Close()
	sourceSays, over := source.Events()
	defer over()

	begun := time.Now()
	to.start("-S", "-incoming", "defer")
	target := to.dial(ctx)
	defer target.Close()
	targetSays, alsoOver := target.Events()
	defer alsoOver()
	way := "unix:" + filepath.Join(to.dir, "in.sock")
	if to.host != r.host {
		way = "tcp:" + to.host.Address + ":4444"
	}
	r.do(ctx, target, "migrate-set-capabilities", capabilities("events", "late-block-activate"))
	r.do(ctx, target, "migrate-incoming", map[string]any{"uri": way})
	r.do(ctx, source, "migrate-set-capabilities", capabilities("events", "auto-converge"))
	r.do(ctx, source, "migrate-set-parameters", map[string]any{"max-bandwidth": int64(10_000_000_000), "downtime-limit": 300})
	r.do(ctx, source, "migrate", map[string]any{"uri": way})
	stop := r.hears(sourceSays, "STOP", "")
	r.hears(sourceSays, "MIGRATION", `"completed"`)
	r.hears(targetSays, "MIGRATION", `"completed"`)
	r.do(ctx, target, "cont", nil)
	total := time.Since(begun)
	resumed := r.hears(targetSays, "RESUME", "")
	r.stop()
	return handMove{total: total, stopped: resumed.Sub(stop)}
}

func capabilities(names ...string) map[string]any {
	var all []map[string]any
	for _, n := range names {
		all = append(all, map[string]any{"capability": n, "state": true})
	}
	return map[string]any{"capabilities": all}
}

func (r *replica) dial(ctx context.Context) *qmp.Client {
	r.Helper()
	for {
		c, err := qmp.Dial(ctx, filepath.Join(r.dir, "qmp.sock"))
		if err == nil {
			return c
		}
		if ctx.Err() != nil {
			r.Fatalf("the replica's QEMU does not answer: %v; stderr: %s", err, read(filepath.Join(r.dir, "stderr")))
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (r *replica) do(ctx context.Context, c *qmp.Client, command string, args any) {
	r.Helper()
	if err := c.Do(ctx, command, args, nil); err != nil {
		r.Fatalf("%s: %v", command, err)
	}
}

// hears waits for an event, and gives the time that QEMU says it was at.
func (r *replica) hears(events <-chan qmp.Event, name, data string) time.Time {
	r.Helper()
	for {
		select {
		case e, more := <-events:
			if !more {
				r.Fatalf("QEMU ended before it said %s", name)
			}
			if e.Name == name && strings.Contains(string(e.Data), data) {
				return e.At
			}
		case <-time.After(time.Minute):
			r.Fatalf("QEMU has not said %s %s", name, data)
		}
	}
}
