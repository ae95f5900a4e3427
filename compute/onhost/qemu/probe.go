package qemu

import (
	"context"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
)

// Info is what a QEMU process says of itself.
type Info struct {
	Version      string // "7.2.22"
	Major, Minor int
	// MachineType is the newest q35 machine: "pc-q35-7.2".
	MachineType string
}

var (
	versionWords     = regexp.MustCompile(`version (\d+)\.(\d+)(\.\d+)?`)
	machineTypeWords = regexp.MustCompile(`(?m)^q35 .*\(alias of (pc-q35-[\d.]+)\)`)
)

// Probe asks the program for its version. The floor is 7.2.
func Probe(ctx context.Context, binary string) (Info, error) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	path, err := exec.LookPath(binary)
	if err != nil {
		return Info{}, fault.New(fault.Precondition, "find QEMU %s: it is not on this host; install QEMU 7.2 or newer (Debian: the package qemu-system-x86)", binary)
	}
	out, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return Info{}, fault.New(fault.Precondition, "ask %s for its version: %w: %.200s", path, err, out)
	}
	found := versionWords.FindSubmatch(out)
	if found == nil {
		return Info{}, fault.New(fault.Precondition, "ask %s for its version: it says %.200q", path, out)
	}
	info := Info{Version: string(found[0][len("version "):])}
	info.Major, _ = strconv.Atoi(string(found[1]))
	info.Minor, _ = strconv.Atoi(string(found[2]))
	if info.Major < 7 || info.Major == 7 && info.Minor < 2 {
		return Info{}, fault.New(fault.Precondition, "QEMU %s is version %s; install QEMU 7.2 or newer (Debian: the package qemu-system-x86)", path, info.Version)
	}
	if out, err = exec.CommandContext(ctx, path, "-machine", "help").Output(); err == nil {
		if found := machineTypeWords.FindSubmatch(out); found != nil {
			info.MachineType = string(found[1])
		}
	}
	return info, nil
}

// aioHere is io_uring where the kernel lets this process have it.
func aioHere() string {
	var params [120]byte // struct io_uring_params
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&params)), 0)
	if errno != 0 {
		return "threads"
	}
	_ = unix.Close(int(fd))
	return "io_uring"
}

// direct reports whether a file can be opened past the page cache: not on tmpfs, for one.
func direct(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	_ = unix.Close(fd)
	return true
}

// deviceGroup is the group that may use the processor's virtualisation; 0: root's only.
func deviceGroup() uint32 {
	var st unix.Stat_t
	if err := unix.Stat("/dev/kvm", &st); err != nil || os.Geteuid() != 0 {
		return 0
	}
	return st.Gid
}
