package qemu

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// kernel is a guest for tests: the distribution's cloud kernel and a small initial file system
// with a shell on the serial line.
type kernel struct{ image, initrd string }

var fixture = sync.OnceValues(makeKernel)

func guestKernel(t *testing.T) kernel {
	t.Helper()
	k, err := fixture()
	if err != nil {
		t.Skipf("no guest can be made here: %v", err)
	}
	return k
}

// makeKernel fetches the kernel once, from the host's own package mirror, into the user's cache.
func makeKernel() (kernel, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return kernel{}, err
	}
	dir := filepath.Join(cache, "virga-test", "guest")
	for _, program := range []string{"busybox", "depmod", "dpkg", "apt-get", "apt-cache"} {
		if _, err := exec.LookPath(program); err != nil {
			return kernel{}, err
		}
	}
	script := `set -e
mkdir -p "$1" && cd "$1"
if ! ls root/boot/vmlinuz-* >/dev/null 2>&1; then
  package=$(apt-cache depends linux-image-cloud-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -1)
  test -n "$package"
  apt-get download "$package" && mkdir -p root && dpkg -x linux-image-*.deb root && rm linux-image-*.deb
fi
version=$(basename "$(ls -d root/lib/modules/*)")
test -f root/lib/modules/$version/modules.dep || depmod -b root "$version"
echo "$version"`
	out, err := exec.Command("sh", "-c", script, "sh", dir).Output()
	if err != nil {
		return kernel{}, fmt.Errorf("fetch a kernel: %w", err)
	}
	lines := strings.Fields(string(out))
	version := lines[len(lines)-1]
	k := kernel{filepath.Join(dir, "root/boot/vmlinuz-"+version), filepath.Join(dir, "initrd-5.gz")}
	if _, err := os.Stat(k.initrd); err == nil {
		return k, nil
	}
	return k, makeInitrd(k.initrd, filepath.Join(dir, "root/lib/modules", version))
}

// init of the guest: what the tests type is run by the shell at its end.
const initScript = `#!/bin/sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/ PS1='# '
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
for m in $(cat /modules/order); do insmod /modules/$m 2>/dev/null; done
echo 0 > /proc/sys/kernel/panic
grep -q deaf=1 /proc/cmdline || for e in /dev/input/event*; do (head -c 24 $e >/dev/null && poweroff -f) </dev/null & done
echo "UP $(cut -d' ' -f1 /proc/uptime)"
stty -echo < /dev/ttyS0 2>/dev/null
while :; do setsid cttyhack sh 2>/dev/null || sh; done
`

func makeInitrd(path, modules string) error {
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		return err
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	var out bytes.Buffer
	a := archive{&out, 0}
	for _, dir := range []string{"bin", "dev", "proc", "sys", "modules", "mnt"} {
		a.add(dir, 0o40755, nil)
	}
	a.add("init", 0o100755, []byte(initScript))
	a.add("bin/busybox", 0o100755, program)
	a.add("bin/sh", 0o120777, []byte("busybox"))
	order, err := a.modules(modules, "virtio_pci", "virtio_blk", "virtio_console", "virtio_balloon", "virtio_mem", "virtio_net", "virtio_scsi", "sd_mod", "button", "evdev", "pvpanic-mmio")
	if err != nil {
		return err
	}
	a.add("modules/order", 0o100644, []byte(order))
	a.add("TRAILER!!!", 0, nil)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write(out.Bytes())
	_ = z.Close()
	if err := os.WriteFile(path+".new", packed.Bytes(), 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

// archive is a cpio archive of the form that kernels unpack.
type archive struct {
	out   *bytes.Buffer
	inode int
}

func (a *archive) add(name string, mode int, data []byte) {
	a.inode++
	fmt.Fprintf(a.out, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x", a.inode, mode, 0, 0, 1, 0, len(data), 0, 0, 0, 0, len(name)+1, 0)
	a.out.WriteString(name + "\x00")
	a.pad()
	a.out.Write(data)
	a.pad()
}

func (a *archive) pad() { a.out.Write(make([]byte, (4-a.out.Len()%4)%4)) }

// modules adds kernel modules with what they need, and gives the order to load them in.
func (a *archive) modules(root string, names ...string) (string, error) {
	text, err := os.ReadFile(filepath.Join(root, "modules.dep"))
	if err != nil {
		return "", err
	}
	needs := map[string][]string{}
	for _, line := range strings.Split(string(text), "\n") {
		file, deps, ok := strings.Cut(line, ":")
		if ok {
			needs[strings.TrimSuffix(filepath.Base(file), ".ko")] = append([]string{file}, strings.Fields(deps)...)
		}
	}
	var order []string
	seen := map[string]bool{}
	for _, name := range names {
		files := needs[name]
		for i := len(files) - 1; i >= 0; i-- { // the last needs nothing
			if base := filepath.Base(files[i]); !seen[base] {
				data, err := os.ReadFile(filepath.Join(root, files[i]))
				if err != nil {
					return "", err
				}
				seen[base] = true
				order = append(order, base)
				a.add("modules/"+base, 0o100644, data)
			}
		}
	}
	return strings.Join(order, " "), nil
}

// signal reaches one process; 0 would be all of the test's own.
func signal(t *testing.T, pid int, s unix.Signal) {
	t.Helper()
	if pid < 2 {
		t.Fatal("the guest has no process")
	}
	must(t, unix.Kill(pid, s))
}
