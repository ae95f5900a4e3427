package folder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

const plainSuffix = ".raw"

// Plain keeps volumes in a folder as they are: each is one raw file whose space is set aside when it is made.
// What it cannot do it does not implement: its volumes start empty and have one layer.
type Plain struct{ folder *Driver }

var (
	_ onhost.Driver = (*Plain)(nil)
	_ onhost.Grower = (*Plain)(nil)
	_ onhost.Tidier = (*Plain)(nil)
)

// Scan implements onhost.Devices.
func (p *Plain) Scan(ctx context.Context, path string, fresh bool) (onhost.Found, error) {
	return p.folder.Scan(ctx, path, fresh)
}

// Leave implements onhost.Devices.
func (p *Plain) Leave(ctx context.Context, at onhost.Place) error { return p.folder.Leave(ctx, at) }

// Tidy implements onhost.Tidier.
func (p *Plain) Tidy(ctx context.Context, at onhost.Place) (int, error) {
	return p.folder.Tidy(ctx, at)
}

// List implements onhost.Pool.
func (p *Plain) List(ctx context.Context, at onhost.Place) ([]onhost.Item, error) {
	return p.folder.List(ctx, at)
}

// RemoveVolume implements onhost.Pool.
func (p *Plain) RemoveVolume(ctx context.Context, at onhost.Place, v onhost.Volume) error {
	return p.folder.RemoveVolume(ctx, at, v)
}

// EnsureVolume implements onhost.Pool. What a QEMU process has added at the end of a file that is there is set
// aside, too.
func (p *Plain) EnsureVolume(ctx context.Context, at onhost.Place, v onhost.Volume) (onhost.Usage, error) {
	return plainly(ctx, at, v, func(file string) error {
		info, err := os.Lstat(file)
		switch {
		case err == nil:
			return explain(setAside(file, 0, info.Size()), "set its space aside")
		case !errors.Is(err, fs.ErrNotExist):
			return err
		case slices.Contains(v.Made, v.Active):
			return onhost.Missing(file)
		}
		return explain(makeBeside(ctx, at, file, func(temp string) error { return setAside(temp, os.O_CREATE|os.O_EXCL, v.SizeMiB*mib) }), "make it")
	})
}

// Grow implements onhost.Grower.
func (p *Plain) Grow(ctx context.Context, at onhost.Place, v onhost.Volume) (onhost.Usage, error) {
	return plainly(ctx, at, v, func(file string) error {
		if err := inUse(file); err != nil {
			return err
		}
		return explain(setAside(file, 0, v.SizeMiB*mib), "grow it")
	})
}

// plainly does something to a plain volume as the host that looks after it, and measures it.
func plainly(ctx context.Context, at onhost.Place, v onhost.Volume, do func(file string) error) (u onhost.Usage, err error) {
	file, err := plainPath(at, v)
	if err := errors.Join(enter(at), err); err != nil {
		return onhost.Usage{}, explain(err, "look after volume %s", v.ID)
	}
	err = fenced(ctx, at, string(v.ID), v.Epoch, func() error {
		if err := do(file); err != nil {
			return err
		}
		info, err := os.Lstat(file)
		if err != nil {
			return explain(err, "read it")
		}
		l := storage.Layer{ID: v.Active, UsedMiB: used(file)}
		u = onhost.Usage{SizeMiB: info.Size() / mib, UsedMiB: l.UsedMiB, Layers: []storage.Layer{l}}
		return nil
	})
	return u, explain(err, "look after volume %s", v.ID)
}

// plainPath is where a plain volume lies. It has one layer, and nothing below.
func plainPath(at onhost.Place, v onhost.Volume) (string, error) {
	if v.Base != nil {
		return "", fault.New(fault.Precondition, "a plain volume cannot start from an image")
	}
	if len(v.Layers) > 1 {
		return "", fault.New(fault.Precondition, "a plain volume keeps no snapshots")
	}
	file, err := layerPath(at, v.ID, v.Active)
	return strings.TrimSuffix(file, layerSuffix) + plainSuffix, errors.Join(checkID(v.ID), err)
}

// setAside gives a file at least so many bytes, and the space for them. What was written stays. It may be called
// while a QEMU process has it open, with a size that it has.
func setAside(file string, create int, size int64) error {
	f, err := os.OpenFile(file, create|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || info.Size() >= size && info.Sys().(*syscall.Stat_t).Blocks*512 >= size {
		return err
	}
	err = unix.Fallocate(int(f.Fd()), 0, 0, size)
	if err != nil && size > info.Size() {
		err = errors.Join(err, f.Truncate(info.Size())) // some file systems take what there is
	}
	if errors.Is(err, unix.EOPNOTSUPP) {
		return fault.New(fault.Precondition, "the file system of %s cannot set space aside; use a storage backend of type %s there", filepath.Dir(file), storage.Folder)
	}
	if err != nil {
		return err
	}
	return f.Sync()
}

// Open implements onhost.Pool.
func (p *Plain) Open(ctx context.Context, at onhost.Place, o onhost.Owner) (storage.Source, []storage.Source, error) {
	file, err := plainPath(at, onhost.Volume{ID: o.VolumeID, Chain: storage.Chain{Active: o.Layer}})
	if err = errors.Join(enter(at), err); err == nil {
		if info, missing := os.Lstat(file); missing != nil || !info.Mode().IsRegular() {
			err = fault.New(fault.Unavailable, "its file %s is not there", file)
		}
	}
	source := storage.InFile(file, qcow2.Raw)
	source.Layer = o.Layer
	if err == nil {
		err = give(ctx, o, []storage.Source{source}, func() error { return nil })
	}
	if err != nil {
		return storage.Source{}, nil, explain(err, "open volume %s", o.VolumeID)
	}
	return source, nil, nil
}
