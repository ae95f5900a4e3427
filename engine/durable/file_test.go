package durable

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const childEnv = "VIRGA_TEST_WRITES"

func TestMain(m *testing.M) {
	if path := os.Getenv(childEnv); path != "" {
		writeForEver(path)
	}
	os.Exit(m.Run())
}

// content is long enough that a writer can die in the middle of it.
func content(letter byte) []byte { return bytes.Repeat([]byte{letter}, 256<<10) }

func writeForEver(path string) {
	for letter := byte('a'); ; letter = 'a' + (letter-'a'+1)%26 {
		if err := Write(path, content(letter), 0o640); err != nil {
			panic(err)
		}
		os.Stdout.Write([]byte("."))
	}
}

// whole fails unless the file holds what one writer wrote, all of it.
func whole(t *testing.T, path string) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	if len(data) != len(content('a')) || !bytes.Equal(data, content(data[0])) {
		t.Errorf("%d bytes of several writers", len(data))
	}
}

func names(t *testing.T, dir string) string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, e.Name())
	}
	return strings.Join(out, " ")
}

func TestAFileIsReplacedWithItsMode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for _, mode := range []os.FileMode{0o644, 0o600} {
		if err := Write(path, content('a'), mode); err != nil {
			t.Fatal(err)
		}
		whole(t, path)
		if info, err := os.Stat(path); err != nil || info.Mode() != mode {
			t.Errorf("got %v (%v), want %v", info.Mode(), err, mode)
		}
	}
	if got := names(t, filepath.Dir(path)); got != "state" {
		t.Errorf("there is %s", got)
	}
}

func TestAWriterThatIsKilledLeavesTheOldOrTheNewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	for range 10 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), childEnv+"="+path)
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		_, err = out.Read(make([]byte, 3))
		_ = child.Process.Kill()
		_ = child.Wait()
		if err != nil {
			t.Fatalf("the child wrote nothing: %v", err)
		}
		whole(t, path)
		if got := names(t, filepath.Dir(path)); got != "state" && got != ".state.new state" {
			t.Errorf("there is %s", got)
		}
	}
	if err := Write(path, content('z'), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := names(t, filepath.Dir(path)); got != "state" {
		t.Errorf("after the next write there is %s", got)
	}
}

// The leftover may be longer than the new content, and readable by everybody.
func TestALeftoverIsTakenOver(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	if err := os.WriteFile(filepath.Join(dir, ".state.new"), append(content('a'), "more"...), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, content('b'), 0o600); err != nil {
		t.Fatal(err)
	}
	whole(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || names(t, dir) != "state" {
		t.Errorf("mode %v, %v; there is %s", info.Mode(), err, names(t, dir))
	}
}

func TestSeveralWriteOneFileAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "state")
	var writers sync.WaitGroup
	for letter := byte('a'); letter < 'g'; letter++ {
		writers.Go(func() {
			for range 10 {
				if err := Write(path, content(letter), 0o600); err != nil {
					t.Error(err)
					return
				}
				whole(t, path)
			}
		})
	}
	writers.Wait()
	if got := names(t, filepath.Dir(path)); got != "state" {
		t.Errorf("there is %s", got)
	}
}

func TestAWriteThatFailsSaysWhereAndLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "state")
	if err := os.MkdirAll(filepath.Join(path, "full"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, content('a'), 0o600); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if got := names(t, dir); got != "state" {
		t.Errorf("there is %s", got)
	}
	if err := Write(filepath.Join(dir, "absent", "state"), nil, 0o600); err == nil {
		t.Error("written into a folder that is not there")
	}
}
