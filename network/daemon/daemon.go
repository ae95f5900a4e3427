// Package daemon keeps programs running that must outlive us: children of nobody, adopted when
// we come back.
//
// A program detaches itself and writes and locks its own pid file. What holds that lock, was
// started before the file was written, and has a path of ours on its command line, is ours: once
// it answers it is adopted and not started twice. A number in an old pid file that now belongs to a stranger
// is nobody. If we die between start and adoption, the pid file is still there to be found.
package daemon

import (
	"bytes"
	"context"
	"errors"
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
	// PIDFile is written by the program itself. It lies in a folder of ours and stands on the
	// command line: by it a process is known as ours.
	PIDFile string
	// Control is its control socket, on which a program that lives answers. "{pid}" in it stands for
	// the number of its process.
	Control string
}

// PID is the running process, 0 if there is none.
func (p Program) PID() int {
	data, err := os.ReadFile(p.PIDFile)
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(data)))
	if err != nil || pid <= 1 || !p.isOurs(pid) {
		return 0
	}
	return pid
}

func (p Program) isOurs(pid int) bool {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil || !bytes.Contains(line, []byte(p.PIDFile)) {
		return false
	}
	return lockedBy(p.PIDFile) == pid
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

// runs reports whether the program runs and answers. One that is just dying holds its pid file until
// the very end, and answers nobody: no other can be started before it is gone.
func (p Program) runs(ctx context.Context) (bool, error) {
	for {
		holder := lockedBy(p.PIDFile)
		if holder == 0 {
			return false, nil
		}
		if p.PID() == holder && answers(ctx, p.control(holder)) {
			return true, nil
		}
		select {
		case <-ctx.Done():
			return false, fault.New(fault.Unavailable, "start %s: process %d has its place and does not answer at %s; end that process", p.Name, holder, p.control(holder))
		case <-time.After(5 * time.Millisecond):
		}
	}
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

// Stop asks the program to end, waits, and then forces it. Absent is success.
func (p Program) Stop(ctx context.Context) error {
	pid := p.PID()
	if pid == 0 {
		return nil
	}
	process, err := os.FindProcess(pid) // holds a pidfd: the number cannot come to mean another
	if err != nil || !p.isOurs(pid) {
		return nil
	}
	defer process.Release()
	for i, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGKILL} {
		if err := process.Signal(signal); err != nil {
			return nil
		}
		if p.gone(ctx, time.Duration(3+2*i)*time.Second) {
			return nil
		}
	}
	return fault.New(fault.Unavailable, "stop %s: process %d does not end", p.Name, pid)
}

func (p Program) gone(ctx context.Context, within time.Duration) bool {
	for end := time.Now().Add(within); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(5 * time.Millisecond) {
		if p.PID() == 0 {
			return true
		}
	}
	return p.PID() == 0
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}
