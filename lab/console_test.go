package lab

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-rod/rod/lib/input"
)

// TestAPersonRunsVMsFromABrowser signs in by the link that the server prints, finds a VM, reads and types on its serial
// console, sees its screen, stops and starts it, and signs out.
func TestAPersonRunsVMsFromABrowser(t *testing.T) {
	c := New(t, 1)
	h := c.Hosts[0]
	said := h.Must("up", "--state", h.State, "--name", h.Name, "--address", h.Address, "--listen", h.Address+":7443", "--uplink", "ul0")
	_, link, found := strings.Cut(said, "/sign-in#")
	if !found {
		t.Fatalf("virga up prints no sign-in link: %s", said)
	}
	link = strings.Fields(link)[0]
	h.ImportTiny()
	h.Must("vm", "create", "hello", "--image", "tiny", "--memory", "128MiB", "--wait")
	b := h.Browser(t)

	b.open("/vms?q=hel")
	b.sees("Sign in to Virga")
	b.picture("sign-in")
	b.open("/sign-in?next=/vms?q=hel#" + link)
	b.sees("1 of 1")
	b.picture("vms")
	b.open("/")
	b.sees("Everything is as specified.")
	b.picture("overview")
	b.open("/vms")
	b.press("hello")
	b.sees("Disks and NICs")
	b.picture("summary")
	b.press("Console")
	b.within(boot, "the guest has booted", func() bool { return strings.Contains(b.terminal(), "VIRGA-READY hello") })
	b.keys("echo $((6*7))answers")
	b.within(patience, "the guest answers", func() bool { return strings.Contains(b.terminal(), "42answers") })
	b.picture("console")
	b.press("Screen")
	b.within(patience, "the screen has a picture", func() bool {
		drawn, err := b.page.Eval(`() => { const c = document.querySelector('.screen canvas'); return c ? c.width : 0 }`)
		return err == nil && drawn.Value.Int() > 100
	})
	b.picture("screen")
	b.press("Explain")
	b.sees("vm hello in project default")
	b.picture("explain")
	b.press("Stop")
	b.within(boot, "the VM has stopped", func() bool { return strings.Contains(b.text(), "stopped") })
	b.press("Start")
	b.within(boot, "the VM runs again", func() bool { return strings.Contains(b.text(), "running") })
	h.Must("vm", "delete", "hello", "--wait")
	b.sees("There is no VM hello here")
	b.press("root")
	b.press("Sign out")
	b.sees("Sign in to Virga")
	b.open("/vms")
	b.sees("Sign in to Virga")
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("four words and one more\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Exec("sh", "-c", c.binary+" user create ann --role viewer --run "+h.Run+" < "+password)
	b.types("#user", "ann")
	b.types("#password", "a wrong one")
	b.press("Sign in")
	b.sees("the name or the password is wrong")
	b.types("#password", "four words and one more")
	b.press("Sign in")
	b.sees("ann")
	b.within(patience, "the page that was asked for is shown", func() bool { return b.address() == "/vms" })
	b.press("ann")
	b.press("Sign out")
	b.sees("Sign in to Virga")
	if out := h.Must("session", "list", "-o", "name"); strings.TrimSpace(out) != "" {
		t.Errorf("who has signed out still has a session: %s", out)
	}
}

func (b *browser) terminal() string {
	b.t.Helper()
	text, err := b.page.Timeout(patience).Eval(`() => [...document.querySelectorAll('.serial .xterm-rows > div')].map((r) => r.textContent).join('\n')`)
	if err != nil {
		return ""
	}
	return text.Value.Str()
}

// keys types a line on whatever has the focus.
func (b *browser) keys(text string) {
	b.t.Helper()
	if err := b.page.Timeout(patience).InsertText(text); err != nil {
		b.t.Fatal(err)
	}
	if err := b.page.Keyboard.Type(input.Enter); err != nil {
		b.t.Fatal(err)
	}
}
