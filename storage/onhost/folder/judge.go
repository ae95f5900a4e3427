package folder

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

// A volume's file is its VM's QEMU to write, head and all, and a guest may have taken that over. So
// nothing opens one before its head was judged here, by our own code; and what does, does so as
// the user who could have written it, who cannot reach more than that.

// What a tool may take that grows a volume.
const (
	toolMemoryMiB  = 2048
	toolCPUSeconds = 600
)

// judged refuses a file that would lead a program elsewhere, and tells whose it is.
func judged(file string, backing func(string) error) (uid uint32, err error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	if err := qcow2.Judge(f, backing); err != nil {
		return 0, fault.New(fault.Precondition, "%w; nothing opens %s, restore it from a backup", err, file)
	}
	return info.Sys().(*syscall.Stat_t).Uid, nil
}

// imagesOf allows the content that this place keeps, and nothing else, as what a volume builds on.
func imagesOf(at onhost.Place) func(string) error {
	return func(name string) error {
		hex, is := strings.CutSuffix(strings.TrimPrefix(filepath.Base(name), "sha256-"), ".qcow2")
		want, err := basePath(at, "sha256:"+hex)
		if !is || err != nil || name != want {
			return fault.New(fault.Precondition, "the head of the qcow2 file says that it builds on %q, which is no image of this datastore", name)
		}
		return nil
	}
}

// grow makes a volume larger that nobody has open.
func (d *Driver) grow(ctx context.Context, at onhost.Place, id resource.ID, file string, size int64) error {
	uid, err := ownedAlike(at, id, file)
	if err != nil {
		return err
	}
	return d.as(uid).Resize(ctx, qcow2.File{Path: file, Format: qcow2.QCOW2}, size)
}

// as is the tool for a file of a user: where a guest could have written to it, as that guest's user.
func (d *Driver) as(uid uint32) qcow2.Tool {
	tool := d.tool
	if uid != 0 {
		tool.As = &qcow2.User{UID: uid, GID: uid}
		tool.MemoryMiB, tool.CPUSeconds = toolMemoryMiB, toolCPUSeconds
	}
	return tool
}
