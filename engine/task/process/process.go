// Package process runs a program that outlives whoever started it, and finds it again.
//
// Each program has a folder of its own, below one folder for all, named after an id:
//
//	<id>/out, err   what it says
//	<id>/exit       its exit status, once it has ended
//	<id>/pid        its process id and when that began
//
// The program is a child of a shell that writes the exit status when nobody waits any more. The shell has
// a session of its own and the id on its command line, by which it is found though the file of its pid
// was never written. It writes to files that were opened for it: it may run as a user who reaches none
// of them.
package process

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
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
	"github.com/virga-cloud/virga/engine/resource"
)

// Folder is where the programs of one host are kept.
type Folder struct{ Path string }

// State is what became of a program.
type State struct {
	// Known: it was started. Alive: it works.
	Known, Alive bool
	// Exit is its exit status; -1: it was ended before it could tell one.
	Exit int
	// Out and Err are the ends of what it said.
	Out, Err string
}

// keep is how much of what a program says is read.
const keep = 8 << 10

// mark stands before the id on the command line.
const mark = "virga-task-"

// Start starts a program, unless it was started before. Of the command the arguments, environment,
// folder, extra files and credentials are used.
func (f Folder) Start(id resource.ID, cmd *exec.Cmd) error {
	if s, err := f.Look(id); err != nil || s.Known {
		return err
	}
	dir := f.in(id)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fault.New(fault.Internal, "start a program: %w", err)
	}
	files, err := open(dir, "out", "err", "exit")
	if err != nil {
		return fault.New(fault.Internal, "start a program: %w", err)
	}
	defer func() {
		for _, o := range files {
			_ = o.Close()
		}
	}()
	last := strconv.Itoa(3 + len(cmd.ExtraFiles)) // where the shell says how it ended; the program does not have it
	script := `"$@" </dev/null ` + last + `>&-; echo "$?" >&` + last
	shell := exec.Command("/bin/sh", append([]string{"-c", script, mark + string(id)}, cmd.Args...)...)
	shell.Env, shell.Dir, shell.Stdout, shell.Stderr = cmd.Env, cmd.Dir, files[0], files[1]
	shell.ExtraFiles = append(cmd.ExtraFiles[:len(cmd.ExtraFiles):len(cmd.ExtraFiles)], files[2])
	attributes := syscall.SysProcAttr{}
	if cmd.SysProcAttr != nil {
		attributes = *cmd.SysProcAttr
	}
	attributes.Setsid, attributes.Setpgid = true, false
	shell.SysProcAttr = &attributes
	if err := shell.Start(); err != nil {
		_ = os.RemoveAll(dir)
		return fault.New(fault.Internal, "start %s: %w", cmd.Args[0], err)
	}
	began, _ := beginning(shell.Process.Pid)
	written := durable.Write(filepath.Join(dir, "pid"), fmt.Appendf(nil, "%d %d\n", shell.Process.Pid, began), 0o600)
	go func() { _ = shell.Wait() }() // it ends when the program does, or with us; nobody waits for that
	if written != nil {
		return errors.Join(fault.New(fault.Internal, "start %s: %w", cmd.Args[0], written), f.Stop(id))
	}
	return nil
}

func open(dir string, names ...string) (out []*os.File, err error) {
	for _, n := range names {
		file, err := os.OpenFile(filepath.Join(dir, n), os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
		if err != nil {
			for _, o := range out {
				_ = o.Close()
			}
			return nil, err
		}
		out = append(out, file)
	}
	return out, nil
}

func (f Folder) in(id resource.ID) string { return filepath.Join(f.Path, filepath.Base(string(id))) }

// Look tells of a program.
func (f Folder) Look(id resource.ID) (State, error) {
	dir := f.in(id)
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return State{}, nil
	} else if err != nil {
		return State{}, fault.New(fault.Internal, "look at program %s: %w", id, err)
	}
	s := State{Known: true, Exit: -1}
	pid, err := f.find(id)
	if err != nil {
		return s, err
	}
	text, err := os.ReadFile(filepath.Join(dir, "exit"))
	if err == nil && bytes.HasSuffix(text, []byte("\n")) {
		if s.Exit, err = strconv.Atoi(strings.TrimSpace(string(text))); err != nil {
			return s, fault.New(fault.Internal, "read how program %s ended: %w", id, err)
		}
	} else {
		s.Alive = pid != 0
	}
	s.Out, s.Err = tail(filepath.Join(dir, "out")), tail(filepath.Join(dir, "err")) // last: one that has ended says no more
	return s, nil
}

// find gives the pid of the shell of a program; 0: it is not there.
func (f Folder) find(id resource.ID) (int, error) {
	text, err := os.ReadFile(filepath.Join(f.in(id), "pid"))
	if err == nil {
		var pid int
		var began uint64
		if _, err := fmt.Sscan(string(text), &pid, &began); err != nil {
			return 0, fault.New(fault.Internal, "read the pid of program %s: %w", id, err)
		}
		now, alive := beginning(pid)
		if alive && now == began && named(pid, id) || !alive && orphaned(pid) {
			return pid, nil
		}
		return 0, nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return 0, fault.New(fault.Internal, "read the pid of program %s: %w", id, err)
	}
	all, err := os.ReadDir("/proc")
	if err != nil {
		return 0, fault.New(fault.Internal, "look for program %s: %w", id, err)
	}
	for _, e := range all {
		if pid, err := strconv.Atoi(e.Name()); err == nil && named(pid, id) {
			if _, alive := beginning(pid); alive {
				return pid, nil
			}
		}
	}
	return 0, nil
}

// named reports whether a process is the shell of a program.
func named(pid int, id resource.ID) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	args := strings.Split(string(line), "\x00")
	return err == nil && len(args) > 3 && args[0] == "/bin/sh" && args[3] == mark+string(id)
}

// orphaned reports whether the shell has died alone: a number is not given anew while a group of processes has it.
func orphaned(pid int) bool {
	if syscall.Kill(-pid, 0) != nil {
		return false
	}
	all, _ := os.ReadDir("/proc")
	for _, e := range all {
		other, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		if s, err := proc.Look(other); err == nil && s.Group == pid && !s.Ended() {
			return true
		}
	}
	return false
}

// beginning is when a process began, in the kernel's ticks; false if there is none, or it has ended.
func beginning(pid int) (uint64, bool) {
	s, err := proc.Look(pid)
	return s.Began, err == nil && !s.Ended()
}

// tail reads the end of a file.
func tail(path string) string {
	file, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	data := make([]byte, min(info.Size(), keep))
	n, _ := file.ReadAt(data, info.Size()-int64(len(data)))
	return string(data[:n])
}

// patience is how long a process that was killed may take to go.
const patience = 5 * time.Second

// Stop ends a program with all that it started, and forgets it. One that is not there is stopped.
func (f Folder) Stop(id resource.ID) error {
	if _, err := os.Stat(f.in(id)); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	pid, err := f.find(id)
	if err != nil {
		return err
	}
	for until := time.Now().Add(patience); pid != 0; {
		if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fault.New(fault.Internal, "end program %s: %w", id, err)
		}
		if _, alive := beginning(pid); !alive && !orphaned(pid) {
			break
		}
		if time.Now().After(until) {
			return fault.New(fault.Unavailable, "end program %s: process %d does not go", id, pid)
		}
		time.Sleep(2 * time.Millisecond)
	}
	if err := os.RemoveAll(f.in(id)); err != nil {
		return fault.New(fault.Internal, "forget program %s: %w", id, err)
	}
	return nil
}

// List lists the programs that are known.
func (f Folder) List() ([]resource.ID, error) {
	all, err := os.ReadDir(f.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.New(fault.Internal, "list the programs of tasks: %w", err)
	}
	var out []resource.ID
	for _, e := range all {
		out = append(out, resource.ID(e.Name()))
	}
	return out, nil
}

// StopAll stops every program.
func (f Folder) StopAll() error {
	all, err := f.List()
	for _, id := range all {
		err = errors.Join(err, f.Stop(id))
	}
	return err
}
