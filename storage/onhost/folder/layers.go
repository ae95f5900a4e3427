package folder

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
	"github.com/virga-cloud/virga/storage/onhost/qcow2"
)

var _ onhost.Snapshotter = (*Driver)(nil)

const (
	layerSuffix  = ".qcow2"
	longestChain = 256
	// unknownLayer is what a layer builds on whose head says something that is none of its volume's.
	unknownLayer = "unknown"
	// firstLock is where the bytes begin on which QEMU holds the locks of an image, locks how many they may be.
	firstLock, locks = 100, 200
)

// layerPath is where a layer of a volume lies.
func layerPath(at onhost.Place, id resource.ID, layer string) (string, error) {
	if layer == "" || strings.Trim(layer, "0123456789abcdef") != "" {
		return "", fault.New(fault.Invalid, "the name of a layer is made of hexadecimal digits, not %q", layer)
	}
	return filepath.Join(at.Path, "volumes", string(id), layer+layerSuffix), nil
}

// layerNamed reads the name of a layer from the path of its file; false if it is none of the volume's.
func layerNamed(at onhost.Place, id resource.ID, path string) (string, bool) {
	layer, is := strings.CutSuffix(filepath.Base(path), layerSuffix)
	want, err := layerPath(at, id, layer)
	return layer, is && err == nil && want == path
}

// layersIn lists the layers of a volume, in the order that v names them, then the others. What each builds
// on is read from its head, which a guest's QEMU may have written: it is judged before anything follows it.
func layersIn(at onhost.Place, v onhost.Volume) ([]storage.Layer, error) {
	entries, err := os.ReadDir(filepath.Join(at.Path, "volumes", string(v.ID)))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var out []storage.Layer
	for _, e := range entries {
		file := filepath.Join(at.Path, "volumes", string(v.ID), e.Name())
		layer, is := layerNamed(at, v.ID, file)
		if !is {
			continue
		}
		parent, err := parentOf(at, v.ID, file)
		if err != nil {
			return nil, err
		}
		out = append(out, storage.Layer{ID: layer, ParentID: parent, UsedMiB: used(file)})
	}
	place := func(l storage.Layer) int {
		if i := slices.IndexFunc(v.Layers, func(o storage.Layer) bool { return o.ID == l.ID }); i >= 0 {
			return i
		}
		return len(v.Layers)
	}
	slices.SortStableFunc(out, func(a, b storage.Layer) int { return place(a) - place(b) })
	return out, nil
}

func parentOf(at onhost.Place, id resource.ID, file string) (string, error) {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return "", err
	}
	defer f.Close()
	name, err := qcow2.BackingName(f)
	if layer, is := layerNamed(at, id, name); is && err == nil {
		return layer, nil
	}
	if err != nil || name != "" && imagesOf(at)(name) != nil {
		return unknownLayer, nil //nolint:nilerr // its volume is as it is, until somebody wants to open it
	}
	return "", nil
}

// chainOf judges a layer and all that it builds on, and gives them, itself first.
func chainOf(at onhost.Place, id resource.ID, file string) ([]storage.Source, error) {
	var out []storage.Source
	for file != "" {
		if len(out) == longestChain {
			return nil, fault.New(fault.Precondition, "it has more than %d layers", longestChain)
		}
		next := ""
		allowed := buildsOn(at, id)
		layer, own := layerNamed(at, id, file)
		if !own {
			allowed = nil // an image builds on nothing
		}
		_, err := judged(file, func(name string) error {
			next = name
			if allowed == nil {
				return fault.New(fault.Precondition, "the head of an image says that it builds on %q", name)
			}
			return allowed(name)
		})
		if err != nil {
			return nil, err
		}
		source := storage.InFile(file, qcow2.QCOW2)
		if own {
			source.Layer = layer
		}
		out = append(out, source)
		file = next
	}
	return out, nil
}

// buildsOn allows the images of a place, and the layers of one volume, as what one of that volume builds on.
func buildsOn(at onhost.Place, id resource.ID) func(string) error {
	image := imagesOf(at)
	return func(name string) error {
		if _, own := layerNamed(at, id, name); own {
			return nil
		}
		return image(name)
	}
}

// builtOn refuses a layer that another one builds on.
func builtOn(at onhost.Place, v onhost.Volume, layer string) error {
	all, err := layersIn(at, v)
	if err != nil {
		return err
	}
	if above := (storage.Chain{Layers: all}).Above(layer); len(above) > 0 {
		return fault.New(fault.Precondition, "layer %s is committed: layer %s builds on it", layer, above[0])
	}
	return nil
}

// Rebase implements onhost.Snapshotter. The tool reads all layers, as the user of the guest that could have
// written them, and writes what differs, and the new name in the head last.
func (d *Driver) Rebase(ctx context.Context, at onhost.Place, v onhost.Volume, layer string) error {
	_, err := tended(ctx, at, v, func() error {
		l := v.Find(layer)
		file, err := layerPath(at, v.ID, layer)
		if err == nil && l == nil {
			err = fault.New(fault.Internal, "it shall have no layer %s", layer)
		}
		if err != nil {
			return err
		}
		uid, err := ownedAlike(at, v.ID, file)
		if err != nil {
			return err
		}
		backing, unused, err := d.backing(ctx, at, v, *l)
		if err != nil {
			return err
		}
		defer unused()
		return explain(opened(d.as(uid).Rebase(ctx, qcow2.File{Path: file, Format: qcow2.QCOW2}, backing)), "pull layer %s together", layer)
	})
	return err
}

// ownedAlike judges a layer and all that it builds on, and gives them to one user, as whom a tool may read them
// all: who had the lowest one open last, which is the one that the guest of now shares. Nobody has written to
// layers that are all ours.
func ownedAlike(at onhost.Place, id resource.ID, file string) (uid uint32, err error) {
	sources, err := chainOf(at, id, file)
	if err != nil {
		return 0, err
	}
	owners := map[string]uint32{}
	for _, s := range slices.Backward(sources) {
		if s.Layer == "" {
			continue // everybody reads an image
		}
		info, err := os.Lstat(s.Path)
		if err != nil {
			return 0, err
		}
		owners[s.Path] = info.Sys().(*syscall.Stat_t).Uid
		if uid == 0 {
			uid = owners[s.Path]
		}
	}
	for path, owner := range owners {
		if owner == uid {
			continue
		}
		if err := os.Lchown(path, int(uid), -1); err != nil {
			return 0, err
		}
	}
	return uid, nil
}

// inUse refuses a file that a QEMU process or a tool has open, on whichever host: they hold locks on some of its
// bytes as long as they have.
func inUse(file string) error {
	f, err := os.OpenFile(file, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lock := unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart, Start: firstLock, Len: locks}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &lock); err != nil {
		return err
	}
	if lock.Type != unix.F_UNLCK {
		return fault.New(fault.Unavailable, "a VM has file %s open", file)
	}
	return nil
}

// RemoveLayer implements onhost.Snapshotter.
func (d *Driver) RemoveLayer(ctx context.Context, at onhost.Place, v onhost.Volume, layer string) error {
	_, err := tended(ctx, at, v, func() error {
		file, err := layerPath(at, v.ID, layer)
		if err == nil && v.Find(layer) != nil {
			err = fault.New(fault.Precondition, "layer %s is one that it shall have", layer)
		}
		if err == nil {
			err = builtOn(at, v, layer)
		}
		if err == nil {
			err = inUse(file)
		}
		if err != nil {
			return err
		}
		if err := os.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return durable.SyncFolder(filepath.Dir(file))
	})
	return err
}
