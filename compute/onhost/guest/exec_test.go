package guest

import (
	"bytes"
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// realAgent is QEMU's own agent, which listens on a socket here instead of inside a guest.
func realAgent(t *testing.T) string {
	t.Helper()
	program, err := exec.LookPath("qemu-ga")
	if err != nil {
		if program = "/usr/sbin/qemu-ga"; !there(program) {
			t.Skip("no qemu-ga here: the package qemu-guest-agent has it")
		}
	}
	dir := t.TempDir()
	socket := filepath.Join(dir, "qga")
	run := exec.Command(program, "-m", "unix-listen", "-p", socket, "-t", dir, "-f", filepath.Join(dir, "pid"))
	run.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = run.Process.Kill(); _ = run.Wait() })
	for end := time.Now().Add(10 * time.Second); !there(socket); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("qemu-ga does not listen")
		}
	}
	return socket
}

func there(path string) bool { _, err := os.Stat(path); return err == nil }

// question asks the agent over a connection of its own, as each of its clients does.
func question(t *testing.T, socket string, do func(context.Context, *Client) error) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var c *Client
	var err error
	for range 40 { // the one before is being let go
		if c, err = Dial(ctx, socket); err == nil {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	return do(ctx, c)
}

func ended(t *testing.T, socket string, command, env []string, stdin string) Process {
	t.Helper()
	var pid int64
	if err := question(t, socket, func(ctx context.Context, c *Client) (err error) {
		pid, err = c.Exec(ctx, command, env, []byte(stdin))
		return err
	}); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		var p Process
		if err := question(t, socket, func(ctx context.Context, c *Client) (err error) {
			p, err = c.Status(ctx, pid)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if p.Exited {
			return p
		}
		if time.Now().After(end) {
			t.Fatalf("%v does not end", command)
		}
	}
}

func TestTheRealAgentRunsACommandAndTellsHowItEnded(t *testing.T) {
	socket := realAgent(t)
	p := ended(t, socket, []string{"/bin/sh", "-c", "cat; echo $WORD; echo wrong >&2; exit 3"}, []string{"WORD=said"}, "\x00given\xff")
	if p.ExitCode != 3 || string(p.Stdout) != "\x00given\xffsaid\n" || string(p.Stderr) != "wrong\n" || p.StdoutCut {
		t.Errorf("%+v %q %q", p, p.Stdout, p.Stderr)
	}
	if p := ended(t, socket, []string{"/bin/sh", "-c", "kill -9 $$"}, nil, ""); p.Signal != 9 {
		t.Errorf("killed, it says %+v", p)
	}
	// Far more than a reply of anything else may have.
	if p := ended(t, socket, []string{"/bin/sh", "-c", "head -c 1000000 /dev/zero"}, nil, ""); len(p.Stdout) != 1000000 {
		t.Errorf("of much it gives %d bytes", len(p.Stdout))
	}
	err := question(t, socket, func(ctx context.Context, c *Client) error {
		_, err := c.Exec(ctx, []string{"/no/such/program"}, nil, nil)
		return err
	})
	if said, ok := errors.AsType[*Error](err); !ok || !strings.Contains(said.Desc, "No such file") {
		t.Errorf("a program that is not there: %v", err)
	}
}

func TestTheRealAgentCarriesFilesWhole(t *testing.T) {
	socket, file := realAgent(t), filepath.Join(t.TempDir(), "file")
	content := make([]byte, 3*Piece+17)
	for i := range content {
		content[i] = byte(rand.Uint32())
	}
	err := question(t, socket, func(ctx context.Context, c *Client) error {
		h, err := c.OpenFile(ctx, file, "w")
		for rest := content; len(rest) > 0 && err == nil; {
			var n int
			n, err = c.WriteFile(ctx, h, rest[:min(Piece, len(rest))])
			rest = rest[n:]
		}
		return errors.Join(err, c.CloseFile(ctx, h))
	})
	if got, readErr := os.ReadFile(file); err != nil || readErr != nil || !bytes.Equal(got, content) {
		t.Fatalf("written: %v %v, %d of %d bytes", err, readErr, len(got), len(content))
	}
	var got []byte
	err = question(t, socket, func(ctx context.Context, c *Client) error {
		h, err := c.OpenFile(ctx, file, "r")
		for end := false; !end && err == nil; {
			var data []byte
			data, end, err = c.ReadFile(ctx, h)
			got = append(got, data...)
		}
		return errors.Join(err, c.CloseFile(ctx, h))
	})
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("read: %v, %d of %d bytes", err, len(got), len(content))
	}
}

func TestAnAgentThatLiesAboutAFileIsNotBelieved(t *testing.T) {
	for reply, about := range map[string]string{
		`{"return":{"count":9,"buf-b64":"aGFsbG8=","eof":false}}`:                                             "says fewer bytes than it gives",
		`{"return":{"count":40000,"buf-b64":"` + strings.Repeat("YWFh", 40000/3+1) + `","eof":false}}`:        "gives more than was asked for",
		`{"return":{"count":-1,"buf-b64":"","eof":false}}`:                                                    "counts below zero",
		`{"return":{"count":3,"buf-b64":"%%%%","eof":false}}`:                                                 "gives no base64",
		`{"return":{"count":100000,"buf-b64":"` + strings.Repeat("YWFh", MaxReply/4+1000) + `","eof":false}}`: "gives more than a reply may have",
	} {
		c, err := Dial(t.Context(), pretend(t, map[string]string{"guest-file-read": reply}))
		if err != nil {
			t.Fatal(err)
		}
		if data, _, err := c.ReadFile(t.Context(), 7); !errors.Is(err, ErrReply) || data != nil {
			t.Errorf("one that %s: %d bytes, %v", about, len(data), err)
		}
		_ = c.Close()
	}
	c, err := Dial(t.Context(), pretend(t, map[string]string{"guest-file-write": `{"return":{"count":99,"eof":false}}`}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.WriteFile(t.Context(), 7, []byte("abc")); !errors.Is(err, ErrReply) {
		t.Errorf("one that took more than it was given: %v", err)
	}
	_ = c.Close()
}
