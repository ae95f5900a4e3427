package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
)

// Where no systemd does it, virga up leaves a small process that starts a daemon again when it has died. It
// does nothing else, so that nothing of it can fail; it ends with virga down.

func superviseCommand() *cobra.Command {
	var f folders
	cmd := &cobra.Command{
		Use: "supervise", Short: "Keep the daemon running; virga up starts it", Hidden: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := f.resolve(cmd); err != nil {
				return err
			}
			code, err := supervise(cmd.Context(), &config{state: f.state, run: f.run})
			if err == nil && code != 0 {
				os.Exit(code) // the daemon has said why
			}
			return err
		},
	}
	f.flags(cmd)
	return cmd
}

func (c *config) supervisorFile() string { return filepath.Join(c.run, "supervisor.pid") }

// ended is how a daemon came to its end.
type ended struct {
	code   int           // of its exit; -1: a signal ended it
	told   bool          // the supervisor was told to end
	worked bool          // one was ready since the supervisor began
	ran    time.Duration // this one
}

const (
	soonest = time.Second
	latest  = time.Minute
)

// again decides whether another daemon is started, and after which pause. A start that fails is for a
// person to look at; a daemon that worked comes back, the slower the sooner it dies again.
func again(e ended, last time.Duration) (pause time.Duration, yes bool) {
	switch {
	case e.told, !e.worked, e.code == 0, e.code == fault.TooLate.ExitCode():
		return 0, false
	case last == 0 || e.ran > latest:
		return soonest, true
	}
	return min(2*last, latest), true
}

// supervise runs daemons, one after the other, and gives the exit code of the last.
func supervise(ctx context.Context, c *config) (code int, err error) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return 0, fault.New(fault.Internal, "find this program: %w", err)
	}
	pid := fmt.Sprintf("%d %s\n", os.Getpid(), startTime(os.Getpid()))
	if err := durable.Write(c.supervisorFile(), []byte(pid), 0o644); err != nil {
		return 0, err
	}
	defer os.Remove(c.supervisorFile())
	worked, pause := false, time.Duration(0)
	for {
		begun := time.Now()
		code, ready, err := c.runDaemon(ctx, self)
		if err != nil {
			return 0, err
		}
		worked = worked || ready
		e := ended{code: code, told: ctx.Err() != nil, worked: worked, ran: time.Since(begun)}
		yes := false
		if pause, yes = again(e, pause); !yes {
			return code, nil
		}
		slog.Error("the daemon has died and is started again", "code", code, "after", e.ran, "pause", pause)
		select {
		case <-ctx.Done():
			return 0, nil
		case <-time.After(pause):
		}
	}
}

// runDaemon runs one until it ends; when ctx ends it is told to.
func (c *config) runDaemon(ctx context.Context, self string) (code int, ready bool, err error) {
	cmd := exec.CommandContext(ctx, self, "daemon", "--state", c.state, "--run", c.run)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	if err := cmd.Start(); err != nil {
		return 0, false, fault.New(fault.Internal, "start the daemon: %w", err)
	}
	err = cmd.Wait()
	ready = c.worked(cmd.Process.Pid)
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) && ctx.Err() == nil {
		return 0, ready, fault.New(fault.Internal, "wait for the daemon: %w", err)
	}
	return cmd.ProcessState.ExitCode(), ready, nil
}

// The daemon writes its number here before it says that it is ready: whoever ends it in the next moment has
// ended one that worked.
func (c *config) workedFile() string { return filepath.Join(c.run, "worked.pid") }

func (c *config) sayWorked() error {
	return fault.Wrap(os.WriteFile(c.workedFile(), fmt.Append(nil, os.Getpid()), 0o644), "say that the daemon works")
}

func (c *config) worked(pid int) bool {
	data, err := os.ReadFile(c.workedFile())
	return err == nil && string(data) == fmt.Sprint(pid)
}

// awaitReady waits until the daemon answers; false: it ended before.
func (c *config) awaitReady(ctx context.Context) bool {
	for {
		if c.ready(ctx) == nil {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// stopSupervisor ends it, so that no other daemon is started; it tells the daemon to end.
func (c *config) stopSupervisor(patience time.Duration) {
	pid := c.processIn(c.supervisorFile())
	if pid == 0 {
		return
	}
	begun := startTime(pid)
	_ = syscall.Kill(pid, syscall.SIGTERM)
	for deadline := time.Now().Add(patience); startTime(pid) == begun; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // and then the daemon, by who waits for that
			deadline = deadline.Add(time.Minute)
		}
	}
}
