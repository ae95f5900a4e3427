package lab

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"
)

// Guest is the serial console of a VM.
type Guest struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	in   io.WriteCloser
	end  context.CancelFunc
	mark string // apart from earlier viewers, whose words the console repeats
	n    int

	mu   sync.Mutex
	text strings.Builder
}

// Guest opens the console of a VM, as a person would.
func (h *Host) Guest(name string, flags ...string) *Guest {
	t := h.cloud.t
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	g := &Guest{t: t, name: name, end: cancel, mark: fmt.Sprintf("%x.", time.Now().UnixNano()&0xffffff), cmd: h.Command(ctx, h.cloud.binary, append([]string{"vm", "console", name, "--run", h.Run}, flags...)...)}
	var err error
	if g.in, err = g.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := g.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var reader sync.WaitGroup
	reader.Go(func() { g.read(out) })
	t.Cleanup(func() {
		cancel()
		reader.Wait()
		_ = g.cmd.Wait()
	})
	return g
}

func (g *Guest) read(r io.Reader) {
	b := bufio.NewReader(r)
	for {
		c, err := b.ReadByte()
		if err != nil {
			return
		}
		g.mu.Lock()
		g.text.WriteByte(c)
		g.mu.Unlock()
	}
}

// Text is all that the console has said.
func (g *Guest) Text() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.ReplaceAll(g.text.String(), "\r", "")
}

// Wait waits for a pattern on the console and gives its submatches.
func (g *Guest) Wait(within time.Duration, pattern string) []string {
	g.t.Helper()
	re := regexp.MustCompile(pattern)
	for end := time.Now().Add(within); ; time.Sleep(30 * time.Millisecond) {
		if m := re.FindStringSubmatch(g.Text()); m != nil {
			return m
		}
		if time.Now().After(end) {
			g.t.Fatalf("the console of %s did not show %q within %v; it said:\n%s", g.name, pattern, within, g.Text())
		}
	}
}

// Run types a command and gives its output and whether it succeeded.
func (g *Guest) Run(within time.Duration, command string) (string, bool) {
	g.t.Helper()
	g.n++
	begin, end := fmt.Sprintf("<<%s%d:", g.mark, g.n), fmt.Sprintf(":%s%d>>", g.mark, g.n)
	// The markers are typed in two halves, so that the echo of the command does not hold them.
	line := fmt.Sprintf("echo '<<''%s%d:'; %s; echo \"$?:\"'%s%d>>'\n", g.mark, g.n, command, g.mark, g.n)
	if _, err := io.WriteString(g.in, line); err != nil {
		g.t.Fatalf("type into %s: %v", g.name, err)
	}
	m := g.Wait(within, `(?s)`+regexp.QuoteMeta(begin)+`\n(.*?)(\d+)`+regexp.QuoteMeta(end))
	return strings.TrimSpace(m[1]), m[2] == "0"
}

// Must is Run that ends the test when the command fails.
func (g *Guest) Must(within time.Duration, command string) string {
	g.t.Helper()
	out, ok := g.Run(within, command)
	if !ok {
		g.t.Fatalf("in %s, %q failed: %s", g.name, command, out)
	}
	return out
}

// MustReach pings until an answer comes, at most ten times. Each ping is a process of its own, and so
// has an ICMP id of its own: behind the same address two guests with the same one get in each
// other's way, as user-space connection tracking does not translate it.
func (g *Guest) MustReach(address string) {
	g.t.Helper()
	g.Must(time.Minute, "for i in 1 2 3 4 5 6 7 8 9 10; do ping -c 1 -W 2 "+address+" && break; done")
}

// Close leaves the console.
func (g *Guest) Close() { g.end() }
