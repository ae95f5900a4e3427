package folder

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

const imagePrefix = "image-" // of content in the making

// EnsureImage implements onhost.Cloner. The fence is not held while content is fetched, which may take
// long: it is asked before and when the file gets its name.
func (d *Driver) EnsureImage(ctx context.Context, at onhost.Place, i onhost.Image, content func(context.Context) (io.ReadCloser, error)) (int64, error) {
	if err := enter(at); err != nil {
		return 0, err
	}
	file, err := basePath(at, i.Digest)
	if err != nil {
		return 0, err
	}
	there := false
	err = fenced(ctx, at, ownerName(i.Digest), i.Epoch, func() error {
		_, err := os.Lstat(file)
		there = err == nil
		return nil
	})
	if err != nil {
		return 0, explain(err, "keep image %s", i.Digest)
	}
	if there {
		return used(file), nil
	}
	if err := folders(at, "images", partial); err != nil {
		return 0, err
	}
	return d.bring(ctx, at, i, file, content)
}

// bring fetches content beside its place and renames it: who finds it finds it whole.
func (d *Driver) bring(ctx context.Context, at onhost.Place, i onhost.Image, file string, content func(context.Context) (io.ReadCloser, error)) (int64, error) {
	in, err := content(ctx)
	if err != nil {
		return 0, fault.Wrap(err, "fetch image %s", i.Digest)
	}
	defer in.Close()
	temp, err := os.CreateTemp(filepath.Join(at.Path, partial), imagePrefix)
	if err != nil {
		return 0, explain(err, "keep image %s", i.Digest)
	}
	defer os.Remove(temp.Name())
	defer temp.Close() // which lets go of the lock
	err = syscall.Flock(int(temp.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if err == nil {
		err = receive(temp, in, i.Digest)
	}
	if err == nil {
		err = fenced(ctx, at, ownerName(i.Digest), i.Epoch, func() error { return durable.Rename(temp.Name(), file) })
	}
	return used(file), explain(err, "keep image %s", i.Digest)
}

// receive writes the content down and compares its digest before anybody can see it.
func receive(temp *os.File, in io.Reader, digest string) error {
	h := sha256.New()
	if _, err := io.Copy(io.MultiWriter(temp, h), in); err != nil {
		return err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
		return fault.New(fault.Unavailable, "what came has digest %s: it was cut off or changed on its way", got)
	}
	if err := temp.Chmod(0o444); err != nil {
		return err
	}
	return temp.Sync()
}

// RemoveImage implements onhost.Cloner. The highest epoch stays: the same content may be brought again.
func (d *Driver) RemoveImage(ctx context.Context, at onhost.Place, i onhost.Image) error {
	if err := enter(at); err != nil {
		return err
	}
	file, err := basePath(at, i.Digest)
	if err != nil {
		return err
	}
	err = fenced(ctx, at, ownerName(i.Digest), i.Epoch, func() error {
		by, err := backs(at, file)
		if err == nil && by != "" {
			err = fault.New(fault.Precondition, "volume %s is backed by it", by)
		}
		if err != nil {
			return err
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return nil
	})
	return explain(err, "remove image %s", i.Digest)
}

// backs finds a volume that is backed by content. A volume that cannot be read may be.
func backs(at onhost.Place, image string) (string, error) {
	entries, err := os.ReadDir(filepath.Join(at.Path, "volumes"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, e := range entries {
		files, _ := filepath.Glob(filepath.Join(at.Path, "volumes", e.Name(), "*"+layerSuffix))
		for _, file := range files {
			f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return "", err
			}
			name, err := qcow2.BackingName(f)
			f.Close()
			if err != nil {
				return "", fault.New(fault.Precondition, "read what volume %s is backed by: %w", e.Name(), err)
			}
			if filepath.Base(name) == filepath.Base(image) {
				return e.Name(), nil
			}
		}
	}
	return "", nil
}

// folders makes folders below the place. The QEMU processes' users walk through them but see no names.
func folders(at onhost.Place, names ...string) error {
	for _, name := range names {
		mode := fs.FileMode(0o711)
		if name == partial {
			mode = 0o700
		}
		if err := os.MkdirAll(filepath.Join(at.Path, name), mode); err != nil {
			return explain(err, "make folder %s", filepath.Join(at.Path, name))
		}
	}
	return nil
}
