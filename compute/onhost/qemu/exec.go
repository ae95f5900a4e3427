package qemu

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/virga-cloud/virga/compute"
	agent "github.com/virga-cloud/virga/compute/onhost/guest"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

const (
	// agentBusy is how long somebody else may hold the agent's socket, which serves one at a time.
	agentBusy = 5 * time.Second
	// turn is how long a file's pieces follow each other before others may ask the agent too.
	turn = 500 * time.Millisecond
	// lastWord is how long the agent has to close a file of which nobody wants more.
	lastWord = 5 * time.Second
)

// asking puts questions to the agent in a guest, over a connection that is theirs alone.
func (d *Driver) asking(ctx context.Context, id resource.ID, do func(*agent.Client) error) error {
	g, err := d.known(id)
	if err != nil {
		return err
	}
	there, pid := g.alive() && g.listening(ctx), g.proc.pid
	g.mu.Unlock() // a guest that answers slowly holds up nobody who works on it
	if !there {
		return fault.New(fault.Precondition, "nobody answers inside the guest: its agent (package qemu-guest-agent) is not installed, or does not run yet")
	}
	var c *agent.Client
	for until := time.Now().Add(agentBusy); ; {
		if c, err = g.agent(ctx, pid); err == nil {
			break
		}
		if !errors.Is(err, agent.ErrAbsent) || ctx.Err() != nil || time.Now().After(until) {
			return insideFault(err)
		}
	}
	defer func() { _ = c.Close() }()
	return insideFault(do(c))
}

// insideFault says what an answer of the agent, or none, means for who asked.
func insideFault(err error) error {
	said, isAnswer := errors.AsType[*agent.Error](err)
	switch {
	case err == nil:
		return nil
	case isAnswer:
		return fault.New(fault.Precondition, "the guest's agent refuses: %s", said.Desc)
	case errors.Is(err, agent.ErrReply):
		return fault.New(fault.Precondition, "the guest's agent gives no proper answer: %w", err)
	case fault.KindOf(err) != fault.Internal:
		return err
	}
	return fault.New(fault.Unavailable, "the guest's agent does not answer: %w; try again", err)
}

// Exec implements onhost.Executor.
func (d *Driver) Exec(ctx context.Context, id resource.ID, r compute.ExecRequest) (compute.ExecResult, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Timeout())
	defer cancel()
	var pid int64
	err := d.asking(ctx, id, func(c *agent.Client) (err error) {
		pid, err = c.Exec(ctx, r.Command, r.Env, r.Stdin)
		return err
	})
	if err != nil {
		return compute.ExecResult{}, err
	}
	for pause := 20 * time.Millisecond; ; pause = min(pause*2, 500*time.Millisecond) {
		var p agent.Process
		err := d.asking(ctx, id, func(c *agent.Client) (err error) {
			p, err = c.Status(ctx, pid)
			return err
		})
		switch {
		case err == nil && p.Exited:
			return compute.ExecResult{ExitCode: p.ExitCode, Signal: p.Signal, Stdout: p.Stdout, Stderr: p.Stderr, Truncated: p.StdoutCut || p.StderrCut}, nil
		case err != nil && ctx.Err() == nil:
			return compute.ExecResult{}, err
		}
		select {
		case <-ctx.Done():
			return compute.ExecResult{}, fault.New(fault.Unavailable, "the command has not ended after %s, and goes on in the guest as process %d; give it more time, or end it there", r.Timeout(), pid)
		case <-time.After(pause):
		}
	}
}

// ReadFile implements onhost.Executor.
func (d *Driver) ReadFile(ctx context.Context, id resource.ID, path string, to io.Writer) error {
	return d.withFile(ctx, id, path, "r", func(c *agent.Client, handle int64) (more bool, err error) {
		data, end, err := c.ReadFile(ctx, handle)
		if err == nil {
			_, err = to.Write(data)
		}
		return !end, err
	})
}

// WriteFile implements onhost.Executor.
func (d *Driver) WriteFile(ctx context.Context, id resource.ID, path string, from io.Reader) error {
	piece := make([]byte, agent.Piece)
	return d.withFile(ctx, id, path, "w", func(c *agent.Client, handle int64) (more bool, err error) {
		n, readErr := io.ReadFull(from, piece)
		for rest := piece[:n]; len(rest) > 0 && err == nil; {
			var taken int
			taken, err = c.WriteFile(ctx, handle, rest)
			rest = rest[taken:]
		}
		switch {
		case err != nil:
			return false, err
		case readErr == io.EOF || readErr == io.ErrUnexpectedEOF:
			return false, nil
		case readErr != nil:
			return false, fault.New(fault.Unavailable, "what is to be written broke off: %w; the file in the guest is there in part", readErr)
		}
		return true, nil
	})
}

// withFile opens a file in the guest and carries pieces of it, with turns between which others may ask the
// agent, and closes it.
func (d *Driver) withFile(ctx context.Context, id resource.ID, path, mode string, carry func(*agent.Client, int64) (bool, error)) error {
	var handle int64
	err := d.asking(ctx, id, func(c *agent.Client) (err error) {
		handle, err = c.OpenFile(ctx, path, mode)
		return err
	})
	if err != nil {
		return err
	}
	for more := true; more && err == nil; {
		err = d.asking(ctx, id, func(c *agent.Client) (err error) {
			for until := time.Now().Add(turn); more && err == nil && time.Now().Before(until); {
				more, err = carry(c, handle)
			}
			return err
		})
	}
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastWord)
	defer cancel()
	closed := d.asking(closing, id, func(c *agent.Client) error { return c.CloseFile(closing, handle) })
	if err == nil {
		err = closed
	}
	return err
}
