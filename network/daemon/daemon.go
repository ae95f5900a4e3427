// Package daemon keeps programs running that must outlive us: children of nobody, adopted when
// we come back.
//
// A program detaches itself and writes and locks its own pid file. What holds that lock and has a word
// of ours on its command line is ours: once it answers it is adopted and not started twice. A number in
// an old pid file that now belongs to a stranger is nobody. If we die between start and adoption, the
// pid file is still there to be found.
//
// The pid file and the sockets lie in the run folder, which somebody may empty, or name another one. The
// word on the command line names the state folder: so what runs is found in /proc all the same. It can
// be ended, but not be spoken to: nobody can connect to a socket without a name. It is ended as a crash
// would end it, which leaves what it has set up, and started anew.
package daemon

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
)

// Program is one daemon. It must detach itself when started with Args, after it is ready, and
// write and lock PIDFile.
type Program struct {
	// Name for messages: "ovn-northd".
	Name string
	// Path is the executable, Args what follows it.
	Path string
	Args []string
	// Env is added to the environment.
	Env []string
	// Mark is a whole word of Args, OPTION=PATH, by which a process is known as ours: no other has it, and
	// the path is in the state folder.
	Mark string
	// PIDFile is written by the program itself, in the run folder.
	PIDFile string
	// Serves are the sockets that others speak to it by.
	Serves []string
	// Prepare makes what it needs before it is started; nil: nothing.
	Prepare func(context.Context) error
	// Control is its control socket, on which a program that lives answers. "{pid}" in it stands for
	// the number of its process.
	Control string
}

// PID is the running process, 0 if there is none.
func (p Program) PID() int {
	if pid := lockedBy(p.PIDFile); pid > 1 && p.isOurs(pid) {
		return pid
	}
	if found := p.find(); len(found) > 0 {
		return found[0]
	}
	return 0
}

// lockedBy asks the kernel who holds the pid file: a process that has died holds nothing, and a
// new process with its number does not either, so that the start time need not be compared.
func lockedBy(path string) int {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return 0
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_GETLK, &lock); err != nil || lock.Type == unix.F_UNLCK {
		return 0
	}
	return int(lock.Pid)
}

// patience is how long a program may be on its way, without its sockets.
const patience = 2 * time.Second

// runs reports whether the program runs and answers. One that is just dying holds its pid file until
// the very end, and answers nobody: no other can be started before it is gone. One that nobody can
// speak to is ended.
func (p Program) runs(ctx context.Context) (bool, error) {
	for begun := time.Now(); ; {
		pid, holder := p.PID(), lockedBy(p.PIDFile)
		if pid == 0 && holder == 0 {
			return false, nil
		}
		if pid != 0 && p.serves() && answers(ctx, p.control(pid)) {
			return true, nil
		}
		if pid != 0 && !p.reachable(pid) && max(age(pid), time.Since(begun)) > patience {
			slog.Warn("a daemon runs whose sockets are gone; it is ended, to start it anew", "daemon", p.Name, "pid", pid)
			if err := p.end(ctx, pid, unix.SIGKILL); err != nil {
				return false, err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return false, fault.New(fault.Unavailable, "start %s: process %d has its place and does not answer at %s; end that process", p.Name, max(pid, holder), p.control(max(pid, holder)))
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// serves reports whether all its sockets are there.
func (p Program) serves() bool {
	for _, socket := range p.Serves {
		if _, err := os.Lstat(socket); err != nil {
			return false
		}
	}
	return true
}

// reachable reports whether it can be spoken to, now or when it goes on.
func (p Program) reachable(pid int) bool {
	_, err := os.Lstat(p.control(pid))
	return err == nil && p.serves()
}

func (p Program) control(pid int) string {
	return strings.ReplaceAll(p.Control, "{pid}", strconv.Itoa(pid))
}

// answers asks for the version, which every program of Open vSwitch and OVN tells.
func answers(ctx context.Context, socket string) bool {
	conn, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
	if err != nil {
		return false
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.Close() })()
	if _, err := conn.Write([]byte(`{"id":0,"method":"version","params":[]}`)); err != nil {
		return false
	}
	_, err = conn.Read(make([]byte, 1))
	return err == nil
}

// Ensure starts the program unless it runs; started says whether it did.
func (p Program) Ensure(ctx context.Context) (started bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	if there, err := p.runs(ctx); there || err != nil {
		return false, err
	}
	if err := os.MkdirAll(filepath.Dir(p.PIDFile), 0o700); err != nil {
		return false, fault.New(fault.Unavailable, "start %s: %w", p.Name, err)
	}
	if p.Prepare != nil {
		if err := p.Prepare(ctx); err != nil {
			return false, err
		}
	}
	cmd := exec.CommandContext(ctx, p.Path, p.Args...)
	cmd.Env = append(os.Environ(), p.Env...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Run(); err != nil {
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return false, fault.New(fault.Precondition, "start %s: %s is not installed", p.Name, p.Path)
		}
		return false, fault.New(fault.Unavailable, "start %s: %w: %s", p.Name, err, lastLine(said.String()))
	}
	return true, nil
}

// Await returns when the program's process has ended, or ctx has. An error: the kernel cannot tell.
func (p Program) Await(ctx context.Context) error {
	pid := p.PID()
	if pid == 0 {
		return nil
	}
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	if err != nil {
		return err
	}
	process := os.NewFile(uintptr(fd), p.Name)
	defer process.Close()
	if !p.isOurs(pid) { // it ended between the two, and the number is another's now
		return nil
	}
	conn, err := process.SyscallConn()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { _ = process.SetReadDeadline(time.Unix(1, 0)) })()
	err = conn.Read(func(fd uintptr) bool {
		n, _ := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n > 0
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
