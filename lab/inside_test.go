package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestAGuestIsReachedThroughTheCloudAndByItsAgent(t *testing.T) {
	c := New(t, 1)
	c.Start()
	h := c.Hosts[0]
	h.ImportTiny()
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--wait")
	g := h.Guest("web")
	h.Must("vm", "wait", "web", "--for", "address", "--timeout", "2m") // by its answer: it has no agent
	g.Wait(boot, `VIRGA-READY web (10\.20\.\d+\.\d+)\n`)
	g.Must(boot, "mkdir -p /tmp/www && echo from-the-guest >/tmp/www/index.html && httpd -p 8080 -h /tmp/www")
	var said string
	h.Eventually(time.Minute, "a port of the guest answers", func() bool {
		said, _ = h.pipe("GET /index.html HTTP/1.0\r\n\r\n", "vm", "tunnel", "web", "8080")
		return strings.Contains(said, "from-the-guest")
	})
	// Nobody listens there, and no agent is in this guest: that is said, not waited for.
	for words, why := range map[string]string{
		"vm tunnel web 81": "is a server listening there", "vm exec web -- ls": "qemu-guest-agent", "vm cp web:/etc/passwd " + t.TempDir(): "qemu-guest-agent",
	} {
		if out, err := h.does(strings.Fields(words)...); err == nil || !strings.Contains(out, why) {
			t.Errorf("%s: %v\n%s", words, err, out)
		}
	}
	h.Must("vm", "delete", "web", "--wait")
}

// What was read of any kind can be applied again, and changes nothing.
func TestWhatIsReadOfEveryKindIsAppliedWithoutAChange(t *testing.T) {
	c := New(t, 1)
	c.Start()
	h := c.Hosts[0]
	h.ImportTiny()
	h.Must("volume", "create", "data", "--size", "64MiB", "--wait")
	h.Must("port", "create", "door", "--wait")
	h.Must("vm", "create", "web", "--image", "tiny", "--memory", "128MiB", "--disk", "256MiB", "--disk", "volume=data", "--network", "default", "--network", "port=door", "--wait")
	for _, kind := range []string{"vm", "volume", "network", "subnet", "port", "image", "datastore", "storage", "host", "cluster", "project"} {
		read := h.Must(kind, "list", "-o", "yaml")
		said, err := h.pipe(read, "apply", "-f", "-")
		if err != nil || said == "" {
			t.Errorf("%s: %v %s\n%s", kind, err, said, read)
		}
		for line := range strings.Lines(said) {
			if !strings.HasSuffix(line, " is unchanged\n") {
				t.Errorf("%s: %s%s", kind, line, read)
			}
		}
	}
	h.Must("vm", "delete", "web", "--wait")
}

// does runs the command line with its flags first: what comes after -- is the guest's.
func (h *Host) does(words ...string) (string, error) {
	return h.Exec(h.cloud.binary, append([]string{"--run", h.Run}, words...)...)
}

// pipe hands a text to a command and gives what it writes.
func (h *Host) pipe(text string, words ...string) (string, error) {
	cmd := h.Command(h.cloud.t.Context(), h.cloud.binary, append(words, "--run", h.Run)...)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// debianInside is what the guest's own agent and ssh server do in a real system.
func debianInside(t *testing.T, h *Host) {
	t.Helper()
	if out, err := h.does("vm", "exec", "deb", "--", "sh", "-c", "hostname; id -u"); err != nil || out != "deb\n0\n" {
		t.Errorf("a command in the guest says %q (%v)", out, err)
	}
	if out, err := h.does("vm", "exec", "deb", "--", "sh", "-c", "exit 7"); err == nil || err.Error() != "exit status 7" {
		t.Errorf("exit 7 in the guest: %v %s", err, out)
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	content := strings.Repeat("0123456789abcdef", 20_000)
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Must("vm", "cp", file, "deb:/root/file")
	h.Must("vm", "cp", "deb:/root/file", file+"-back")
	if back, err := os.ReadFile(file + "-back"); err != nil || string(back) != content {
		t.Errorf("a file that went there and back has %d bytes, %v", len(back), err)
	}
	if out, err := h.pipe("", "vm", "tunnel", "deb", "22"); !strings.HasPrefix(out, "SSH-2.0-") {
		t.Errorf("the guest's ssh says %q (%v)", out, err)
	}
}
