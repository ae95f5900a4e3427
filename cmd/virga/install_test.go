package main

import (
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

func TestUnitIsAsItWas(t *testing.T) {
	for name, c := range map[string]*config{
		"default": {state: defaultState, run: defaultRun},
		"spaces":  {state: "/srv/my cloud/50% $HOME", run: `/run/a "b"`},
	} {
		golden := filepath.Join("testdata", "unit-"+name+".service")
		got := c.unit("/usr/local/bin/virga")
		if *update {
			if err := os.MkdirAll("testdata", 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil || string(want) != got {
			t.Errorf("%s is not %s (go test -update writes it): %v\n%s", name, golden, err, got)
		}
	}
	if name := (&config{state: "/srv/my cloud/a"}).unitName(); name != "virga-srv-my-cloud-a.service" {
		t.Error(name)
	}
}

// systemd itself reads the unit.
func TestUnitIsUnderstoodBySystemd(t *testing.T) {
	verify, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("systemd-analyze is not installed")
	}
	c := &config{state: filepath.Join(t.TempDir(), "my state"), run: "/run/virga"}
	unit := filepath.Join(t.TempDir(), "virga.service")
	if err := os.WriteFile(unit, []byte(c.unit("/bin/true")), 0o644); err != nil {
		t.Fatal(err)
	}
	out, err := exec.Command(verify, "verify", "--man=no", unit).CombinedOutput()
	for _, line := range strings.Split(string(out), "\n") {
		if strings.Contains(line, "virga.service") {
			t.Error(line)
		}
	}
	if err != nil && !t.Failed() {
		t.Skipf("systemd-analyze does not work here: %v: %s", err, out)
	}
}

func TestSystemdIsToldThatTheDaemonWorksOnlyWhileItAnswers(t *testing.T) {
	dir, err := os.MkdirTemp("", "vn") // sockets have short names
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: dir + "/n", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", dir+"/n")
	t.Setenv("WATCHDOG_USEC", "80000")
	t.Setenv("WATCHDOG_PID", "")
	_ = os.Unsetenv("WATCHDOG_PID")
	heard := func() string {
		data := make([]byte, 100)
		_ = socket.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, _ := socket.Read(data)
		return string(data[:n])
	}
	c := &config{Servers: []string{"192.0.2.1:7443"}, state: dir, run: dir}
	ctx := t.Context()
	go c.tellSystemd(ctx)
	if got := heard(); got != "READY=1" {
		t.Fatalf("it says %q", got)
	}
	_ = socket.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	if n, err := socket.Read(make([]byte, 100)); err == nil {
		t.Errorf("it says %d bytes although it answers nobody", n)
	}
	if err := answerReady(ctx, c); err != nil {
		t.Fatal(err)
	}
	if got := heard(); got != "WATCHDOG=1" {
		t.Errorf("it says %q", got)
	}
}

func TestServiceManagerIsWhatStartsTheDaemon(t *testing.T) {
	units := t.TempDir()
	c := &config{state: t.TempDir(), run: t.TempDir()}
	expect := func(when, want string) {
		t.Helper()
		if got := c.serviceManager(units); got != want {
			t.Errorf("%s: %s, not %s", when, got, want)
		}
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	expect("a daemon alone", byNobody)
	must(os.WriteFile(c.supervisorFile(), fmt.Appendf(nil, "%d %s\n", os.Getpid(), startTime(os.Getpid())), 0o644))
	expect("with a supervisor", bySupervisor)
	must(os.WriteFile(c.supervisorFile(), fmt.Appendf(nil, "%d 1\n", os.Getpid()), 0o644))
	expect("with one that has died", byNobody)
	unit := filepath.Join(units, c.unitName())
	must(os.WriteFile(unit, []byte("[Unit]\n"), 0o644))
	expect("with a unit that is disabled", byNobody)
	wants := filepath.Join(units, "multi-user.target.wants")
	must(os.Mkdir(wants, 0o755))
	must(os.Symlink(unit, filepath.Join(wants, c.unitName())))
	expect("with a unit that is enabled", bySystemd)
}
