package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/proc"
)

// pidFile names the daemon's process and the time it began, so that a number that was given to
// another process is not taken for ours.
func (c *config) pidFile() string { return filepath.Join(c.run, "virga.pid") }

func (c *config) writePID() error {
	text := fmt.Sprintf("%d %s\n", os.Getpid(), startTime(os.Getpid()))
	return durable.Write(c.pidFile(), []byte(text), 0o644)
}

// daemonPID is the running daemon of these folders; 0 if none runs. One whose run folder was emptied,
// or that was given another, is known by its lock on the state folder.
func (c *config) daemonPID() int {
	if pid := c.pidInRun(); pid != 0 {
		return pid
	}
	return lockHolder(c.state)
}

func (c *config) pidInRun() int { return c.processIn(c.pidFile()) }

// processIn is the process that a file names; 0 if it runs no more.
func (c *config) processIn(file string) int {
	data, err := os.ReadFile(file)
	if err != nil {
		return 0
	}
	pid, begun, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	n, err := strconv.Atoi(pid)
	if err != nil || begun == "" || startTime(n) != begun {
		return 0
	}
	return n
}

// startTime is when a process began; empty if there is no such process, or it is a zombie.
func startTime(pid int) string {
	s, err := proc.Look(pid)
	if err != nil || s.Ended() {
		return ""
	}
	return strconv.FormatUint(s.Began, 10)
}

// startDaemon starts the daemon as a process of its own and waits until it is ready.
func (c *config) startDaemon(ctx context.Context) error {
	self, err := os.Executable()
	if err != nil {
		return fault.New(fault.Internal, "find this program: %w", err)
	}
	if err := os.MkdirAll(c.run, 0o711); err != nil {
		return fault.New(fault.Internal, "make the run folder: %w", err)
	}
	log, err := os.OpenFile(c.logFile(), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return fault.New(fault.Internal, "open the log: %w", err)
	}
	defer log.Close()
	begin, _ := log.Seek(0, 2)
	if c.installed() && hasSystemd() {
		return c.startUnit(ctx, begin)
	}
	c.stopSupervisor(20 * time.Second) // one whose daemon has just died waits to start another
	cmd := exec.Command(self, "supervise", "--state", c.state, "--run", c.run)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fault.New(fault.Internal, "start the daemon: %w", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		if err := c.ready(ctx); err == nil {
			return nil
		} else if ctx.Err() != nil {
			// A start that failed leaves nothing running; what it began, the next one finds.
			_, _ = c.stopDaemon(5 * time.Second)
			_ = cmd.Process.Kill()
			<-ended
			return fault.New(fault.Unavailable, "the daemon was not ready in time (%w) and was ended; it last said: %s", err, lastWords(c.logFile(), begin))
		}
		select {
		case err := <-ended:
			return fault.New(fault.Precondition, "the daemon ended at once (%s): %s; its log is %s", ending(err), lastWords(c.logFile(), begin), c.logFile())
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// startUnit lets systemd start the daemon, which returns when it is ready.
func (c *config) startUnit(ctx context.Context, begin int64) error {
	if err := systemctl(ctx, "start", c.unitName()); err != nil {
		return fault.New(fault.Precondition, "the daemon did not start: %s; its log is %s (%w)", lastWords(c.logFile(), begin), c.logFile(), err)
	}
	if !c.awaitReady(ctx) {
		return fault.New(fault.Unavailable, "the daemon was not ready in time; it last said: %s", lastWords(c.logFile(), begin))
	}
	return nil
}

// ending says how a process ended: "exit status 1", "signal: killed".
func ending(err error) string {
	if err == nil {
		return "exit status 0"
	}
	return err.Error()
}

func (c *config) logFile() string { return c.in("virga.log") }

// ready asks the daemon on its socket whether it can do its work.
func (c *config) ready(ctx context.Context) error {
	client := http.Client{Timeout: time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", c.socket())
		}, DisableKeepAlives: true}}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://virga/ready", nil)
	if err != nil {
		return err
	}
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return errors.New("it is not ready yet: " + answer.Status)
	}
	return nil
}

// stopDaemon asks the daemon to end and waits; one that does not end in time is killed, which it
// is built to survive.
func (c *config) stopDaemon(patience time.Duration) (stopped bool, err error) {
	pid := c.daemonPID()
	begun := startTime(pid)
	if c.installed() && hasSystemd() {
		if err := systemctl(context.Background(), "stop", c.unitName()); err != nil {
			return false, err
		}
	}
	c.stopSupervisor(patience)
	if pid == 0 {
		return false, nil
	}
	if err := syscall.Kill(pid, syscall.SIGTERM); startTime(pid) == begun && err != nil && !errors.Is(err, syscall.ESRCH) {
		return false, fault.New(fault.Denied, "stop the daemon (process %d): %w", pid, err)
	}
	for deadline := time.Now().Add(patience); startTime(pid) == begun; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			deadline = deadline.Add(time.Minute)
		}
	}
	_ = os.Remove(c.pidFile())
	return true, nil
}
