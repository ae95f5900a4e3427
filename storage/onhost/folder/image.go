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

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage/onhost"
)

// EnsureImage implements onhost.Driver.
func (d *Driver) EnsureImage(ctx context.Context, at onhost.Place, digest string, content func(context.Context) (io.ReadCloser, error)) (int64, error) {
	if err := enter(at); err != nil {
		return 0, err
	}
	file, err := basePath(at, digest)
	if err != nil {
		return 0, err
	}
	if _, err := os.Lstat(file); err == nil {
		return used(file), nil
	}
	if err := folders(at, "images", partial); err != nil {
		return 0, err
	}
	in, err := content(ctx)
	if err != nil {
		return 0, fault.Wrap(err, "fetch image %s", digest)
	}
	defer in.Close()
	temp, err := os.CreateTemp(filepath.Join(at.Path, partial), "image-")
	if err != nil {
		return 0, explain(err, "keep image %s", digest)
	}
	defer os.Remove(temp.Name())
	err = receive(temp, in, digest)
	if failed := temp.Close(); err == nil {
		err = failed
	}
	if err == nil {
		err = durable.Rename(temp.Name(), file)
	}
	return used(file), explain(err, "keep image %s", digest)
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

// RemoveImage implements onhost.Driver.
func (d *Driver) RemoveImage(_ context.Context, at onhost.Place, digest string) error {
	if err := enter(at); err != nil {
		return err
	}
	file, err := basePath(at, digest)
	if err != nil {
		return err
	}
	if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(err, "remove image %s", digest)
	}
	return nil
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
