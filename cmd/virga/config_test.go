package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
)

func TestAPowerCutInTheMiddleOfASaveLeavesTheOldConfig(t *testing.T) {
	c := &config{Name: "h1", Server: "yes", Servers: []string{"192.0.2.1:7443"}, state: t.TempDir(), run: t.TempDir()}
	if err := c.save(); err != nil {
		t.Fatal(err)
	}
	// What a save has begun when the power goes is a file beside.
	torn := filepath.Join(c.state, ".config.json.new")
	if err := os.WriteFile(torn, []byte(`{"name": "h`), 0o600); err != nil {
		t.Fatal(err)
	}
	again, found, err := loadConfig(c.state, c.run)
	if err != nil || !found || again.Name != "h1" || again.Servers[0] != "192.0.2.1:7443" {
		t.Errorf("got %+v, %v, %v", again, found, err)
	}
	if err := again.save(); err != nil {
		t.Errorf("the next save fails over it: %v", err)
	}
	if _, err := os.Stat(torn); !os.IsNotExist(err) {
		t.Errorf("the next save leaves it: %v", err)
	}
}

func TestADamagedConfigSaysWhichFileAndWhatToDo(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "config.json"), []byte(`{"name": "h`), 0o600); err != nil {
		t.Fatal(err)
	}
	_, _, err := loadConfig(dir, dir)
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), filepath.Join(dir, "config.json")) || !strings.Contains(err.Error(), "repair it") {
		t.Errorf("got %v", err)
	}
}

func TestAProcessNumberThatWasGivenToAnotherIsNotOurDaemon(t *testing.T) {
	c := &config{run: t.TempDir()}
	if err := os.WriteFile(c.pidFile(), []byte("1 1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if pid := c.daemonPID(); pid != 0 {
		t.Errorf("process %d is taken for the daemon", pid)
	}
	if err := c.writePID(); err != nil {
		t.Fatal(err)
	}
	if pid := c.daemonPID(); pid != os.Getpid() {
		t.Errorf("got %d, want %d", pid, os.Getpid())
	}
}

func TestASecondDaemonOnAStateFolderIsRefused(t *testing.T) {
	state := t.TempDir()
	unlock, err := lockFolder(state)
	if err != nil {
		t.Fatal(err)
	}
	_, err = lockFolder(state)
	if want := fmt.Sprintf("works on %s already (process %d); end it by virga down", state, os.Getpid()); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	unlock()
	if unlock, err = lockFolder(state); err != nil {
		t.Fatalf("after the first has let go: %v", err)
	}
	unlock()
}
