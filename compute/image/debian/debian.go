// Package debian builds a Debian 12 disk for the cloud: cloud-init, OpenSSH, the guest's agent for
// QEMU, a login on the serial console, and a root file system that grows with its disk.
//
// It needs root, a loop device and a mount, the distribution's archive, and about two minutes.
// Every step can be cancelled; the mount and the loop device are given back on every way out.
package debian

import (
	"context"
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/virga-cloud/virga/compute/image/tool"
	"github.com/virga-cloud/virga/engine/fault"
)

// Options say how to build.
type Options struct {
	// Work is a folder for what is built; it needs 3 GiB. Empty: beside out.
	Work string
	// SizeMiB is the size of the disk; 0: 2048. A VM may have a larger one: it grows at boot.
	SizeMiB int64
	// Tell is given a line about what is being done; nil: nobody.
	Tell func(string)
}

const (
	release = "bookworm"
	start   = 2048 // of the partition, in sectors
	sector  = 512
)

var packages = []string{
	"linux-image-cloud-amd64", "systemd-sysv", "systemd-timesyncd", "cloud-init", "openssh-server", "qemu-guest-agent", "netplan.io",
	"isc-dhcp-client", "ifupdown", "iproute2", "iputils-ping", "extlinux", "ca-certificates", "cloud-guest-utils", "fdisk", "dbus", "udev", "kmod", "sudo", "curl",
}

// build is one build at work.
type build struct {
	Options
	out, work, raw, root, loop string
}

// Build writes a bootable disk to out, in qcow2.
func Build(ctx context.Context, out string, o Options) (err error) {
	defer func() { err = fault.Wrap(err, "build the Debian image") }()
	if os.Geteuid() != 0 {
		return fault.New(fault.Precondition, "it needs root, for a loop device and a mount")
	}
	err = tool.Need(map[string]string{"mmdebstrap": "mmdebstrap", "mke2fs": "e2fsprogs", "extlinux": "extlinux", "losetup": "mount",
		"mount": "mount", "qemu-img": "qemu-utils"})
	if err != nil {
		return err
	}
	if o.SizeMiB == 0 {
		o.SizeMiB = 2048
	}
	if o.Work == "" {
		o.Work = filepath.Dir(out)
	}
	work, err := os.MkdirTemp(o.Work, "debian-")
	if err != nil {
		return fault.New(fault.Internal, "make a folder to build in: %w", err)
	}
	b := &build{Options: o, out: out, work: work, raw: filepath.Join(work, "disk.raw"), root: filepath.Join(work, "root")}
	err = b.run(ctx)
	if gone := b.cleanup(); err == nil {
		err = gone
	}
	return err
}

func (b *build) run(ctx context.Context) error {
	for _, step := range []struct {
		words string
		do    func(context.Context) error
	}{
		{"make the disk", b.disk},
		{"fetch and install the packages (this takes a minute or two)", b.packages},
		{"set it up", b.configure},
		{"make it bootable", b.boot},
		{"convert it", b.convert},
	} {
		if b.Tell != nil {
			b.Tell(step.words)
		}
		if err := step.do(ctx); err != nil {
			return fault.Wrap(err, "%s", step.words)
		}
	}
	return nil
}

// disk makes an empty disk with one file system, and mounts it. The file system does without what
// the boot loader cannot read.
func (b *build) disk(ctx context.Context) error {
	record := make([]byte, sector)
	sectors := uint32(b.SizeMiB<<11) - start
	copy(record[446:], []byte{0x80, 0xfe, 0xff, 0xff, 0x83, 0xfe, 0xff, 0xff})
	binary.LittleEndian.PutUint32(record[446+8:], start)
	binary.LittleEndian.PutUint32(record[446+12:], sectors)
	record[510], record[511] = 0x55, 0xaa
	if err := errors.Join(os.WriteFile(b.raw, record, 0o600), os.Truncate(b.raw, b.SizeMiB<<20), os.Mkdir(b.root, 0o755)); err != nil {
		return fault.New(fault.Internal, "write it: %w", err)
	}
	out, err := tool.Run(ctx, "losetup", "--show", "-f", "-o", strconv.Itoa(start*sector), b.raw)
	if err != nil {
		return err
	}
	b.loop = strings.TrimSpace(out)
	if _, err := tool.Run(ctx, "mke2fs", "-q", "-t", "ext4", "-L", "root", "-O", "^64bit,^metadata_csum", "-m", "0", b.loop); err != nil {
		return err
	}
	_, err = tool.Run(ctx, "mount", "-o", "nodev", b.loop, b.root)
	return err
}

func (b *build) packages(ctx context.Context) error {
	args := []string{"--mode=root", "--variant=minbase", "--include=" + strings.Join(packages, ","), "--aptopt=" + languages}
	for _, setting := range tool.Impatience {
		args = append(args, "--aptopt="+setting)
	}
	for _, path := range []string{"man", "locale", "doc"} {
		args = append(args, "--dpkgopt=path-exclude=/usr/share/"+path+"/*")
	}
	// the mount's own folder lost+found is in the way of an empty target
	args = append(append(args, "--skip=check/empty", release, b.root), tool.Sources(release)...)
	return tool.Command{Name: "mmdebstrap", Args: args, Line: b.Tell}.Fetch(ctx)
}

// configure writes what makes it a cloud image, and takes away what must be each VM's own.
func (b *build) configure(ctx context.Context) error {
	if err := writeFiles(b.root); err != nil {
		return err
	}
	// deb.debian.org in the guest, whatever mirror it was built from
	if err := os.WriteFile(filepath.Join(b.root, "etc/apt/sources.list"), []byte(sources), 0o644); err != nil {
		return fault.New(fault.Internal, "write the package sources: %w", err)
	}
	for _, pattern := range []string{"var/cache/apt/archives/*.deb", "var/cache/apt/*.bin", "var/lib/apt/lists/*", "etc/ssh/ssh_host_*",
		"var/log/*.log", "var/lib/cloud", "etc/apt/sources.list.d/*"} {
		found, _ := filepath.Glob(filepath.Join(b.root, pattern))
		for _, f := range found {
			if err := os.RemoveAll(f); err != nil {
				return fault.New(fault.Internal, "clean up %s: %w", pattern, err)
			}
		}
	}
	for _, unit := range []string{"serial-getty@ttyS0.service", "qemu-guest-agent.service", "ssh.service"} {
		// some are started by their device or by default; then there is nothing to enable
		_, _ = tool.Run(ctx, "chroot", b.root, "systemctl", "enable", unit)
	}
	_, err := tool.Run(ctx, "chroot", b.root, "passwd", "-l", "root")
	return err
}

func (b *build) boot(ctx context.Context) error {
	kernel, initrd := newest(b.root, "vmlinuz-*"), newest(b.root, "initrd.img-*")
	if kernel == "" || initrd == "" {
		return fault.New(fault.Internal, "find the kernel that was installed: there is none in /boot")
	}
	folder := filepath.Join(b.root, "boot", "extlinux")
	config := strings.NewReplacer("@kernel@", kernel, "@initrd@", initrd).Replace(bootConfig)
	if err := errors.Join(os.MkdirAll(folder, 0o755), os.WriteFile(filepath.Join(folder, "extlinux.conf"), []byte(config), 0o644)); err != nil {
		return fault.New(fault.Internal, "write the boot loader's configuration: %w", err)
	}
	if _, err := tool.Run(ctx, "extlinux", "--install", folder); err != nil {
		return err
	}
	_, _ = tool.Run(ctx, "fstrim", b.root) // what was freed need not be copied; only a saving
	if err := b.release(); err != nil {
		return err
	}
	for _, file := range []string{"/usr/lib/EXTLINUX/mbr.bin", "/usr/lib/syslinux/mbr/mbr.bin"} {
		code, err := os.ReadFile(file)
		if err != nil || len(code) > 440 {
			continue
		}
		f, err := os.OpenFile(b.raw, os.O_RDWR, 0)
		if err == nil {
			_, err = f.WriteAt(code, 0)
			err = errors.Join(err, f.Close())
		}
		return err
	}
	return fault.New(fault.Precondition, "find the boot loader's mbr.bin: install package extlinux")
}

func newest(root, pattern string) string {
	found, _ := filepath.Glob(filepath.Join(root, "boot", pattern))
	if len(found) == 0 {
		return ""
	}
	return filepath.Base(found[len(found)-1])
}

func (b *build) convert(ctx context.Context) error {
	half := filepath.Join(b.work, "disk.qcow2")
	_, err := tool.Run(ctx, "qemu-img", "convert", "-f", "raw", "-O", "qcow2", "-o", "extended_l2=on,cluster_size=128k", b.raw, half)
	if err != nil {
		return err
	}
	return os.Rename(half, b.out)
}

// release unmounts the disk and gives the loop device back. It works when the build was cancelled.
func (b *build) release() error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if _, err := tool.Run(ctx, "mountpoint", "-q", b.root); err == nil {
		if _, err := tool.Run(ctx, "umount", "-R", b.root); err != nil {
			if _, lazy := tool.Run(ctx, "umount", "-R", "-l", b.root); lazy != nil {
				return fault.New(fault.Internal, "unmount the disk: %w", err)
			}
		}
	}
	if b.loop != "" {
		if _, err := tool.Run(ctx, "losetup", "-d", b.loop); err != nil {
			return err
		}
		b.loop = ""
	}
	return nil
}

// cleanup leaves nothing. What is still mounted is not deleted into.
func (b *build) cleanup() error {
	if err := b.release(); err != nil {
		return err
	}
	if err := os.RemoveAll(b.work); err != nil {
		return fault.New(fault.Internal, "remove what was built: %w", err)
	}
	return nil
}
