package qemu

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/seed"
	"github.com/virga-cloud/virga/engine/proc"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
)

// inside runs a function as what has taken a QEMU process over: in its namespaces, as its user. What is
// done there must be plain calls of the kernel: the rest of the test is another user.
func inside(t *testing.T, pid, uid int, do func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends
		for _, kind := range []string{"net", "ipc"} {
			fd, err := unix.Open(fmt.Sprintf("/proc/%d/ns/%s", pid, kind), unix.O_RDONLY|unix.O_CLOEXEC, 0)
			if err == nil {
				err = unix.Setns(fd, 0)
				_ = unix.Close(fd)
			}
			if err != nil {
				done <- err
				return
			}
		}
		id := uintptr(uid)
		_, _, a := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0)
		_, _, b := unix.RawSyscall(unix.SYS_SETRESGID, id, id, id)
		_, _, c := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id)
		err := errors.Join(errno(a), errno(b), errno(c))
		if err == nil {
			do()
		}
		done <- err
	}()
	must(t, <-done)
}

func errno(e unix.Errno) error {
	if e == 0 {
		return nil
	}
	return e
}

func opens(path string, flags int) error {
	fd, err := unix.Open(path, flags|unix.O_CLOEXEC, 0)
	if err == nil {
		_ = unix.Close(fd)
	}
	return err
}

func reaches(family int, to unix.Sockaddr) error {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	return unix.Connect(fd, to)
}

// An attempt is what a hostile guest would do with a QEMU process that it has taken over. Whoever may do
// everything succeeds with it: else it would prove nothing.
type attempt struct {
	what string
	try  func() error
}

func attempts(t *testing.T, d *Driver, own, other onhost.VMConfig) []attempt {
	victim := look(t, d, other.ID).PID
	folder := filepath.Join(d.cfg.RunDir, string(other.ID))
	service, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = service.Close() })
	hidden, err := net.Listen("unix", "@virga-test-"+string(own.ID))
	must(t, err)
	t.Cleanup(func() { _ = hidden.Close() })
	memory, err := unix.SysvShmGet(unix.IPC_PRIVATE, 4096, unix.IPC_CREAT|0o666) // what a careless service of the host would have
	must(t, err)
	t.Cleanup(func() { _, _ = unix.SysvShmCtl(memory, unix.IPC_RMID, nil) })
	daemon := exec.Command("sleep", "600") // a process of root: a thread of our own may do anything to us
	must(t, daemon.Start())
	t.Cleanup(func() { _, _ = daemon.Process.Kill(), daemon.Wait() })
	all := []attempt{
		{"kill another guest", func() error { return unix.Kill(victim, 0) }},
		{"kill a process of root", func() error { return unix.Kill(daemon.Process.Pid, 0) }},
		{"kill the first process of the host", func() error { return unix.Kill(1, 0) }},
		{"reach a service of the host", func() error {
			return reaches(unix.AF_INET, &unix.SockaddrInet4{Port: service.Addr().(*net.TCPAddr).Port, Addr: [4]byte{127, 0, 0, 1}})
		}},
		{"reach a service of the host that has no file", func() error {
			return reaches(unix.AF_UNIX, &unix.SockaddrUnix{Name: hidden.Addr().String()})
		}},
		{"look at memory that the host shares", func() error {
			_, err := unix.SysvShmCtl(memory, unix.IPC_STAT, &unix.SysvShmDesc{})
			return err
		}},
		{"open a door of its own", func() error {
			return reaches(unix.AF_UNIX, &unix.SockaddrUnix{Name: filepath.Join(d.cfg.RunDir, string(own.ID), qmpSocket)})
		}},
		{"open a door of another guest", func() error { return reaches(unix.AF_UNIX, &unix.SockaddrUnix{Name: filepath.Join(folder, qmpSocket)}) }},
	}
	for what, path := range map[string]string{
		"memory": fmt.Sprintf("/proc/%d/mem", victim), "environment": fmt.Sprintf("/proc/%d/environ", victim),
		"disk": other.Disks[0].Source.Path, "log": d.serialLog(other.VMID).path + latestLog, "seed": filepath.Join(folder, seedFile),
		"state": filepath.Join(folder, stateFile), "folder": folder, "disk by what it has open": diskOf(t, victim, other.Disks[0].Source.Path),
	} {
		all = append(all, attempt{"read the " + what + " of another guest", func() error { return opens(path, unix.O_RDONLY) }})
	}
	return append(all,
		attempt{"write to the disk of another guest", func() error { return opens(other.Disks[0].Source.Path, unix.O_WRONLY) }},
		attempt{"cut its own log", func() error { return opens(d.serialLog(own.VMID).path+latestLog, unix.O_WRONLY|unix.O_TRUNC) }},
		attempt{"list the guests of the host", func() error { return opens(d.cfg.RunDir, unix.O_RDONLY|unix.O_DIRECTORY) }},
		attempt{"read the memory of a process of root", func() error { return opens(fmt.Sprintf("/proc/%d/mem", daemon.Process.Pid), unix.O_RDONLY) }},
	)
}

// diskOf is the name under which another process has a file open.
func diskOf(t *testing.T, pid int, path string) string {
	t.Helper()
	all, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	must(t, err)
	for _, fd := range all {
		if to, _ := os.Readlink(fd); to == path {
			return fd
		}
	}
	t.Fatalf("process %d does not have %s open", pid, path)
	return ""
}

// TestAHostileGuestReachesNothingButItself: the worst that a guest can do is to take its QEMU over.
func TestAHostileGuestReachesNothingButItself(t *testing.T) {
	if os.Geteuid() != 0 || proc.Apart() == 0 {
		t.Skip("only root, where the kernel makes namespaces, keeps QEMU apart")
	}
	d := house(t, Config{})
	own, other := bareVM(), bareVM()
	other.UID = 64124
	for _, m := range []*onhost.VMConfig{&own, &other} {
		m.RootPorts = 2
		m.Seed = seed.Files{"meta-data": "instance-id: it\n"}
		m.Disks = []onhost.Disk{{Source: storage.InFile(newDisk(t), "qcow2"), ID: resource.NewID(), BootIndex: 1}}
		must(t, os.Chown(m.Disks[0].Source.Path, int(m.UID), int(m.UID)))
		must(t, os.Chmod(m.Disks[0].Source.Path, 0o600))
		must(t, d.Ensure(t.Context(), *m))
	}
	all := attempts(t, d, own, other)
	for _, a := range all {
		if err := a.try(); err != nil {
			t.Errorf("%s: even root cannot: %v", a.what, err)
		}
	}
	results := make([]error, len(all))
	var disk error
	inside(t, look(t, d, own.ID).PID, int(own.UID), func() {
		for i, a := range all {
			results[i] = a.try()
		}
		disk = opens(own.Disks[0].Source.Path, unix.O_RDWR)
	})
	for i, err := range results {
		if err == nil {
			t.Errorf("a guest that took its QEMU over can %s", all[i].what)
		}
	}
	if disk != nil {
		t.Errorf("it does not even reach its own disk: %v", disk)
	}
}
