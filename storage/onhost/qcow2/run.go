package qcow2

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// call is one run of qemu-img.
type call struct {
	doing    string
	args     []string
	paths    []string // the arguments that are files of the caller's choice
	readOnly int      // how many of the paths, from the first, are only read
	fine     []int    // exit statuses that are no failure
	output   io.Writer
}

// command prepares a run, for the caller to start. The files are the caller's to close when it has begun.
func (t Tool) command(ctx context.Context, c call) (*exec.Cmd, []*os.File, error) {
	for _, p := range c.paths {
		if !filepath.IsAbs(p) {
			return nil, nil, &Error{Doing: c.doing, Why: "the path is not absolute"}
		}
	}
	binary := t.Binary
	if binary == "" {
		binary = "qemu-img"
	}
	binary, err := exec.LookPath(binary)
	if err != nil {
		return nil, nil, &Error{Doing: c.doing, Why: "start qemu-img: " + err.Error()}
	}
	args, files, err := t.handOver(c)
	if err != nil {
		return nil, nil, err
	}
	line := t.limited(binary, args)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.Dir = "/"
	cmd.ExtraFiles = files
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if t.As != nil && os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: t.As.UID, Gid: t.As.GID}
		cmd.SysProcAttr.Cloneflags = apart()
	}
	return cmd, files, nil
}

func (t Tool) run(ctx context.Context, c call) ([]byte, error) {
	cmd, files, err := t.command(ctx, c)
	if err != nil {
		return nil, err
	}
	defer closeAll(files)
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &limited{w: &said, left: 8192}
	if c.output != nil {
		cmd.Stdout = c.output
	}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Start(); err != nil {
		return nil, &Error{Doing: c.doing, Why: "start qemu-img: " + err.Error(), Cause: ctx.Err()}
	}
	err = cmd.Wait()
	if err == nil {
		return out.Bytes(), nil
	}
	if ctx.Err() != nil {
		return nil, &Error{Doing: c.doing, Why: "it was given up: " + ctx.Err().Error(), Cause: ctx.Err()}
	}
	var exit *exec.ExitError
	if errors.As(err, &exit) && slices.Contains(c.fine, exit.ExitCode()) {
		return out.Bytes(), nil
	}
	return nil, explain(c.doing, said.String(), err)
}

// handOver opens the files for a user who may not walk to them, and names them by descriptor.
func (t Tool) handOver(c call) ([]string, []*os.File, error) {
	if t.As == nil || os.Geteuid() != 0 {
		return c.args, nil, nil
	}
	args := slices.Clone(c.args)
	var files []*os.File
	for i, p := range c.paths {
		flags := os.O_RDWR | os.O_CREATE | unix.O_NOFOLLOW
		if i < c.readOnly {
			flags = os.O_RDONLY | unix.O_NOFOLLOW
		}
		f, err := os.OpenFile(p, flags, 0o600)
		if err == nil {
			files = append(files, f)
			err = t.As.own(f)
		}
		if err != nil {
			closeAll(files)
			return nil, nil, &Error{Doing: c.doing, Why: err.Error()}
		}
		at := slices.Index(args, p)
		args[at] = "/proc/self/fd/" + strconv.Itoa(2+len(files))
	}
	return args, files, nil
}

// own gives a file to the user, unless it is the user's.
func (u User) own(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return errors.New("it is no plain file")
	}
	if s := info.Sys().(*syscall.Stat_t); s.Uid == u.UID {
		return nil
	}
	return f.Chown(int(u.UID), int(u.GID))
}

// apart gives a child a network of its own, with nothing in it, where the kernel lets us.
var apart = sync.OnceValue(func() uintptr {
	const flags = unix.CLONE_NEWNET | unix.CLONE_NEWIPC
	may := make(chan bool)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread goes with its network
		may <- unix.Unshare(flags) == nil
	}()
	if <-may {
		return flags
	}
	return 0
})

// limited is the command line with what bounds the child: whoever lowers its own limits needs no right,
// and they hold from the first instruction.
func (t Tool) limited(binary string, args []string) []string {
	script := "ulimit -c 0; "
	if t.MemoryMiB > 0 {
		script += "ulimit -v " + strconv.FormatInt(t.MemoryMiB<<10, 10) + "; "
	}
	if t.CPUSeconds > 0 {
		script += "ulimit -t " + strconv.FormatInt(t.CPUSeconds, 10) + "; "
	}
	return append([]string{"/bin/sh", "-c", script + `exec "$@"`, "sh", binary}, args...)
}

func closeAll(files []*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}

// limited keeps the beginning and drops the rest.
type limited struct {
	w    io.Writer
	left int
}

func (l *limited) Write(p []byte) (int, error) {
	keep := p[:min(len(p), l.left)]
	l.left -= len(keep)
	if _, err := l.w.Write(keep); err != nil {
		return 0, err
	}
	return len(p), nil
}
