package qemu

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

func TestASocketIsOpenedForItsProcessAndThroughNoLink(t *testing.T) {
	dir := runDir(t)
	listen := func(name string) {
		l, err := net.Listen("unix", filepath.Join(dir, name))
		must(t, err)
		t.Cleanup(func() { _ = l.Close() })
	}
	listen("good")
	must(t, os.Mkdir(filepath.Join(dir, "in"), 0o700))
	listen("in/good")
	must(t, os.Symlink(filepath.Join(dir, "in/good"), filepath.Join(dir, "link")))
	must(t, os.Symlink("in", filepath.Join(dir, "folder")))
	must(t, os.WriteFile(filepath.Join(dir, "file"), nil, 0o600))
	must(t, unix.Mkfifo(filepath.Join(dir, "pipe"), 0o600))
	f, err := bind(filepath.Join(dir, "silent"))
	must(t, err)
	defer func() { _ = f.Close() }()

	conn, err := connect(t.Context(), dir, "good", os.Getpid())
	must(t, err)
	_ = conn.Close()
	for name, want := range map[string]error{
		"link": unix.ELOOP, "folder/good": unix.ELOOP, "../" + filepath.Base(dir) + "/good": unix.EXDEV, filepath.Join(dir, "good"): unix.EXDEV,
		"file": unix.ECONNREFUSED, "pipe": unix.ECONNREFUSED, "silent": unix.ECONNREFUSED, "nothing": unix.ENOENT,
	} {
		if _, err := connect(t.Context(), dir, name, os.Getpid()); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := connect(t.Context(), dir, "good", os.Getpid()+1); !fault.Is(err, fault.Denied) {
		t.Errorf("a socket of another process: %v", err)
	}
	if _, err := connect(t.Context(), filepath.Join(dir, "folder"), "good", os.Getpid()); err == nil {
		t.Error("a folder that is a link was walked through")
	}
}

// bare is a guest that is started and never let run.
func bareVM() onhost.VMConfig {
	return onhost.VMConfig{
		ID: resource.NewID(), VMID: resource.NewID(), Boot: 1, Epoch: 1, Name: "test", CPUs: 1, MemoryMiB: 64,
		MachineType: "pc-q35-7.2", CPUModel: "qemu64", Accelerator: "tcg", UID: 64123,
	}
}

// as runs a function in a thread that has lost root for good.
func as(uid int, do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends
		id := uintptr(uid)
		_, _, a := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0)
		_, _, b := unix.RawSyscall(unix.SYS_SETRESGID, id, id, id)
		_, _, c := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id)
		if a|b|c == 0 {
			do()
		}
	}()
	<-done
}

func TestAMonitorIsReachedByTheDaemonAlone(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root starts QEMU processes as another user")
	}
	d := house(t, Config{})
	m := bareVM()
	must(t, d.Ensure(t.Context(), m))
	folder := filepath.Join(d.cfg.RunDir, string(m.ID))
	for _, uid := range []int{64123, 64124} { // QEMU's own user, and another guest's
		tried := 0
		as(uid, func() {
			for _, name := range doors {
				path := filepath.Join(folder, name)
				fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err != nil {
					t.Error(err)
				}
				if err := unix.Connect(fd, &unix.SockaddrUnix{Name: path}); !errors.Is(err, unix.EACCES) {
					t.Errorf("user %d connects to %s: %v", uid, name, err)
				}
				_ = unix.Close(fd)
				if err := unix.Unlink(path); !errors.Is(err, unix.EACCES) {
					t.Errorf("user %d removes %s: %v", uid, name, err)
				}
				if err := unix.Symlink("/run/other.sock", path+".new"); !errors.Is(err, unix.EACCES) {
					t.Errorf("user %d puts a link beside %s: %v", uid, name, err)
				}
				tried++
			}
		})
		if tried != len(doors) {
			t.Fatalf("tried %d as user %d", tried, uid)
		}
	}
	// Whoever takes the place of a monitor is not spoken to.
	g := d.guests[m.ID]
	_ = g.qmp.Close()
	must(t, os.Remove(filepath.Join(folder, qmpSocket)))
	other, err := net.Listen("unix", filepath.Join(folder, qmpSocket))
	must(t, err)
	defer func() { _ = other.Close() }()
	if seen := look(t, d, m.ID); seen.State != onhost.Silent || !strings.Contains(seen.Problem, "answered by process") {
		t.Fatalf("%+v", seen)
	}
}

func TestAScreenIsHandedToEachViewer(t *testing.T) {
	d := house(t, Config{})
	m := bareVM()
	m.Screen = onhost.VGA
	must(t, d.Ensure(t.Context(), m))
	for range 2 {
		screen, err := d.Display(t.Context(), m.ID)
		must(t, err)
		defer func() { _ = screen.Close() }()
		greeting := make([]byte, 12)
		if _, err := io.ReadFull(screen, greeting); err != nil || string(greeting) != "RFB 003.008\n" {
			t.Fatalf("%q, %v", greeting, err)
		}
	}
	if _, err := d.Display(t.Context(), resource.NewID()); !fault.Is(err, fault.NotFound) {
		t.Fatalf("%v", err)
	}
}

func TestOneStreamOfMemoryIsTaken(t *testing.T) {
	d := house(t, Config{})
	m := bareVM()
	m.Incoming = true
	must(t, d.Ensure(t.Context(), m))
	first, theirs := net.Pipe()
	ended := make(chan error, 1)
	go func() { ended <- d.AcceptStream(t.Context(), m.ID, theirs) }()
	_, err := first.Write([]byte("Q")) // it was taken when it is read
	must(t, err)
	for range 2 {
		if err := d.AcceptStream(t.Context(), m.ID, &net.UnixConn{}); !fault.Is(err, fault.Precondition) {
			t.Fatalf("a second stream: %v", err)
		}
	}
	_ = first.Close()
	must(t, <-ended)
	await(t, d, m.ID, 20e9, onhost.Ended)
}

func TestWhatQEMUWritesToItsErrorLogIsBounded(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, stderrFile)
	must(t, os.WriteFile(path, []byte(strings.Repeat("noise\n", stderrSize/6+1)+"the end\n"), 0o600))
	if cut := trimFile(path, stderrSize); cut < stderrSize/2 {
		t.Fatalf("%d bytes went", cut)
	}
	info, err := os.Stat(path)
	must(t, err)
	if words := lastWords(dir); info.Size() > stderrSize || !strings.HasSuffix(words, "noise; the end") || len(words) > 1000 {
		t.Fatalf("%d bytes are left, the last words are %q", info.Size(), words)
	}
	if cut := trimFile(path, stderrSize); cut != 0 {
		t.Fatalf("%d bytes more went", cut)
	}
}
