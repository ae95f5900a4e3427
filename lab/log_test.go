package lab

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// said reads what a VM has said on its serial line.
func (h *Host) said(vm, words string, flags ...string) string {
	h.cloud.t.Helper()
	out := h.Must(append([]string{"vm", "log", vm}, flags...)...)
	if !strings.Contains(out, words) {
		h.cloud.t.Errorf("the log of %s (%s) does not hold %q: %s", vm, strings.Join(flags, " "), words, out)
	}
	return out
}

// follower is a person who follows a VM's log.
type follower struct {
	cmd *exec.Cmd
	t   testing.TB
	out *bufio.Reader
}

func (h *Host) follow(vm string, flags ...string) *follower {
	t := h.cloud.t
	t.Helper()
	cmd := h.Command(t.Context(), h.cloud.binary, append([]string{"vm", "log", vm, "--follow", "--run", h.Run}, flags...)...)
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &follower{cmd, t, bufio.NewReader(pipe)}
}

// until reads lines until one holds the words.
func (f *follower) until(words string) {
	f.t.Helper()
	for {
		line, err := f.out.ReadString('\n')
		if strings.Contains(line, words) {
			return
		}
		if err != nil {
			f.t.Fatalf("the log ended before %q: %v", words, err)
		}
	}
}

// end waits for the command's end, which must be one of success.
func (f *follower) end() {
	f.t.Helper()
	_, _ = io.Copy(io.Discard, f.out)
	if err := f.cmd.Wait(); err != nil {
		f.t.Errorf("a log was followed, and then: %v", err)
	}
}

// leave is Ctrl-C.
func (f *follower) leave() {
	f.t.Helper()
	if err := f.cmd.Process.Signal(os.Interrupt); err != nil {
		f.t.Error(err)
	}
	f.end()
}

// leavesALog follows the log of a guest that lives, hears what it says now, and leaves by Ctrl-C.
func (h *Host) leavesALog(vm string, g *Guest) {
	h.cloud.t.Helper()
	f := h.follow(vm)
	f.until("VIRGA-READY")
	g.Must(boot, "echo AGAIN-$((40+2))")
	f.until("AGAIN-42")
	f.leave()
}

// stopsAndIsHeard stops a VM. Who follows it hears its last words and is let go; they are kept past
// the end of the guest, and past that of the daemon.
func (h *Host) stopsAndIsHeard(vm string) {
	t := h.cloud.t
	t.Helper()
	f := h.follow(vm, "--tail", "0")
	h.Must("vm", "stop", vm, "--wait")
	f.until("reboot: Power down")
	f.end()
	h.Kill9()
	h.Up()
	h.said(vm, "VIRGA-READY")
	if out := h.said(vm, "reboot: Power down", "--tail", "1"); strings.Count(out, "\n") != 1 {
		t.Errorf("the last line of its log is %q", out)
	}
}
