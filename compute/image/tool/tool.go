// Package tool runs the outside programs that images are made with: one call, its own process
// group that dies with the context, and an error that says what the program said.
package tool

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
)

// Command is one run of a program.
type Command struct {
	// Name and Args are the program and what it is told.
	Name string
	Args []string
	// Dir is where it runs; empty: here.
	Dir string
	// Env is added to a plain environment of PATH, HOME, LC_ALL=C and the proxies that the daemon was given.
	Env []string
	// Line, if set, is given each line that the program writes to its output and error.
	Line func(string)
}

// Run runs a program to its end and returns what it wrote to its output.
func Run(ctx context.Context, name string, args ...string) (string, error) {
	return Command{Name: name, Args: args}.Run(ctx)
}

// Need checks that programs are there, and names those that are not with the package to install.
func Need(packages map[string]string) error {
	var missing []string
	for program, pkg := range packages {
		if _, err := exec.LookPath(program); err != nil {
			missing = append(missing, program+" (package "+pkg+")")
		}
	}
	if len(missing) > 0 {
		return fault.New(fault.Precondition, "programs are missing on this server: %s; install them", strings.Join(missing, ", "))
	}
	return nil
}

// Run runs the command to its end and returns what it wrote to its output.
func (c Command) Run(ctx context.Context) (string, error) {
	var out bytes.Buffer
	said := &tail{limit: 2000}
	cmd := exec.CommandContext(ctx, c.Name, c.Args...)
	cmd.Dir = c.Dir
	cmd.Env = append([]string{"PATH=" + path(), "HOME=/", "LC_ALL=C", "DEBIAN_FRONTEND=noninteractive"}, append(proxies(), c.Env...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 5 * time.Second
	cmd.Stdout, cmd.Stderr = &out, said
	if c.Line != nil {
		lines := newLines(c.Line)
		defer lines.Close()
		cmd.Stdout, cmd.Stderr = io.MultiWriter(&out, lines), io.MultiWriter(said, lines)
	}
	err := cmd.Run()
	if err == nil {
		return out.String(), nil
	}
	if ctx.Err() != nil {
		return "", fault.New(fault.Unavailable, "run %s: %w", c.Name, context.Cause(ctx))
	}
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return "", fault.New(fault.Precondition, "run %s: the program is not installed", c.Name)
	}
	kind := fault.Internal
	if strings.Contains(said.String(), "No space left on device") {
		kind = fault.Exhausted
	}
	return "", fault.New(kind, "run %s: %w: %s", c.Name, err, said.String())
}

// path keeps the system's folders in PATH: a daemon may have been started without /usr/sbin.
func path() string {
	return os.Getenv("PATH") + ":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
}

// proxies are the daemon's own: who reaches the world through one reaches a mirror through it too.
func proxies() []string {
	var out []string
	for _, name := range []string{"http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"} {
		if v := os.Getenv(name); v != "" {
			out = append(out, name+"="+v)
		}
	}
	return out
}

// tail keeps the end of what was written.
type tail struct {
	limit int
	data  []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.data = append(t.data, p...)
	if over := len(t.data) - t.limit; over > 0 {
		t.data = t.data[over:]
	}
	return len(p), nil
}

func (t *tail) String() string {
	return strings.Join(strings.Fields(strings.ToValidUTF8(string(t.data), "?")), " ")
}

// lines cuts what is written into lines; \r ends one too. Close waits for the last.
type lines struct {
	*io.PipeWriter
	done chan struct{}
}

func newLines(tell func(string)) *lines {
	r, w := io.Pipe()
	l := &lines{PipeWriter: w, done: make(chan struct{})}
	go func() {
		defer close(l.done)
		s := bufio.NewScanner(r)
		s.Split(splitLines)
		for s.Scan() {
			if text := strings.TrimSpace(s.Text()); text != "" {
				tell(text)
			}
		}
		_, _ = io.Copy(io.Discard, r)
	}()
	return l
}

func (l *lines) Close() error {
	err := l.PipeWriter.Close()
	<-l.done
	return err
}

func splitLines(data []byte, end bool) (int, []byte, error) {
	if i := bytes.IndexAny(data, "\r\n"); i >= 0 {
		return i + 1, data[:i], nil
	}
	if end && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}
