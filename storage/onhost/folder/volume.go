package folder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

const disk = "disk.qcow2"

// EnsureVolume implements onhost.Driver.
func (d *Driver) EnsureVolume(ctx context.Context, at onhost.Place, v onhost.Volume) (onhost.Usage, error) {
	if err := errors.Join(enter(at), checkID(v.ID)); err != nil {
		return onhost.Usage{}, explain(err, "make volume %s", v.ID)
	}
	file := filepath.Join(at.Path, "volumes", string(v.ID), disk)
	if _, err := os.Lstat(file); errors.Is(err, fs.ErrNotExist) {
		if err := d.create(ctx, at, v, file); err != nil {
			return onhost.Usage{}, explain(err, "make volume %s", v.ID)
		}
	}
	size, err := virtualSize(file)
	if err != nil {
		return onhost.Usage{}, explain(err, "read volume %s", v.ID)
	}
	if size < v.SizeMiB*mib && !v.InUse {
		if err := d.tool.Resize(ctx, qcow2.File{Path: file, Format: qcow2.QCOW2}, v.SizeMiB*mib); err != nil {
			if tool, ok := errors.AsType[*qcow2.Error](err); ok && tool.InUse {
				return onhost.Usage{}, fault.New(fault.Unavailable, "grow volume %s: a VM has just opened it, which grows it now", v.ID)
			}
			return onhost.Usage{}, explain(err, "grow volume %s", v.ID)
		}
		size = v.SizeMiB * mib
	}
	return onhost.Usage{SizeMiB: size / mib, UsedMiB: used(file)}, nil
}

// create makes the file beside its place and renames it: who finds it finds it whole.
func (d *Driver) create(ctx context.Context, at onhost.Place, v onhost.Volume, file string) error {
	var backing *qcow2.File
	if v.Base != nil {
		base, err := basePath(at, v.Base.Digest)
		if err != nil {
			return err
		}
		if _, err := os.Lstat(base); err != nil {
			return fault.New(fault.Unavailable, "image %s is not there yet", v.Base.Digest)
		}
		backing = &qcow2.File{Path: base, Format: qcow2.QCOW2}
	}
	if err := folders(at, "volumes", partial); err != nil {
		return err
	}
	work, err := os.MkdirTemp(filepath.Join(at.Path, partial), "volume-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
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

// virtualSize reads the size of the disk from a qcow2 file's head: cheaper than a process, and it
// works while the disk is in use.
func virtualSize(file string) (int64, error) {
	f, err := os.Open(file)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return qcow2.HeadSize(f)
}

// Open implements onhost.Driver.
func (d *Driver) Open(_ context.Context, at onhost.Place, o onhost.Owner) (onhost.Opened, error) {
	if err := errors.Join(enter(at), checkID(o.VolumeID)); err != nil {
		return onhost.Opened{}, explain(err, "open volume %s", o.VolumeID)
	}
	folder := filepath.Join(at.Path, "volumes", string(o.VolumeID))
	file := filepath.Join(folder, disk)
	if _, err := os.Lstat(file); err != nil {
		return onhost.Opened{}, fault.New(fault.Unavailable, "open volume %s: it is not there", o.VolumeID)
	}
	if err := raiseEpoch(folder, o.Epoch); err != nil {
		return onhost.Opened{}, explain(err, "open volume %s", o.VolumeID)
	}
	if closed := closedTo(file, o.UID); closed != "" {
		return onhost.Opened{}, fault.New(fault.Precondition, "open volume %s: folder %s is closed to user %d; run: chmod o+x %s", o.VolumeID, closed, o.UID, closed)
	}
	if info, err := os.Stat(file); err == nil && int64(info.Sys().(*syscall.Stat_t).Uid) == o.UID {
		return onhost.Opened{Path: file, Format: qcow2.QCOW2}, nil
	}
	if err := os.Lchown(file, int(o.UID), -1); err != nil {
		return onhost.Opened{}, explain(err, "give volume %s to user %d", o.VolumeID, o.UID)
	}
	return onhost.Opened{Path: file, Format: qcow2.QCOW2}, nil
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

// raiseEpoch remembers an epoch, or refuses one that is lower than a remembered one. The lock
// orders two hosts, where the file system has locks between hosts.
func raiseEpoch(folder string, epoch int64) error {
	lock, err := os.OpenFile(filepath.Join(folder, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return err
	}
	file := filepath.Join(folder, "epoch")
	data, err := os.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	highest := int64(0)
	if err == nil {
		if highest, err = strconv.ParseInt(strings.TrimSpace(string(data)), 10, 64); err != nil {
			return fault.New(fault.Precondition, "file %s is damaged; write the highest epoch of its VM into it", file)
		}
	}
	switch {
	case epoch < highest:
		return fault.New(fault.Precondition, "epoch %d is over: the volume was opened in epoch %d", epoch, highest)
	case epoch == highest:
		return nil
	}
	return durable.Write(file, []byte(strconv.FormatInt(epoch, 10)+"\n"), 0o600)
}

// RemoveVolume implements onhost.Driver.
func (d *Driver) RemoveVolume(_ context.Context, at onhost.Place, id resource.ID) error {
	if err := errors.Join(enter(at), checkID(id)); err != nil {
		return explain(err, "remove volume %s", id)
	}
	// the disk first: a folder without one is a leftover, a disk without an epoch would be a danger
	folder := filepath.Join(at.Path, "volumes", string(id))
	if err := os.Remove(filepath.Join(folder, disk)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(err, "remove volume %s", id)
	}
	return explain(os.RemoveAll(folder), "remove volume %s", id)
}
