package daemon

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
)

func server(t *testing.T) Program {
	t.Helper()
	path, err := exec.LookPath("ovsdb-server")
	if err != nil {
		t.Skip("ovsdb-server is not installed")
	}
	dir, err := os.MkdirTemp("/tmp", "vd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	schema, db := "/usr/share/openvswitch/vswitch.ovsschema", filepath.Join(dir, "x.db")
	for range 2 { // the second time it is there, and new enough
		if err := EnsureDatabase(t.Context(), db, schema); err != nil {
			t.Fatal(err)
		}
	}
	p := withRun(Program{Name: "x", Path: path, Mark: "--log-file=" + dir + "/x.log"}, db, dir+"/run")
	t.Cleanup(func() { _ = p.Stop(context.Background()) })
	return p
}

// withRun is a database server with its sockets in a folder.
func withRun(p Program, db, run string) Program {
	p.PIDFile, p.Control, p.Serves = run+"/x.pid", run+"/x.ctl", []string{run + "/x.sock"}
	p.Args = []string{db, "--remote=punix:" + run + "/x.sock", "--pidfile=" + p.PIDFile, p.Mark,
		"--unixctl=" + p.Control, "--detach", "--no-chdir", "-vconsole:off", "-vsyslog:off"}
	return p
}

// The database has a lock: while the old process runs no other can start.
func TestProgramIsFoundThoughTheRunFolderWasEmptied(t *testing.T) {
	for name, spoil := range map[string]func(*testing.T, *Program){
		"emptied":          func(t *testing.T, p *Program) { empty(t, filepath.Dir(p.PIDFile)) },
		"without a socket": func(t *testing.T, p *Program) { empty(t, p.Serves[0]) },
		"another folder":   func(_ *testing.T, p *Program) { *p = withRun(*p, p.Args[0], filepath.Dir(p.PIDFile)+"2") },
		"without the state": func(t *testing.T, p *Program) {
			empty(t, filepath.Dir(p.PIDFile))
			empty(t, p.Args[3][len("--log-file="):])
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := server(t)
			if _, err := p.Ensure(t.Context()); err != nil {
				t.Fatal(err)
			}
			first := p.PID()
			spoil(t, &p)
			if pid := p.PID(); pid != first {
				t.Fatalf("process %d is found, not %d", pid, first)
			}
			started, err := p.Ensure(t.Context())
			if err != nil || !started || p.PID() == first || !p.serves() {
				t.Fatalf("started=%v, process %d after %d: %v", started, p.PID(), first, err)
			}
			if left := p.find(); len(left) != 1 {
				t.Errorf("processes %v run", left)
			}
			empty(t, filepath.Dir(p.PIDFile))
			if err := p.Stop(t.Context()); err != nil || len(p.find()) != 0 {
				t.Errorf("after the stop %v run: %v", p.find(), err)
			}
		})
	}
}

func TestProgramWithoutItsPIDFileIsAdopted(t *testing.T) {
	p := server(t)
	if _, err := p.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := p.PID()
	empty(t, p.PIDFile)
	if started, err := p.Ensure(t.Context()); err != nil || started || p.PID() != first {
		t.Errorf("started=%v, process %d after %d: %v", started, p.PID(), first, err)
	}
}

func empty(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func TestAProgramIsAdoptedAndNotStartedTwice(t *testing.T) {
	p := server(t)
	if started, err := p.Ensure(t.Context()); err != nil || !started {
		t.Fatalf("started=%v: %v", started, err)
	}
	pid := p.PID()
	if started, err := p.Ensure(t.Context()); err != nil || started || p.PID() != pid {
		t.Errorf("started=%v, process %d, then %d: %v", started, pid, p.PID(), err)
	}
	for range 2 {
		if err := p.Stop(t.Context()); err != nil || p.PID() != 0 {
			t.Errorf("it runs on as %d: %v", p.PID(), err)
		}
	}
}

func TestANumberInAnOldPIDFileIsNobody(t *testing.T) {
	p := server(t)
	if err := os.MkdirAll(filepath.Dir(p.PIDFile), 0o700); err != nil {
		t.Fatal(err)
	}
	// Our own process has the mark on no command line and holds no lock; it must survive a Stop.
	if err := os.WriteFile(p.PIDFile, fmt.Append(nil, os.Getpid()), 0o600); err != nil {
		t.Fatal(err)
	}
	// A stranger that has the mark, but is another program.
	stranger := exec.Command("sh", "-c", "sleep 60", p.Mark)
	if err := stranger.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = stranger.Process.Kill(); _ = stranger.Wait() }()
	if err := os.WriteFile(p.PIDFile, fmt.Append(nil, stranger.Process.Pid), 0o600); err != nil {
		t.Fatal(err)
	}
	if pid := p.PID(); pid != 0 {
		t.Errorf("the stranger %d is taken for ours", pid)
	}
	if err := p.Stop(t.Context()); err != nil || stranger.Process.Signal(syscall.Signal(0)) != nil {
		t.Errorf("the stranger was ended: %v", err)
	}
	if started, err := p.Ensure(t.Context()); err != nil || !started {
		t.Errorf("started=%v: %v", started, err)
	}
}

const dyingEnv = "VIRGA_TEST_DYING"

// TestMain plays, where it is asked to, a program that is dying: it holds its pid file until its
// input is closed, and answers nothing.
func TestMain(m *testing.M) {
	if path := os.Getenv(dyingEnv); path != "" {
		f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
		if err == nil {
			err = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		}
		if err == nil {
			_, err = fmt.Fprintln(f, os.Getpid())
		}
		fmt.Println(err)
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestAProgramThatIsJustDyingIsNotAdopted(t *testing.T) {
	p := server(t)
	if err := os.MkdirAll(filepath.Dir(p.PIDFile), 0o700); err != nil {
		t.Fatal(err)
	}
	dying := exec.Command(os.Args[0], p.Mark)
	dying.Args[0] = p.Path
	dying.Env = append(os.Environ(), dyingEnv+"="+p.PIDFile)
	end, err := dying.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := dying.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := dying.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { end.Close(); _ = dying.Wait() }()
	if said, _ := bufio.NewReader(out).ReadString('\n'); said != "<nil>\n" || p.PID() != dying.Process.Pid {
		t.Fatalf("it says %q, and is not taken for ours", said)
	}
	socket, err := net.Listen("unix", p.Control)
	if err != nil {
		t.Fatal(err)
	}
	asked := make(chan struct{})
	go func() { // it is asked, hangs up, and ends
		defer close(asked)
		if conn, err := socket.Accept(); err == nil {
			conn.Close()
		}
		socket.Close()
		end.Close()
	}()
	started, err := p.Ensure(t.Context())
	socket.Close()
	<-asked
	if err != nil || !started || p.PID() == 0 || p.PID() == dying.Process.Pid {
		t.Errorf("started=%v, process %d: %v", started, p.PID(), err)
	}
}

func TestAProgramThatDoesNotAnswerIsNamed(t *testing.T) {
	p := server(t)
	if _, err := p.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid := p.PID()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Kill(pid, syscall.SIGCONT) }()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if started, err := p.Ensure(ctx); started || !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), fmt.Sprintf("process %d has its place", pid)) {
		t.Errorf("started=%v: %v", started, err)
	}
}

// killed kills a process; 0 would be all of the test's own.
func killed(t *testing.T, pid int) {
	t.Helper()
	if pid < 2 {
		t.Fatal("there is no process to kill")
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsKilledIsStartedAtOnce(t *testing.T) {
	p := server(t)
	for range 20 {
		if _, err := p.Ensure(t.Context()); err != nil {
			t.Fatal(err)
		}
		first := p.PID()
		killed(t, first)
		if started, err := p.Ensure(t.Context()); err != nil || !started || p.PID() == first {
			t.Fatalf("started=%v, process %d after %d: %v", started, p.PID(), first, err)
		}
	}
}

func TestWhatIsKilledIsStartedAgain(t *testing.T) {
	p := server(t)
	k := NewSupervisor(p)
	k.soon, k.seldom = 20*time.Millisecond, time.Hour // nobody looks: the kernel tells
	if err := k.Ensure(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); k.Run(ctx) }()
	now := p.PID()
	for range 3 {
		first := now
		killed(t, first)
		for end := time.Now().Add(10 * time.Second); now == 0 || now == first; now = p.PID() {
			if time.Now().After(end) {
				t.Fatal("it was not started again")
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	cancel()
	<-done
	if err := k.Stop(t.Context()); err != nil || p.PID() != 0 {
		t.Errorf("it runs on as %d: %v", p.PID(), err)
	}
}

func TestAProgramThatIsNotThereIsNamed(t *testing.T) {
	p := Program{Name: "ghost", Path: "/nowhere/ghost", PIDFile: t.TempDir() + "/ghost.pid"}
	if _, err := p.Ensure(t.Context()); err == nil || !strings.Contains(err.Error(), "not installed") {
		t.Errorf("it says %v", err)
	}
}

func TestADatabaseOfAnOlderSchemaIsConverted(t *testing.T) {
	if _, err := exec.LookPath("ovsdb-tool"); err != nil {
		t.Skip("ovsdb-tool is not installed")
	}
	const schema = "/usr/share/openvswitch/vswitch.ovsschema"
	now, err := tool(t.Context(), "schema-version", schema)
	if err != nil {
		t.Skip(err)
	}
	text, _ := os.ReadFile(schema)
	dir := t.TempDir()
	old := strings.Replace(strings.Replace(string(text), now, "8.0.0", 1), `"dpdk_version"`, `"gone_since"`, 1)
	if err := os.WriteFile(dir+"/old", []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{dir + "/old", schema, dir + "/old"} { // an older program leaves a newer database alone
		if err := EnsureDatabase(t.Context(), dir+"/x.db", s); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := tool(t.Context(), "db-version", dir+"/x.db"); err != nil || got != now {
		t.Errorf("the database is %q, not %q: %v", got, now, err)
	}
}

func TestVersionsAreComparedByNumber(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{{"7.0.1", "7.0.0", true}, {"7.0.0", "7.0.0", false}, {"7.10.0", "7.9.0", true}, {"6.9.0", "7.0.0", false}} {
		if newer(c.a, c.b) != c.want {
			t.Errorf("%s newer than %s: %v", c.a, c.b, !c.want)
		}
	}
}

func TestDatabaseThatCannotBeReadIsMadeAnewAndKeptAside(t *testing.T) {
	if _, err := exec.LookPath("ovsdb-tool"); err != nil {
		t.Skip("ovsdb-tool is not installed")
	}
	const schema = "/usr/share/openvswitch/vswitch.ovsschema"
	for name, damaged := range map[string]string{"empty": "", "garbage": "\xa5\x5a not a database", "half a line": `OVSDB JSON 200 0123`} {
		file := filepath.Join(t.TempDir(), "x.db")
		if err := os.WriteFile(file, []byte(damaged), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := EnsureDatabase(t.Context(), file, schema); err != nil {
			t.Fatal(name, err)
		}
		if got, err := tool(t.Context(), "db-name", file); err != nil || got != "Open_vSwitch" {
			t.Errorf("%s: the database is %q: %v", name, got, err)
		}
		if kept, err := os.ReadFile(file + ".damaged"); err != nil || string(kept) != damaged {
			t.Errorf("%s: what was there is lost: %q, %v", name, kept, err)
		}
	}
}
