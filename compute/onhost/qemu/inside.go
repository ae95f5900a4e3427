package qemu

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute/onhost"
	agent "github.com/virga-cloud/virga/compute/onhost/guest"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// largest is the size in bytes of a screenshot that is still read.
const largest = 32 << 20

// listening reports whether somebody in the guest has the agent's port open. It spares the wait.
func (g *guest) listening(ctx context.Context) bool {
	var devices []struct {
		Label string `json:"label"`
		Open  bool   `json:"frontend-open"`
	}
	if err := g.do(ctx, "query-chardev", nil, &devices); err != nil {
		return false
	}
	for _, d := range devices {
		if d.Label == "qga" {
			return d.Open
		}
	}
	return false
}

// Inside implements onhost.Insider.
func (d *Driver) Inside(ctx context.Context, id resource.ID) onhost.Insight {
	g, err := d.known(id)
	if err != nil {
		return onhost.Insight{}
	}
	there, pid := g.alive() && g.listening(ctx), g.saved.PID
	g.mu.Unlock() // a guest that answers slowly holds up nobody who works on it
	if !there {
		return onhost.Insight{}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	c, err := g.agent(ctx, pid)
	if err != nil {
		return onhost.Insight{}
	}
	defer func() { _ = c.Close() }()
	out := onhost.Insight{Answers: true}
	interfaces, err := c.Interfaces(ctx)
	if err != nil {
		return out
	}
	for _, i := range interfaces {
		for _, a := range i.Addresses {
			if !a.IsLoopback() {
				out.Addresses = append(out.Addresses, a.String())
			}
		}
	}
	return out
}

// agent greets the agent in the guest. It needs no lock.
func (g *guest) agent(ctx context.Context, pid int) (*agent.Client, error) {
	conn, err := connect(ctx, g.dir, agentSocket, pid)
	if err != nil {
		return nil, err
	}
	return agent.New(ctx, conn)
}

// askInside asks the guest's agent to power the guest off; that none is there is normal.
func (g *guest) askInside(ctx context.Context) {
	if !g.listening(ctx) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	c, err := g.agent(ctx, g.proc.pid)
	if err != nil {
		return
	}
	defer func() { _ = c.Close() }()
	if err := c.Shutdown(ctx); err != nil {
		warn(g.id, "the guest's agent could not be asked to power off", err)
	}
}

// Screenshot implements onhost.Screenshotter.
func (d *Driver) Screenshot(ctx context.Context, id resource.ID) ([]byte, error) {
	g, err := d.known(id)
	if err != nil {
		return nil, err
	}
	defer g.mu.Unlock()
	if !g.saved.Screen {
		return nil, fault.New(fault.Precondition, "show the screen of instance %s: it has none", id)
	}
	path := filepath.Join(g.own(), screenFile)
	defer func() { _ = os.Remove(path) }()
	if err := g.do(ctx, "screendump", map[string]any{"filename": path, "format": "png"}, nil); err != nil {
		return nil, fault.Wrap(err, "show the screen")
	}
	f, err := openOwn(path)
	if err != nil {
		return nil, fault.New(fault.Internal, "read the screen of instance %s: %w", id, err)
	}
	defer func() { _ = f.Close() }()
	out, err := io.ReadAll(io.LimitReader(f, largest))
	if err != nil {
		return nil, fault.New(fault.Unavailable, "read the screen of instance %s: %w", id, err)
	}
	return out, nil
}

// openOwn opens a file in the folder that QEMU's user can write: it may have put a link or
// a pipe there.
func openOwn(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), path)
	if info, err := f.Stat(); err != nil || !info.Mode().IsRegular() {
		_ = f.Close()
		return nil, errors.Join(err, errors.New(path+" is no plain file"))
	}
	return f, nil
}
