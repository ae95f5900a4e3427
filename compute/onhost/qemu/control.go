package qemu

import (
	"cmp"
	"context"
	"log/slog"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

func warn(id resource.ID, what string, err error) { slog.Warn(what, "instance", id, "error", err) }

// Pause implements onhost.Hypervisor.
func (d *Driver) Pause(ctx context.Context, id resource.ID) error {
	g, err := d.known(id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	return fault.Wrap(g.do(ctx, "stop", nil, nil), "pause")
}

// Resume implements onhost.Hypervisor. A guest that has come from elsewhere opens its disks now,
// and tells the network where it is.
func (d *Driver) Resume(ctx context.Context, id resource.ID) error {
	g, err := d.known(id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	if err := g.do(ctx, "cont", nil, nil); err != nil {
		return fault.Wrap(err, "resume")
	}
	if g.saved.Incoming && !g.saved.Resumed {
		g.saved.Resumed = true
		if err := g.keep(); err != nil {
			return err
		}
		announce := map[string]any{"initial": 20, "max": 300, "rounds": 5, "step": 50}
		if err := g.do(ctx, "announce-self", announce, nil); err != nil {
			warn(id, "the network could not be told where the guest is", err)
		}
	}
	return nil
}

// Ask implements onhost.Hypervisor. Both ways are used: the button always, the guest's agent too
// where one is there.
func (d *Driver) Ask(ctx context.Context, id resource.ID) error {
	g, err := d.known(id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	if g.saved.AskedAt.IsZero() {
		g.saved.AskedAt = g.d.cfg.Now().UTC()
	}
	g.saved.Asks++
	if err := g.keep(); err != nil {
		return err
	}
	if err := g.do(ctx, "system_powerdown", nil, nil); err != nil {
		return fault.Wrap(err, "ask to power off")
	}
	g.askInside(ctx)
	return nil
}

// Kill implements onhost.Hypervisor.
func (d *Driver) Kill(ctx context.Context, id resource.ID) error {
	g, err := d.known(id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	return g.killFor(ctx)
}

// killFor writes down why before it ends QEMU.
func (g *guest) killFor(ctx context.Context) error {
	if !g.alive() {
		return g.finish()
	}
	if g.saved.Exit == "" {
		short, cancel := context.WithTimeout(ctx, 2*time.Second)
		seen, err := g.look(short)
		cancel()
		exit, message := compute.ExitForced, ""
		switch {
		case err == nil && seen.State == onhost.Ended:
			return nil
		case err == nil && seen.State == onhost.Off:
			exit = compute.ExitPoweredOff
		case err == nil && seen.State == onhost.Crashed:
			exit, message = compute.ExitCrashed, cmp.Or(seen.Problem, "the guest panicked")
		}
		if err := g.ends(exit, message); err != nil {
			return err
		}
	}
	return g.kill()
}

// kill lets QEMU close its disks in order, and if it does not, ends it all the same.
func (g *guest) kill() error {
	if g.alive() {
		if c, err := g.monitor(context.Background()); err == nil {
			ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
			err = c.Do(ctx, "quit", nil, nil)
			cancel()
			if err == nil {
				g.proc.waitEnd(5 * time.Second)
			}
		}
	}
	for range 2 {
		if !g.alive() {
			break
		}
		if err := g.proc.signal(unix.SIGKILL); err != nil && g.alive() {
			return fault.New(fault.Internal, "kill QEMU of instance %s: %w", g.id, err)
		}
		g.proc.waitEnd(5 * time.Second)
	}
	if g.alive() {
		return fault.New(fault.Unavailable, "QEMU of instance %s (pid %d) does not die: its storage may hang", g.id, g.saved.PID)
	}
	if err := g.d.cfg.Groups.Remove(g.group()); err != nil {
		warn(g.id, "the control group could not be removed", err)
	}
	return g.finish()
}

// Remove implements onhost.Hypervisor.
func (d *Driver) Remove(ctx context.Context, id resource.ID) error {
	g, err := d.known(id)
	if fault.Is(err, fault.NotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	if err := g.killFor(ctx); err != nil {
		return err
	}
	if err := d.cfg.Groups.Remove(g.group()); err != nil {
		return fault.New(fault.Unavailable, "remove instance %s: %w", id, err)
	}
	if err := os.RemoveAll(g.dir); err != nil {
		return fault.New(fault.Unavailable, "remove the folder of instance %s: %w", id, err)
	}
	g.letGo()
	d.mu.Lock()
	if d.lines[g.saved.VMID] == g.log {
		delete(d.lines, g.saved.VMID)
	}
	delete(d.guests, id)
	d.mu.Unlock()
	g.saved, g.proc, g.receives = saved{}, nil, false
	return nil
}
