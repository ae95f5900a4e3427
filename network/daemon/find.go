package daemon

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/proc"
)

// find gives every process of the program, whatever became of its pid file.
func (p Program) find() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil && pid > 1 && p.isOurs(pid) {
			out = append(out, pid)
		}
	}
	return out
}

// isOurs reads a process's command line. One that has died has none.
func (p Program) isOurs(pid int) bool {
	line, err := os.ReadFile(procFile(pid, "cmdline"))
	if err != nil || p.Mark == "" || !bytes.Contains(line, []byte(p.Mark)) {
		return false
	}
	words := strings.Split(string(line), "\x00")
	return filepath.Base(words[0]) == filepath.Base(p.Path) && slices.Contains(words[1:], p.Mark) && isUsers(pid) && p.isHere(pid)
}

// isUsers reports whether a process is our user's: anybody may write what he likes on a command line.
func isUsers(pid int) bool {
	info, err := os.Stat(procFile(pid, ""))
	return err == nil && int(info.Sys().(*syscall.Stat_t).Uid) == os.Geteuid()
}

// isHere reports whether the path of the mark means to a process what it means to us: in a container
// beside us it is another.
func (p Program) isHere(pid int) bool {
	ours, err := os.Readlink("/proc/self/ns/mnt")
	theirs, failed := os.Readlink(procFile(pid, "ns/mnt"))
	if err == nil && failed == nil && ours == theirs {
		return true
	}
	_, path, _ := strings.Cut(p.Mark, "=")
	folder := filepath.Dir(path)
	a, err := os.Stat(folder)
	b, failed := os.Stat(procFile(pid, "root"+folder))
	return err == nil && failed == nil && os.SameFile(a, b)
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// age is how long a process has run; 0 if nobody can tell.
func age(pid int) time.Duration {
	s, err := proc.Look(pid)
	uptime, failed := os.ReadFile("/proc/uptime")
	if err != nil || failed != nil {
		return 0
	}
	seconds, _, _ := strings.Cut(string(uptime), " ")
	up, err := strconv.ParseFloat(seconds, 64)
	if err != nil {
		return 0
	}
	return time.Duration((up - float64(s.Began)/100) * float64(time.Second))
}

// Stop asks the program to end, waits, and then forces it. Absent is success.
func (p Program) Stop(ctx context.Context) error {
	var errs []error
	for _, pid := range p.find() {
		errs = append(errs, p.end(ctx, pid, unix.SIGTERM, unix.SIGKILL))
	}
	return errors.Join(errs...)
}

// end sends signals to a process, one after the other, until it has ended.
func (p Program) end(ctx context.Context, pid int, signals ...unix.Signal) error {
	fd, err := unix.PidfdOpen(pid, 0) // the number cannot come to mean another
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return fault.New(fault.Unavailable, "stop %s: take hold of process %d: %w", p.Name, pid, err)
	}
	defer unix.Close(fd)
	if !p.isOurs(pid) {
		return nil
	}
	for _, signal := range signals {
		if err := unix.PidfdSendSignal(fd, signal, nil, 0); errors.Is(err, unix.ESRCH) {
			return nil
		} else if err != nil {
			return fault.New(fault.Unavailable, "stop %s: signal process %d: %w", p.Name, pid, err)
		}
		if ended(ctx, fd, 5*time.Second) {
			return nil
		}
	}
	return fault.New(fault.Unavailable, "stop %s: process %d does not end; end it by kill -9 %d", p.Name, pid, pid)
}

// ended waits until a process has ended and let go of its files.
func ended(ctx context.Context, pidfd int, within time.Duration) bool {
	for end := time.Now().Add(within); ; {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(pidfd), Events: unix.POLLIN}}, 20)
		if n > 0 {
			return true
		}
		if ctx.Err() != nil || time.Now().After(end) {
			return false
		}
	}
}
