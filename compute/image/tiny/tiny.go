package tiny

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/virga-cloud/virga/compute/image/tool"
	"github.com/virga-cloud/virga/engine/fault"
)

//go:embed guest
var guest embed.FS

// recipe changes when the same inputs give another disk.
const recipe = "1"

// Options say how to build.
type Options struct {
	// Cache is a folder where packages and finished disks are kept.
	Cache string
	// Tell is given a line about what is being done; nil: nobody.
	Tell func(string)
}

// Build writes a bootable disk to out, in qcow2. A disk that was built of the same parts before
// is copied from the cache.
func Build(ctx context.Context, out string, o Options) error {
	err := tool.Need(map[string]string{"apt-get": "apt", "dpkg-deb": "dpkg", "mformat": "mtools", "mcopy": "mtools",
		"syslinux": "syslinux", "mke2fs": "e2fsprogs", "qemu-img": "qemu-utils"})
	if err != nil {
		return fault.Wrap(err, "build the tiny image")
	}
	if err := os.MkdirAll(o.Cache, 0o755); err != nil {
		return fault.New(fault.Internal, "build the tiny image: %w", err)
	}
	p, err := gather(ctx, o)
	if err != nil {
		return fault.Wrap(err, "build the tiny image")
	}
	kept := filepath.Join(o.Cache, "tiny-"+p.key()+".qcow2")
	if _, err := os.Stat(kept); err != nil {
		if err := build(ctx, kept, p, o); err != nil {
			return fault.Wrap(err, "build the tiny image")
		}
	}
	return fault.Wrap(deliver(ctx, kept, out), "build the tiny image")
}

// parts are what the disk is made of.
type parts struct {
	kernelPackage string // .deb
	busybox       string // .deb, or the program itself where it is installed
}

func gather(ctx context.Context, o Options) (parts, error) {
	apt := tool.Apt{Folder: o.Cache, Tell: o.Tell}
	kernel, err := apt.Package(ctx, "linux-image-cloud-amd64*")
	if err != nil {
		return parts{}, err
	}
	for _, program := range []string{"/bin/busybox", "/usr/bin/busybox"} {
		if static(program) {
			return parts{kernel, program}, nil
		}
	}
	busybox, err := apt.Package(ctx, "busybox-static")
	return parts{kernel, busybox}, err
}

// key names the disk after everything that goes in.
func (p parts) key() string {
	h := sha256.New()
	h.Write([]byte(recipe + "\n" + filepath.Base(p.kernelPackage) + "\n" + filepath.Base(p.busybox) + "\n"))
	if info, err := os.Stat(p.busybox); err == nil {
		h.Write([]byte(info.ModTime().UTC().String()))
	}
	_ = fs.WalkDir(guest, ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			data, _ := guest.ReadFile(name)
			h.Write([]byte(name + "\n" + string(data)))
		}
		return err
	})
	return hex.EncodeToString(h.Sum(nil))[:16]
}

func build(ctx context.Context, kept string, p parts, o Options) error {
	work, err := os.MkdirTemp(o.Cache, "build-")
	if err != nil {
		return fault.New(fault.Internal, "make a folder to build in: %w", err)
	}
	defer os.RemoveAll(work)
	tell(o, "unpack the kernel")
	root := filepath.Join(work, "kernel")
	if _, err := tool.Run(ctx, "dpkg-deb", "-x", p.kernelPackage, root); err != nil {
		return err
	}
	if strings.HasSuffix(p.busybox, ".deb") {
		unpacked := filepath.Join(work, "busybox")
		if _, err := tool.Run(ctx, "dpkg-deb", "-x", p.busybox, unpacked); err != nil {
			return err
		}
		p.busybox = filepath.Join(unpacked, "bin", "busybox")
	}
	kernel, modules, err := findKernel(root)
	if err != nil {
		return err
	}
	tell(o, "make the initial RAM disk")
	initrd := filepath.Join(work, "initrd")
	if err := writeInitrd(initrd, p.busybox, modules); err != nil {
		return err
	}
	tell(o, "make the disk")
	raw := filepath.Join(work, "disk.raw")
	if err := writeDisk(ctx, raw, kernel, initrd); err != nil {
		return err
	}
	done := filepath.Join(work, "disk.qcow2")
	if _, err := tool.Run(ctx, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o",
		"extended_l2=on,cluster_size=128k", raw, done); err != nil {
		return err
	}
	return os.Rename(done, kept)
}

// findKernel gives the kernel and the folder of its modules in an unpacked package.
func findKernel(root string) (kernel, modules string, err error) {
	kernels, _ := filepath.Glob(filepath.Join(root, "boot", "vmlinuz-*"))
	for _, pattern := range []string{"lib/modules/*", "usr/lib/modules/*"} {
		folders, _ := filepath.Glob(filepath.Join(root, pattern))
		if len(kernels) == 1 && len(folders) == 1 {
			return kernels[0], folders[0], nil
		}
	}
	return "", "", fault.New(fault.Internal, "find the kernel in its package: %d kernels and no single folder of modules", len(kernels))
}

// deliver copies the finished disk to where it is wanted, all or nothing.
func deliver(ctx context.Context, from, to string) error {
	half := to + ".part"
	if _, err := tool.Run(ctx, "cp", "--reflink=auto", "--sparse=always", from, half); err != nil {
		_ = os.Remove(half)
		return err
	}
	return os.Rename(half, to)
}

func tell(o Options, text string) {
	if o.Tell != nil {
		o.Tell(text)
	}
}
