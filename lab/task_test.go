package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// slowConversions puts a qemu-img before the real one whose conversions wait until somebody lets them go.
func slowConversions(t *testing.T) (letGo, hold func()) {
	dir, err := os.MkdirTemp("", "vlslow")
	if err == nil {
		err = os.Chmod(dir, 0o755) // conversions have no rights
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	tool, err := exec.LookPath("qemu-img")
	if err != nil {
		t.Skip("there is no qemu-img")
	}
	sign := filepath.Join(dir, "go")
	script := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != convert ] || while [ ! -e %s ]; do echo '    (42.00/100%%)'; sleep 0.1; done\nexec %s \"$@\"\n", sign, tool)
	if err := os.WriteFile(filepath.Join(dir, "qemu-img"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	return func() { _ = os.WriteFile(sign, nil, 0o644) }, func() { _ = os.Remove(sign) }
}

// programs lists the processes of tasks on a host, by what is on their command lines.
func (h *Host) programs() []string {
	var out []string
	tasks, _ := os.ReadDir(filepath.Join(h.State, "tasks"))
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, e := range tasks {
		for _, file := range all {
			line, _ := os.ReadFile(file)
			if strings.Contains(string(line), "\x00virga-task-"+e.Name()+"\x00") {
				out = append(out, filepath.Dir(file))
			}
		}
	}
	return out
}

func (h *Host) staged() []string {
	all, _ := filepath.Glob(filepath.Join(h.State, "images", "staging", "*"))
	return all
}

// TestAConversionOutlivesTheDaemon kills the daemon while an image is converted. The program goes on, and
// the next daemon takes it over; one that is cancelled leaves nothing.
func TestAConversionOutlivesTheDaemon(t *testing.T) {
	c := New(t, 1)
	letGo, hold := slowConversions(t)
	c.Start()
	h := c.Hosts[0]
	file := filepath.Join(c.dir, "disk.raw")
	content := strings.Repeat("a disk of words\n", 1<<16)
	if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	h.Must("image", "import", "one", "--file", file)
	h.Eventually(30*time.Second, "a task tells how far it is", func() bool {
		return strings.Contains(h.Must("task", "list"), "converted 42 %")
	})
	if out := h.Must("explain", "image", "one"); !strings.Contains(out, "image.convert") {
		t.Errorf("explain names no task:\n%s", out)
	}
	before := h.programs()
	h.Kill9()
	if now := h.programs(); len(now) != 1 || now[0] != before[0] {
		t.Fatalf("with the daemon went %v, left is %v", before, now)
	}
	h.Up()
	h.Eventually(30*time.Second, "the task tells how far it is again", func() bool {
		out, err := h.Virga("task", "list")
		return err == nil && strings.Contains(out, "converted 42 %")
	})
	if now := h.programs(); len(now) != 1 || now[0] != before[0] {
		t.Fatalf("the program was %v and is %v", before, now)
	}
	letGo()
	h.Must("image", "wait", "one", "--timeout", "1m")
	digest := strings.TrimSpace(field(h.Must("image", "show", "one", "-o", "yaml"), "digest:"))
	blob := filepath.Join(h.State, "images", strings.Replace(digest, ":", "-", 1)+".qcow2")
	raw := filepath.Join(c.dir, "back.raw")
	c.must("qemu-img", "convert", "-f", "qcow2", "-O", "raw", blob, raw)
	if back, err := os.ReadFile(raw); err != nil || string(back) != content {
		t.Errorf("the content has changed: %d bytes, %v", len(back), err)
	}
	hold()
	h.Must("image", "import", "two", "--file", file)
	h.Eventually(30*time.Second, "the second conversion works", func() bool { return len(h.programs()) == 1 })
	name := ""
	h.Eventually(10*time.Second, "the second task has a name", func() bool {
		for line := range strings.Lines(h.Must("task", "list", "--no-headers")) {
			if strings.Contains(line, "running") {
				name = strings.Fields(line)[0]
			}
		}
		return name != ""
	})
	h.Must("task", "cancel", name)
	if out, err := h.Virga("task", "wait", name, "--timeout", "30s"); err == nil || !strings.Contains(err.Error(), "cancelled") {
		t.Errorf("waiting for a cancelled task: %v, %s", err, out)
	}
	h.Eventually(30*time.Second, "the import has failed", func() bool {
		return strings.Contains(h.Must("image", "show", "two", "-o", "yaml"), "phase: failed")
	})
	if left := append(h.programs(), h.staged()...); len(left) > 0 {
		t.Errorf("left behind is %v", left)
	}
	h.Must("image", "import", "three", "--file", file)
	h.Eventually(30*time.Second, "the third conversion works", func() bool { return len(h.programs()) == 1 })
	program := h.programs()[0]
	h.Must("down", "--all", "--force", "--state", h.State)
	if line, _ := os.ReadFile(program + "/cmdline"); strings.Contains(string(line), "virga-task-") {
		t.Errorf("down --all has left %s", program)
	}
}
