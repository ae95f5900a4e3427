package proc

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

func TestStatIsReadWhateverTheProgramIsCalled(t *testing.T) {
	for text, want := range map[string]Stat{
		"7 (sh) S 1 7 7 0 -1 4 1 0 0 0 1 2 0 0 20 0 1 0 4711 99":         {'S', 7, 4711},
		"7 (a) b (c)) Z 1 8 7 0 -1 4 1 0 0 0 1 2 0 0 20 0 1 0 12 99 0 0": {'Z', 8, 12},
	} {
		if got, ok := parse([]byte(text)); !ok || got != want {
			t.Errorf("%q is %+v, want %+v", text, got, want)
		}
	}
	for _, text := range []string{"", "7 (sh) S 1", "7 (sh) S 1 x 7 0 -1 4 1 0 0 0 1 2 0 0 20 0 1 0 4711", "7 (sh) S 1 7 7 0 -1 4 1 0 0 0 1 2 0 0 20 0 1 0 late"} {
		if got, ok := parse([]byte(text)); ok {
			t.Errorf("%q is taken for %+v", text, got)
		}
	}
}

func TestProcessIsSeenFromItsBeginningToItsEnd(t *testing.T) {
	self, err := Look(os.Getpid())
	if err != nil || self.Ended() || self.Began == 0 {
		t.Fatalf("%+v, %v", self, err)
	}
	cmd := exec.Command("sleep", "60")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	pid := cmd.Process.Pid
	if s, err := Look(pid); err != nil || s.Group != pid || s.Began < self.Began || s.Ended() {
		t.Errorf("%+v, %v", s, err)
	}
	_ = cmd.Process.Kill()
	for until := time.Now().Add(10 * time.Second); ; time.Sleep(time.Millisecond) {
		if s, err := Look(pid); err == nil && s.Ended() {
			break
		} else if time.Now().After(until) {
			t.Fatalf("it was killed, and is %+v, %v", s, err)
		}
	}
	_ = cmd.Wait()
	if _, err := Look(pid); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("one that is gone: %v", err)
	}
}
