package folder

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

const volumePrefix = "volume-" // of a layer in the making

// EnsureVolume implements onhost.Pool.
func (d *Driver) EnsureVolume(ctx context.Context, at onhost.Place, v onhost.Volume) (onhost.Usage, error) {
	return tended(ctx, at, v, func() error {
		for _, l := range v.Layers {
			file, err := layerPath(at, v.ID, l.ID)
			if err != nil {
				return err
			}
			_, err = os.Lstat(file)
			switch {
			case !errors.Is(err, fs.ErrNotExist):
			case slices.Contains(v.Made, l.ID):
				err = onhost.Missing(file)
			default:
				err = explain(d.create(ctx, at, v, l, file), "make it")
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Grow implements onhost.Grower.
func (d *Driver) Grow(ctx context.Context, at onhost.Place, v onhost.Volume) (onhost.Usage, error) {
	return tended(ctx, at, v, func() error {
		file, err := layerPath(at, v.ID, v.Active)
		if err != nil {
			return err
		}
		size, err := virtualSize(file)
		if err != nil || size >= v.SizeMiB*mib {
			return explain(err, "read it")
		}
		return explain(opened(d.grow(ctx, at, v.ID, file, v.SizeMiB*mib)), "grow it")
	})
}

// opened says of a tool's error that somebody has a volume open.
func opened(err error) error {
	if tool, ok := errors.AsType[*qcow2.Error](err); ok && tool.InUse {
		return fault.New(fault.Unavailable, "a VM has just opened it")
	}
	return err
}

// tended does something to a volume as the host that looks after it, and measures it.
func tended(ctx context.Context, at onhost.Place, v onhost.Volume, do func() error) (u onhost.Usage, err error) {
	if err := errors.Join(enter(at), checkID(v.ID)); err != nil {
		return onhost.Usage{}, explain(err, "look after volume %s", v.ID)
	}
	err = fenced(ctx, at, string(v.ID), v.Epoch, func() error {
		if err := do(); err != nil {
			return err
		}
		file, err := layerPath(at, v.ID, v.Active)
		if err != nil {
			return err
		}
		size, err := virtualSize(file)
		if err != nil {
			return explain(err, "read it")
		}
		u.SizeMiB = size / mib
		if u.Layers, err = layersIn(at, v); err != nil {
			return explain(err, "read it")
		}
		for _, l := range u.Layers {
			u.UsedMiB += l.UsedMiB
		}
		return nil
	})
	return u, explain(err, "look after volume %s", v.ID)
}

// create makes the file of a layer beside its place and renames it: who finds it finds it whole.
func (d *Driver) create(ctx context.Context, at onhost.Place, v onhost.Volume, l storage.Layer, file string) error {
	backing, unused, err := d.backing(ctx, at, v, l)
	if err != nil {
		return err
	}
	defer unused()
	return makeBeside(ctx, at, file, func(temp string) error { return d.tool.Create(ctx, temp, v.SizeMiB*mib, backing) })
}

// makeBeside makes the file of a layer beside its place, and links it there.
func makeBeside(ctx context.Context, at onhost.Place, file string, write func(temp string) error) error {
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
	temp := filepath.Join(work, filepath.Base(file))
	if err := write(temp); err != nil {
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

// backing is what a layer builds on. It stays until unused is called.
func (d *Driver) backing(ctx context.Context, at onhost.Place, v onhost.Volume, l storage.Layer) (backing *qcow2.File, unused func(), err error) {
	unused = func() {}
	if l.ParentID != "" {
		parent, err := layerPath(at, v.ID, l.ParentID)
		if err == nil {
			_, err = os.Lstat(parent)
		}
		return &qcow2.File{Path: parent, Format: qcow2.QCOW2}, unused, err
	}
	if v.Base == nil {
		return nil, unused, nil
	}
	base, err := basePath(at, v.Base.Digest)
	if err != nil {
		return nil, unused, err
	}
	if unused, err = d.use(ctx, at, v.Base.Digest); err != nil {
		return nil, unused, err
	}
	if _, err = judged(base, nil); err != nil {
		unused()
		if errors.Is(err, fs.ErrNotExist) {
			return nil, unused, fault.New(fault.Unavailable, "image %s is not there yet", v.Base.Digest)
		}
		return nil, unused, fault.New(fault.Precondition, "image %s: %w", v.Base.Digest, err)
	}
	return &qcow2.File{Path: base, Format: qcow2.QCOW2}, unused, nil
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
func (d *Driver) Open(ctx context.Context, at onhost.Place, o onhost.Owner) (storage.Source, []storage.Source, error) {
	fail := func(err error) (storage.Source, []storage.Source, error) {
		return storage.Source{}, nil, explain(err, "open volume %s", o.VolumeID)
	}
	if err := errors.Join(enter(at), checkID(o.VolumeID)); err != nil {
		return fail(err)
	}
	file, err := layerPath(at, o.VolumeID, o.Layer)
	if err != nil {
		return fail(err)
	}
	if _, err := os.Lstat(file); err != nil {
		return fail(fault.New(fault.Unavailable, "its file %s is not there", file))
	}
	// QEMU follows what the head says, too: one that a guest has taken over must not have its way again.
	sources, err := chainOf(at, o.VolumeID, file)
	if err != nil {
		return fail(err)
	}
	err = give(ctx, o, sources, func() error { return builtOn(at, onhost.Volume{ID: o.VolumeID}, o.Layer) })
	if err != nil {
		return fail(err)
	}
	return sources[0], sources[1:], nil
}

// give lets the user of an owner open the layers of a volume, itself first, if nobody has had it in a higher epoch.
func give(ctx context.Context, o onhost.Owner, sources []storage.Source, allowed func() error) error {
	file := sources[0].Path
	folder := filepath.Dir(file)
	lock, err := hold(ctx, folder, syscall.LOCK_EX)
	if err == nil {
		if err = allowed(); err == nil {
			err = raise(folder, o.Epoch, o.InstanceID)
		}
		lock.Close()
	}
	if err != nil {
		return err
	}
	if closed := closedTo(file, o.UID); closed != "" {
		return fault.New(fault.Precondition, "folder %s is closed to user %d; run: chmod o+x %s", closed, o.UID, closed)
	}
	for _, s := range sources {
		if s.Layer == "" {
			continue // everybody reads an image
		}
		if info, err := os.Lstat(s.Path); err == nil && int64(info.Sys().(*syscall.Stat_t).Uid) == o.UID {
			continue
		}
		if err := os.Lchown(s.Path, int(o.UID), -1); err != nil {
			return explain(err, "give it to user %d", o.UID)
		}
	}
	return nil
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

// layerFiles are the files of layers in the folder of a volume, of whichever driver.
func layerFiles(folder string) []string {
	disks, _ := filepath.Glob(filepath.Join(folder, "*"+layerSuffix))
	plain, _ := filepath.Glob(filepath.Join(folder, "*"+plainSuffix))
	return append(disks, plain...)
}

// RemoveVolume implements onhost.Pool.
func (d *Driver) RemoveVolume(ctx context.Context, at onhost.Place, v onhost.Volume) error {
	if err := errors.Join(enter(at), checkID(v.ID)); err != nil {
		return explain(err, "remove volume %s", v.ID)
	}
	owner := filepath.Join(at.Path, owners, string(v.ID))
	err := fenced(ctx, at, string(v.ID), v.Epoch, func() error {
		// the layers first: a folder without one is a leftover, a layer without an epoch would be a danger
		folder := filepath.Join(at.Path, "volumes", string(v.ID))
		for _, f := range layerFiles(folder) {
			if err := os.Remove(f); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
		return os.RemoveAll(folder)
	})
	if err == nil {
		_ = os.RemoveAll(owner) // its id never comes again; and not with the lock in hand, which NFS keeps by another name
	}
	return explain(err, "remove volume %s", v.ID)
}
