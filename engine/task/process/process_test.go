package process

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
)

func folder(t *testing.T) Folder {
	f := Folder{Path: t.TempDir()}
	t.Cleanup(func() {
		all, _ := f.List()
		for _, id := range all {
			if err := f.Stop(id); err != nil {
				t.Error(err)
			}
		}
	})
	return f
}

func shell(script string) *exec.Cmd { return exec.Command("/bin/sh", "-c", script) }

func until(t *testing.T, f Folder, id resource.ID, what string, ok func(State) bool) State {
	t.Helper()
	for range 1000 {
		s, err := f.Look(id)
		if err != nil {
			t.Fatal(err)
		}
		if ok(s) {
			return s
		}
		time.Sleep(5 * time.Millisecond)
	}
	s, _ := f.Look(id)
	t.Fatalf("it never %s: %+v", what, s)
	return s
}

func alive(s State) bool { return s.Alive }
func ended(s State) bool { return s.Known && !s.Alive }

func pidOf(t *testing.T, f Folder, id resource.ID) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(f.Path, string(id), "pid"))
	if err != nil {
		t.Fatal(err)
	}
	pid, _ := strconv.Atoi(strings.Fields(string(text))[0])
	return pid
}

func TestAProgramSaysHowItEnded(t *testing.T) {
	f, id := folder(t), resource.NewID()
	if s, err := f.Look(id); err != nil || s.Known {
		t.Fatalf("before its start: %+v, %v", s, err)
	}
	cmd := shell("echo out; echo err >&2; cat; exit 7")
	if err := f.Start(id, cmd); err != nil {
		t.Fatal(err)
	}
	s := until(t, f, id, "ends", ended)
	if s.Exit != 7 || s.Out != "out\n" || s.Err != "err\n" {
		t.Errorf("it ended as %+v", s)
	}
	if err := f.Stop(id); err != nil {
		t.Fatal(err)
	}
	if s, err := f.Look(id); err != nil || s.Known {
		t.Errorf("after it was forgotten: %+v, %v", s, err)
	}
	if err := f.Stop(id); err != nil {
		t.Errorf("stopped twice: %v", err)
	}
}

func TestAProgramIsStartedOnce(t *testing.T) {
	f, id := folder(t), resource.NewID()
	count := filepath.Join(t.TempDir(), "count")
	for range 3 {
		if err := (Folder{Path: f.Path}).Start(id, shell("echo x >>"+count+"; sleep 60")); err != nil {
			t.Fatal(err)
		}
		until(t, f, id, "lives", alive)
	}
	time.Sleep(50 * time.Millisecond)
	if text, _ := os.ReadFile(count); string(text) != "x\n" {
		t.Errorf("it was started %d times", len(text)/2)
	}
}

func TestAProgramIsFoundThoughItsPidWasNeverWritten(t *testing.T) {
	f, id := folder(t), resource.NewID()
	if err := f.Start(id, shell("sleep 60")); err != nil {
		t.Fatal(err)
	}
	pid := pidOf(t, f, id)
	if err := os.Remove(filepath.Join(f.Path, string(id), "pid")); err != nil {
		t.Fatal(err)
	}
	if s, err := f.Look(id); err != nil || !s.Alive {
		t.Fatalf("it is %+v, %v", s, err)
	}
	if err := f.Stop(id); err != nil {
		t.Fatal(err)
	}
	if _, there := beginning(pid); there {
		t.Error("it works still")
	}
}

func TestStopEndsAllThatAProgramStarted(t *testing.T) {
	f, id := folder(t), resource.NewID()
	if err := f.Start(id, shell("sleep 61 & sleep 62 & wait")); err != nil {
		t.Fatal(err)
	}
	pid := pidOf(t, f, id)
	if err := f.Stop(id); err != nil {
		t.Fatal(err)
	}
	if orphaned(pid) {
		t.Error("something of it works still")
	}
}

func TestAProgramWhoseShellDiedIsFoundAndEnded(t *testing.T) {
	f, id := folder(t), resource.NewID()
	if err := f.Start(id, shell("sleep 63 & wait")); err != nil {
		t.Fatal(err)
	}
	pid := pidOf(t, f, id)
	time.Sleep(50 * time.Millisecond)
	_ = syscall.Kill(pid, syscall.SIGKILL)
	time.Sleep(50 * time.Millisecond)
	if s, err := f.Look(id); err != nil || !s.Alive {
		t.Errorf("what its shell has left behind is not seen: %+v, %v", s, err)
	}
	if err := f.Stop(id); err != nil || orphaned(pid) {
		t.Errorf("it works still: %v", err)
	}
}

func TestAProgramThatWasKilledHasNoExit(t *testing.T) {
	f, id := folder(t), resource.NewID()
	if err := f.Start(id, shell("sleep 64")); err != nil {
		t.Fatal(err)
	}
	_ = syscall.Kill(-pidOf(t, f, id), syscall.SIGKILL)
	if s := until(t, f, id, "ends", ended); s.Exit != -1 {
		t.Errorf("it ended as %+v", s)
	}
}

func TestAnotherProcessOfTheSameNumberIsNotTaken(t *testing.T) {
	f, id := folder(t), resource.NewID()
	dir := filepath.Join(f.Path, string(id))
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	began, _ := beginning(os.Getpid())
	for _, text := range []string{fmt.Sprintf("%d %d\n", os.Getpid(), began), fmt.Sprintf("%d 1\n", os.Getpid())} {
		if err := os.WriteFile(filepath.Join(dir, "pid"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := f.Look(id); err != nil || s.Alive {
			t.Errorf("%q: this test is taken for it: %+v, %v", text, s, err)
		}
	}
	if err := f.Stop(id); err != nil {
		t.Error(err)
	}
}

func TestAProgramThatIsNotThereIsNoProgram(t *testing.T) {
	f, id := folder(t), resource.NewID()
	if err := f.Start(id, exec.Command("/nowhere/program")); err != nil {
		t.Fatal(err) // the shell starts, and says that it is not there
	}
	if s := until(t, f, id, "ends", ended); s.Exit != 127 || !strings.Contains(s.Err, "not found") {
		t.Errorf("it ended as %+v", s)
	}
}
