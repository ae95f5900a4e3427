// Package boottest boots an image in QEMU and looks at it from outside: what it says on the serial
// console, and whether it obeys the power button. For tests of images only.
package boottest

import (
	"bytes"
	"encoding/json"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kdomanski/iso9660"
)

// Guest is a VM that runs an image, with a network of its own that leads nowhere.
type Guest struct {
	t         *testing.T
	process   *exec.Cmd
	ended     chan error
	console   net.Conn
	control   net.Conn
	said      strings.Builder
	complaint bytes.Buffer
	at        int // what was said before is not looked at again
}

// Start boots an image. The image itself is not changed. Seed is a disk to be attached; empty: none.
func Start(t *testing.T, image string, memoryMiB int, seed string) *Guest {
	t.Helper()
	for _, program := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed", program)
		}
	}
	dir, err := os.MkdirTemp("", "boot-") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	disk := filepath.Join(dir, "disk")
	if out, err := exec.Command("qemu-img", "create", "-q", "-f", "qcow2", "-b", image, "-F", "qcow2", disk).CombinedOutput(); err != nil {
		t.Fatalf("make the disk: %v: %s", err, out)
	}
	args := []string{"-accel", "tcg", "-M", "q35", "-m", strconv.Itoa(memoryMiB), "-nodefaults", "-display", "none",
		"-chardev", "socket,id=serial,server=on,wait=on,path=" + dir + "/serial", "-serial", "chardev:serial",
		"-qmp", "unix:" + dir + "/qmp,server=on,wait=off", "-drive", "if=virtio,format=qcow2,file=" + disk,
		"-netdev", "user,id=n,restrict=on", "-device", "virtio-net-pci,netdev=n,romfile="}
	if seed != "" {
		args = append(args, "-drive", "if=virtio,format=raw,readonly=on,file="+seed)
	}
	g := &Guest{t: t, process: exec.Command("qemu-system-x86_64", args...), ended: make(chan error, 1)}
	g.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	g.process.Stderr = &g.complaint
	if err := g.process.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { g.ended <- g.process.Wait() }()
	t.Cleanup(g.kill)
	g.console = g.dial(dir + "/serial")
	g.control = g.dial(dir + "/qmp")
	g.ask("qmp_capabilities")
	return g
}

func (g *Guest) dial(path string) net.Conn {
	g.t.Helper()
	for range 200 {
		if c, err := net.Dial("unix", path); err == nil {
			g.t.Cleanup(func() { _ = c.Close() })
			return c
		}
		time.Sleep(25 * time.Millisecond)
	}
	g.t.Fatalf("QEMU does not open %s", path)
	return nil
}

func (g *Guest) kill() {
	_ = g.process.Process.Kill()
	select {
	case <-g.ended:
	case <-time.After(10 * time.Second):
		g.t.Error("QEMU does not die")
	}
}

func (g *Guest) ask(command string) {
	g.t.Helper()
	if err := json.NewEncoder(g.control).Encode(map[string]string{"execute": command}); err != nil {
		g.t.Fatal(err)
	}
}

// Expect waits until the guest says a text, and returns the rest of that line.
func (g *Guest) Expect(text string, within time.Duration) string {
	g.t.Helper()
	deadline := time.Now().Add(within)
	_ = g.console.SetReadDeadline(deadline)
	buffer := make([]byte, 4096)
	for {
		all := g.said.String()
		if i := strings.Index(all[g.at:], text); i >= 0 {
			rest := all[g.at+i+len(text):]
			if end := strings.IndexByte(rest, '\n'); end >= 0 {
				g.at += i + len(text) + end
				return strings.TrimSpace(rest[:end])
			}
		}
		n, err := g.console.Read(buffer)
		g.said.Write(buffer[:n])
		if err != nil && n == 0 {
			g.t.Fatalf("the guest did not say %q within %s; it said:\n%s", text, within, all[max(0, len(all)-3000):])
		}
	}
}

// Type types a line.
func (g *Guest) Type(line string) {
	g.t.Helper()
	if _, err := g.console.Write([]byte(line + "\n")); err != nil {
		g.t.Fatal(err)
	}
}

// PowerButton presses the button, and fails if the guest is not off in time. It returns the time.
func (g *Guest) PowerButton(within time.Duration) time.Duration {
	g.t.Helper()
	begun := time.Now()
	g.ask("system_powerdown")
	go func() { // the guest must be able to say what it says while it goes
		_ = g.console.SetReadDeadline(time.Time{})
		for buffer := make([]byte, 4096); ; {
			if _, err := g.console.Read(buffer); err != nil {
				return
			}
		}
	}()
	select {
	case err := <-g.ended:
		g.ended <- err
		if err != nil {
			g.t.Errorf("QEMU ended with %v: %s", err, g.complaint.String())
		}
	case <-time.After(within):
		g.t.Errorf("the guest is not off after %s", within)
	}
	return time.Since(begun)
}

// Seed makes a NoCloud disk.
func Seed(t *testing.T, metaData, userData string) string {
	t.Helper()
	w, err := iso9660.NewWriter()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Cleanup() }()
	for name, text := range map[string]string{"meta-data": metaData, "user-data": userData} {
		if err := w.AddFile(strings.NewReader(text), name); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "seed.iso")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := w.WriteTo(f, "cidata"); err != nil {
		t.Fatal(err)
	}
	return file
}
