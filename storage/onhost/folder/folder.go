// Package folder keeps volumes, as qcow2 or raw files, and images in a folder: a local disk, or a share
// that the host has mounted.
//
//	virga-datastore.json              the identity, made once
//	images/sha256-<hex>.qcow2         content that volumes are backed by, never changed
//	volumes/<id>/<layer>.qcow2        a layer of a volume
//	volumes/<id>/<layer>.raw          the one layer of a plain volume
//	volumes/<id>/epoch                the highest epoch that has opened it, and which instance that was
//	owners/<id or digest>/epoch       the highest epoch of a host that looked after it
//	.../lock                          held while that is compared and acted upon
//	.partial/...                      what is being made, renamed into its place when whole
package folder

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/google/uuid"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

const (
	marker  = "virga-datastore.json"
	partial = ".partial"
	mib     = 1 << 20
)

// Driver is the folder driver.
type Driver struct{ tool qcow2.Tool }

var (
	_ onhost.Driver = (*Driver)(nil)
	_ onhost.Cloner = (*Driver)(nil)
	_ onhost.Grower = (*Driver)(nil)
	_ onhost.Tidier = (*Driver)(nil)
)

// New makes a driver that works with this qemu-img.
func New(tool qcow2.Tool) *Driver { return &Driver{tool: tool} }

// Drivers are those for the folders of a host, by the types of storage backends.
func Drivers(tool qcow2.Tool) onhost.Drivers {
	d := New(tool)
	return onhost.Drivers{storage.Folder: d, storage.PlainFolder: &Plain{folder: d}}
}

type identity struct {
	ID string `json:"id"`
}

// Scan implements onhost.Devices.
func (d *Driver) Scan(_ context.Context, path string, fresh bool) (onhost.Found, error) {
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return onhost.Found{}, fault.New(fault.Precondition, "folder %s is not there; make it, or mount the share", path)
	case err != nil:
		return onhost.Found{}, explain(err, "look at folder %s", path)
	case !info.IsDir():
		return onhost.Found{}, fault.New(fault.Invalid, "%s is no folder", path)
	}
	id, err := readMarker(path)
	if fault.Is(err, fault.NotFound) {
		if !fresh {
			return onhost.Found{}, fault.New(fault.Unavailable, "folder %s has lost its file %s; is the share not mounted?", path, marker)
		}
		id, err = makeMarker(path)
	}
	if err != nil {
		return onhost.Found{}, err
	}
	var s syscall.Statfs_t
	if err := syscall.Statfs(path, &s); err != nil {
		return onhost.Found{}, explain(err, "measure folder %s", path)
	}
	block := uint64(s.Frsize)
	return onhost.Found{Identity: id, CapacityMiB: int64(s.Blocks * block / mib), FreeMiB: int64(s.Bavail * block / mib)}, nil
}

// readMarker gives the identity; fault.NotFound if there is none.
func readMarker(path string) (string, error) {
	data, err := os.ReadFile(filepath.Join(path, marker))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fault.New(fault.NotFound, "folder %s has no file %s", path, marker)
	}
	if err != nil {
		return "", explain(err, "read the identity of folder %s", path)
	}
	var i identity
	if err := json.Unmarshal(data, &i); err != nil || uuid.Validate(i.ID) != nil {
		return "", fault.New(fault.Precondition, "file %s in folder %s is damaged; restore it, or empty the folder", marker, path)
	}
	return i.ID, nil
}

// makeMarker gives the folder an identity. Two hosts may try at once: link, unlike rename, lets
// only one of two whole files win, and both then read the winner's.
func makeMarker(path string) (string, error) {
	data, _ := json.Marshal(identity{ID: uuid.NewString()})
	temp, err := os.CreateTemp(path, "."+marker+"-")
	if err != nil {
		return "", explain(err, "give folder %s an identity", path)
	}
	defer os.Remove(temp.Name())
	if _, err = temp.Write(append(data, '\n')); err == nil {
		err = temp.Chmod(0o444)
	}
	if err == nil {
		err = temp.Sync()
	}
	if failed := temp.Close(); err == nil {
		err = failed
	}
	if err == nil {
		err = os.Link(temp.Name(), filepath.Join(path, marker))
	}
	if err == nil {
		err = durable.SyncFolder(path)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return "", explain(err, "give folder %s an identity", path)
	}
	return readMarker(path)
}

// enter makes sure that the place is the one that is meant.
func enter(at onhost.Place) error {
	id, err := readMarker(at.Path)
	if fault.Is(err, fault.NotFound) {
		return fault.New(fault.Unavailable, "folder %s has lost its file %s; is the share not mounted?", at.Path, marker)
	}
	if err != nil {
		return err
	}
	if id != at.Identity {
		return fault.New(fault.Unavailable, "folder %s is another one than expected (%s, not %s); is another share mounted?", at.Path, id, at.Identity)
	}
	return nil
}

// Leave implements onhost.Devices. The identity goes last: whoever dies before has left a place that can
// be used, and left again.
func (d *Driver) Leave(_ context.Context, at onhost.Place) error {
	if id, err := readMarker(at.Path); err != nil || id != at.Identity {
		return nil
	}
	for _, name := range []string{partial, "images", "volumes"} {
		err := os.Remove(filepath.Join(at.Path, name))
		if errors.Is(err, syscall.ENOTEMPTY) || errors.Is(err, syscall.EEXIST) {
			return nil // somebody's data
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return explain(err, "leave folder %s", at.Path)
		}
	}
	if err := os.RemoveAll(filepath.Join(at.Path, owners)); err != nil {
		return explain(err, "leave folder %s", at.Path)
	}
	if err := os.Remove(filepath.Join(at.Path, marker)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return explain(err, "leave folder %s", at.Path)
	}
	return explain(durable.SyncFolder(at.Path), "leave folder %s", at.Path)
}

// List implements onhost.Pool.
func (d *Driver) List(_ context.Context, at onhost.Place) ([]onhost.Item, error) {
	if err := enter(at); err != nil {
		return nil, err
	}
	var out []onhost.Item
	for folder, item := range map[string]func(fs.DirEntry) onhost.Item{
		"images": func(e fs.DirEntry) onhost.Item {
			hex, isImage := strings.CutSuffix(strings.TrimPrefix(e.Name(), "sha256-"), ".qcow2")
			if !isImage {
				return onhost.Item{Kind: onhost.Leftover, Name: "images/" + e.Name()}
			}
			return onhost.Item{Kind: onhost.AnImage, Name: "sha256:" + hex, UsedMiB: used(filepath.Join(at.Path, "images", e.Name()))}
		},
		"volumes": func(e fs.DirEntry) onhost.Item {
			files := layerFiles(filepath.Join(at.Path, "volumes", e.Name()))
			if len(files) == 0 {
				return onhost.Item{Kind: onhost.Leftover, Name: "volumes/" + e.Name()}
			}
			out := onhost.Item{Kind: onhost.AVolume, Name: e.Name()}
			for _, f := range files {
				out.UsedMiB += used(f)
			}
			return out
		},
		partial: func(e fs.DirEntry) onhost.Item {
			return onhost.Item{Kind: onhost.Leftover, Name: partial + "/" + e.Name(), UsedMiB: used(filepath.Join(at.Path, partial, e.Name()))}
		},
	} {
		entries, err := os.ReadDir(filepath.Join(at.Path, folder))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, explain(err, "list folder %s", filepath.Join(at.Path, folder))
		}
		for _, e := range entries {
			out = append(out, item(e))
		}
	}
	slices.SortFunc(out, func(a, b onhost.Item) int { return cmp.Compare(a.Kind+a.Name, b.Kind+b.Name) })
	return out, nil
}

// used is the space that a file takes, in MiB, rounded up.
func used(file string) int64 {
	var s syscall.Stat_t
	if syscall.Lstat(file, &s) != nil {
		return 0
	}
	return (s.Blocks*512 + mib - 1) / mib
}

// checkID keeps a record's id from being a path.
func checkID(id resource.ID) error {
	if uuid.Validate(string(id)) != nil {
		return fault.New(fault.Invalid, "a volume's id is a UUID, not %q", id)
	}
	return nil
}

// explain gives an error of the file system its kind.
func explain(err error, format string, args ...any) error {
	kind := fault.Internal
	if p, ok := errors.AsType[*fs.PathError](err); ok && filepath.Base(filepath.Dir(p.Path)) == partial {
		// The name of a half-made file is another at each try, and a problem that changes is news.
		err = fmt.Errorf("%s in %s: %w", p.Op, filepath.Dir(p.Path), p.Err)
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		kind = fault.Exhausted
		err = fmt.Errorf("%w; free some there, or add a datastore", err)
	case errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EROFS):
		kind = fault.Precondition
	case errors.Is(err, syscall.EIO) || errors.Is(err, syscall.ESTALE) || errors.Is(err, syscall.ENOTCONN):
		kind = fault.Unavailable
	}
	if known := fault.KindOf(err); known != fault.Internal {
		kind = known
	}
	if tool, ok := errors.AsType[*qcow2.Error](err); ok {
		switch {
		case tool.NoSpace:
			kind = fault.Exhausted
		case tool.InUse:
			kind = fault.Precondition
		case tool.Cause != nil:
			kind = fault.Unavailable
		}
	}
	return fault.Wrap(fault.New(kind, "%w", err), format, args...)
}

// basePath is where content lies.
func basePath(at onhost.Place, digest string) (string, error) {
	if err := storage.CheckDigest(digest); err != nil {
		return "", err
	}
	return filepath.Join(at.Path, "images", strings.Replace(digest, ":", "-", 1)+".qcow2"), nil
}
