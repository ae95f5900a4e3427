package folder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

const (
	disk         = "disk.qcow2"
	volumePrefix = "volume-" // of one in the making
)

// EnsureVolume implements onhost.Pool.
func (d *Driver) EnsureVolume(ctx context.Context, at onhost.Place, v onhost.Volume) (onhost.Usage, error) {
	return tended(ctx, at, v, func(file string) error {
		_, err := os.Lstat(file)
		switch {
		case !errors.Is(err, fs.ErrNotExist):
			return err
		case v.Made:
			return onhost.Missing(file)
		}
		return explain(d.create(ctx, at, v, file), "make it")
	})
}

// Grow implements onhost.Grower.
func (d *Driver) Grow(ctx context.Context, at onhost.Place, v onhost.Volume) (onhost.Usage, error) {
	return tended(ctx, at, v, func(file string) error {
		size, err := virtualSize(file)
		if err != nil || size >= v.SizeMiB*mib {
			return explain(err, "read it")
		}
		err = d.grow(ctx, at, file, v.SizeMiB*mib)
		if tool, ok := errors.AsType[*qcow2.Error](err); ok && tool.InUse {
			return fault.New(fault.Unavailable, "a VM has just opened it, and grows it now")
		}
		return explain(err, "grow it")
	})
}

// tended does something to a volume's file as the host that looks after it, and measures it.
func tended(ctx context.Context, at onhost.Place, v onhost.Volume, do func(file string) error) (u onhost.Usage, err error) {
	if err := errors.Join(enter(at), checkID(v.ID)); err != nil {
		return onhost.Usage{}, explain(err, "look after volume %s", v.ID)
	}
	file := filepath.Join(at.Path, "volumes", string(v.ID), disk)
	err = fenced(ctx, at, string(v.ID), v.Epoch, func() error {
		if err := do(file); err != nil {
			return err
		}
		size, err := virtualSize(file)
		u = onhost.Usage{SizeMiB: size / mib, UsedMiB: used(file)}
		return explain(err, "read it")
	})
	return u, explain(err, "look after volume %s", v.ID)
}

// create makes the file beside its place and renames it: who finds it finds it whole.
func (d *Driver) create(ctx context.Context, at onhost.Place, v onhost.Volume, file string) error {
	var backing *qcow2.File
	if v.Base != nil {
		base, err := basePath(at, v.Base.Digest)
		if err != nil {
			return err
		}
		unused, err := d.use(ctx, at, v.Base.Digest)
		if err != nil {
			return err
		}
		defer unused()
		if _, err := judged(base, nil); errors.Is(err, fs.ErrNotExist) {
			return fault.New(fault.Unavailable, "image %s is not there yet", v.Base.Digest)
		} else if err != nil {
			return fault.New(fault.Precondition, "image %s: %w", v.Base.Digest, err)
		}
		backing = &qcow2.File{Path: base, Format: qcow2.QCOW2}
	}
	if err := folders(at, "volumes", partial); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Join(at.Path, partial), volumePrefix)
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	making, err := hold(ctx, work, syscall.LOCK_EX)
	if err != nil {
		return err
	}
	defer making.Close()
	temp := filepath.Join(work, disk)
	if err := d.tool.Create(ctx, temp, v.SizeMiB*mib, backing); err != nil {
		return err
	}
	if err := os.Chmod(temp, 0o600); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o711); err != nil {
		return err
	}
	// Another owner host may be doing the same; the one whose link comes first has made it.
	if err := os.Link(temp, file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return durable.SyncFolder(filepath.Dir(file))
}

// use keeps content from being removed until the volume that is made from it is there to be seen.
func (d *Driver) use(ctx context.Context, at onhost.Place, digest string) (done func(), err error) {
	folder := filepath.Join(at.Path, owners, ownerName(digest))
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	lock, err := hold(ctx, folder, syscall.LOCK_SH)
	if err != nil {
		return nil, err
	}
	return func() { lock.Close() }, nil
}

// virtualSize reads the size of the disk from a qcow2 file's head: cheaper than a process, and it
// works while the disk is in use.
func virtualSize(file string) (int64, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return qcow2.HeadSize(f)
}

// Open implements onhost.Pool.
func (d *Driver) Open(ctx context.Context, at onhost.Place, o onhost.Owner) (storage.Source, error) {
	if err := errors.Join(enter(at), checkID(o.VolumeID)); err != nil {
		return storage.Source{}, explain(err, "open volume %s", o.VolumeID)
	}
	folder := filepath.Join(at.Path, "volumes", string(o.VolumeID))
	file := filepath.Join(folder, disk)
	if _, err := os.Lstat(file); err != nil {
		return storage.Source{}, fault.New(fault.Unavailable, "open volume %s: its file %s is not there", o.VolumeID, file)
	}
	// QEMU follows what the head says, too: one that a guest has taken over must not have its way again.
	if _, err := judged(file, imagesOf(at)); err != nil {
		return storage.Source{}, explain(err, "open volume %s", o.VolumeID)
	}
	lock, err := hold(ctx, folder, syscall.LOCK_EX)
	if err == nil {
		err = raise(folder, o.Epoch, o.InstanceID)
		lock.Close()
	}
	if err != nil {
		return storage.Source{}, explain(err, "open volume %s", o.VolumeID)
	}
	if closed := closedTo(file, o.UID); closed != "" {
		return storage.Source{}, fault.New(fault.Precondition, "open volume %s: folder %s is closed to user %d; run: chmod o+x %s", o.VolumeID, closed, o.UID, closed)
	}
	if info, err := os.Stat(file); err == nil && int64(info.Sys().(*syscall.Stat_t).Uid) == o.UID {
		return storage.InFile(file, qcow2.QCOW2), nil
	}
	if err := os.Lchown(file, int(o.UID), -1); err != nil {
		return storage.Source{}, explain(err, "give volume %s to user %d", o.VolumeID, o.UID)
	}
	return storage.InFile(file, qcow2.QCOW2), nil
}

// closedTo finds a folder on the way to a file that a user may not walk through; empty: none.
func closedTo(file string, uid int64) string {
	if uid == 0 || uid == int64(os.Geteuid()) {
		return ""
	}
	for folder := filepath.Dir(file); folder != "/"; folder = filepath.Dir(folder) {
		info, err := os.Stat(folder)
		if err == nil && info.Mode().Perm()&0o001 == 0 && int64(info.Sys().(*syscall.Stat_t).Uid) != uid {
			return folder
		}
	}
	return ""
}

// RemoveVolume implements onhost.Pool.
func (d *Driver) RemoveVolume(ctx context.Context, at onhost.Place, v onhost.Volume) error {
	if err := errors.Join(enter(at), checkID(v.ID)); err != nil {
		return explain(err, "remove volume %s", v.ID)
	}
	owner := filepath.Join(at.Path, owners, string(v.ID))
	err := fenced(ctx, at, string(v.ID), v.Epoch, func() error {
		// the disk first: a folder without one is a leftover, a disk without an epoch would be a danger
		folder := filepath.Join(at.Path, "volumes", string(v.ID))
		if err := os.Remove(filepath.Join(folder, disk)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return os.RemoveAll(folder)
	})
	if err == nil {
		_ = os.RemoveAll(owner) // its id never comes again; and not with the lock in hand, which NFS keeps by another name
	}
	return explain(err, "remove volume %s", v.ID)
}
