package lab

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/go-rod/rod"
	"github.com/go-rod/rod/lib/launcher"
	"github.com/go-rod/rod/lib/proto"
	"github.com/vishvananda/netns"
)

// How long a person would wait for something to appear in a page.
const patience = 15 * time.Second

// browser is Chromium, which sees the console of a host at an address of its own.
type browser struct {
	t    *testing.T
	rod  *rod.Browser
	page *rod.Page
	base string // https://127.0.0.1:PORT
}

// Browser opens Chromium beside a host. It skips the test where there is none.
func (h *Host) Browser(t *testing.T) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("the stories of the console need chromium: make setup")
	}
	folder := filepath.Join(h.cloud.dir, "chromium")
	l := launcher.New().Bin(path).Leakless(false).Headless(true).UserDataDir(folder).
		Set("no-sandbox").Set("disable-quic").Set("disable-background-networking").Set("disable-component-update").
		Set("ignore-certificate-errors").Set("lang", "en")
	address, err := l.Launch()
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, rod: rod.New().ControlURL(address), base: "https://" + h.throughNamespace(t, h.Address+":7443")}
	if err := b.rod.Connect(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			b.picture("failed")
		}
		_ = b.rod.Close()
		l.Kill()
		l.Cleanup()
	})
	b.page = b.rod.MustPage()
	b.size(1440, 900)
	return b
}

func (b *browser) size(width, height int) {
	if err := b.page.SetViewport(&proto.EmulationSetDeviceMetricsOverride{Width: width, Height: height, DeviceScaleFactor: 1}); err != nil {
		b.t.Fatal(err)
	}
}

// open goes to a page of the console.
func (b *browser) open(path string) {
	b.t.Helper()
	if err := b.page.Timeout(patience).Navigate(b.base + path); err != nil {
		b.t.Fatalf("open %s: %v", path, err)
	}
}

// sees waits until the page shows a text.
func (b *browser) sees(text string) {
	b.t.Helper()
	b.within(patience, "it shows "+text, func() bool { return strings.Contains(b.text(), text) })
}

func (b *browser) text() string {
	body, err := b.page.Timeout(patience).Eval(`() => document.body ? document.body.innerText : ""`)
	if err != nil {
		return ""
	}
	return body.Value.Str()
}

func (b *browser) within(limit time.Duration, what string, is func() bool) {
	b.t.Helper()
	for end := time.Now().Add(limit); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			b.t.Fatalf("the page %s: after %v it is still not true that %s; it shows\n%s", b.address(), limit, what, b.text())
		}
	}
}

func (b *browser) address() string {
	info, err := b.page.Info()
	if err != nil {
		return "?"
	}
	return strings.TrimPrefix(info.URL, b.base)
}

// press presses the button, the link or the entry of a menu with this text.
func (b *browser) press(text string) {
	b.t.Helper()
	el, err := b.page.Timeout(patience).ElementR(`button, a, [role="tab"], [role="menuitem"], [role="option"], .ant-select-item-option`, "^"+regexp.QuoteMeta(text)+"$")
	if err == nil {
		err = el.Timeout(patience).Click(proto.InputMouseButtonLeft, 1)
	}
	if err != nil {
		b.t.Fatalf("press %q on %s: %v; the page shows\n%s", text, b.address(), err, b.text())
	}
}

// types types into what a selector finds.
func (b *browser) types(selector, text string) {
	b.t.Helper()
	el, err := b.page.Timeout(patience).Element(selector)
	if err == nil {
		err = el.SelectAllText()
	}
	if err == nil {
		err = el.Input(text)
	}
	if err != nil {
		b.t.Fatalf("type into %s on %s: %v; the page shows\n%s", selector, b.address(), err, b.text())
	}
}

// picture keeps what the page looks like, where VIRGA_PICTURES says, or in the folder of temporary files.
func (b *browser) picture(name string) {
	folder := os.Getenv("VIRGA_PICTURES")
	if folder == "" {
		if !b.t.Failed() {
			return
		}
		folder = os.TempDir()
	}
	data, err := b.page.Timeout(patience).Screenshot(false, nil)
	if err != nil {
		b.t.Logf("take a picture: %v", err)
		return
	}
	file := filepath.Join(folder, "virga-"+b.t.Name()+"-"+name+".png")
	if err := os.WriteFile(file, data, 0o644); err != nil {
		b.t.Log(err)
		return
	}
	b.t.Logf("the page %s is in %s", b.address(), file)
}

// throughNamespace makes an address of a host's network reachable from here, at the address that it gives.
func (h *Host) throughNamespace(t *testing.T, to string) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer near.Close()
				far, err := h.dial(to)
				if err != nil {
					return
				}
				defer far.Close()
				go func() { _, _ = io.Copy(far, near); far.Close() }()
				_, _ = io.Copy(near, far)
			}()
		}
	}()
	return l.Addr().String()
}

// dial opens a connection inside the host's namespace. The thread that goes there comes home: where the first thread
// of a process is counts for the whole process, which would be ended with the namespace.
func (h *Host) dial(to string) (conn net.Conn, err error) {
	runtime.LockOSThread()
	home, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return nil, err
	}
	defer home.Close()
	there, err := netns.GetFromName(h.NS)
	if err == nil {
		defer there.Close()
		err = netns.Set(there)
	}
	if err == nil {
		conn, err = net.DialTimeout("tcp", to, patience)
		if back := netns.Set(home); back != nil {
			return nil, back // never unlocked
		}
	}
	runtime.UnlockOSThread()
	return conn, err
}
