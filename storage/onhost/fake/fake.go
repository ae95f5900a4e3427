// Package fake is a storage driver in memory, for the simulator and for tests of loops. It is
// deterministic: no clock, no randomness, lists in order. A World is what all hosts share; each
// host has a Driver of its own on it.
package fake

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
)

// World holds folders by the name under which they are known to all.
type World struct {
	mu      sync.Mutex
	folders map[string]*folder
}

type folder struct {
	identity string
	capacity int64 // MiB
	volumes  map[resource.ID]*volume
	images   map[string]int64 // MiB
	owners   map[string]int64 // the highest epoch of a host that looked after an image or a volume
}

type volume struct {
	size, epoch int64
	who         resource.ID // opened it in that epoch
	base        string
	layers      []storage.Layer
}

// fence remembers the epoch of whoever looks after a thing, or refuses it.
func (f *folder) fence(name string, epoch int64) error {
	if err := onhost.Judge(epoch, f.owners[name]); err != nil {
		return err
	}
	f.owners[name] = epoch
	return nil
}

// NewWorld makes a world without folders.
func NewWorld() *World { return &World{folders: map[string]*folder{}} }

// Driver is what one host sees of a world.
type Driver struct {
	world  *World
	mounts map[string]string // path on this host -> name in the world
	fail   map[string]error
}

var (
	_ onhost.Driver = (*Driver)(nil)
	_ onhost.Cloner = (*Driver)(nil)
	_ onhost.Grower = (*Driver)(nil)

	_ onhost.Snapshotter = (*Driver)(nil)
)

// Host makes the driver of a host. It sees nothing before Mount.
func (w *World) Host() *Driver {
	return &Driver{world: w, mounts: map[string]string{}, fail: map[string]error{}}
}

// Mount shows a folder of the world at a path. Two hosts that mount one name share it.
func (d *Driver) Mount(path, name string, capacityMiB int64) {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	d.mounts[path] = name
	if d.world.folders[name] == nil {
		d.world.folders[name] = &folder{capacity: capacityMiB, volumes: map[resource.ID]*volume{}, images: map[string]int64{}, owners: map[string]int64{}}
	}
}

// Unmount leaves an empty folder at the path.
func (d *Driver) Unmount(path string) {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	d.mounts[path] = ""
}

// Fail makes a method fail until it is called again with nil: "EnsureVolume".
func (d *Driver) Fail(method string, err error) {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	d.fail[method] = err
}

// used sums what lies in the folder. A volume takes a tenth of its size.
func (f *folder) used() int64 {
	var sum int64
	for _, v := range f.volumes {
		sum += v.size / 10
	}
	for _, size := range f.images {
		sum += size
	}
	return sum
}

// enter locks the world; the caller calls leave when err is nil.
func (d *Driver) enter(method string, at onhost.Place) (f *folder, leave func(), err error) {
	d.world.mu.Lock()
	f, err = d.look(method, at)
	if err != nil {
		d.world.mu.Unlock()
		return nil, nil, err
	}
	return f, d.world.mu.Unlock, nil
}

func (d *Driver) look(method string, at onhost.Place) (*folder, error) {
	if err := d.fail[method]; err != nil {
		return nil, err
	}
	f := d.world.folders[d.mounts[at.Path]]
	switch {
	case f == nil || f.identity == "":
		return nil, fault.New(fault.Unavailable, "folder %s has no identity; is the share not mounted?", at.Path)
	case f.identity != at.Identity:
		return nil, fault.New(fault.Unavailable, "folder %s is another one than expected", at.Path)
	}
	return f, nil
}

// Scan implements onhost.Devices.
func (d *Driver) Scan(_ context.Context, path string, fresh bool) (onhost.Found, error) {
	d.world.mu.Lock()
	defer d.world.mu.Unlock()
	if err := d.fail["Scan"]; err != nil {
		return onhost.Found{}, err
	}
	name, there := d.mounts[path]
	f := d.world.folders[name]
	if !there || f == nil && fresh {
		return onhost.Found{}, fault.New(fault.Precondition, "folder %s is not there; make it, or mount the share", path)
	}
	if f == nil || f.identity == "" && !fresh {
		return onhost.Found{}, fault.New(fault.Unavailable, "folder %s has no identity; is the share not mounted?", path)
	}
	if f.identity == "" {
		f.identity = fmt.Sprintf("00000000-0000-4000-8000-%012x", sha256.Sum256([]byte(name)))[:36]
	}
	return onhost.Found{Identity: f.identity, CapacityMiB: f.capacity, FreeMiB: f.capacity - f.used()}, nil
}

// Leave implements onhost.Devices.
func (d *Driver) Leave(_ context.Context, at onhost.Place) error {
	f, leave, err := d.enter("Leave", at)
	if err != nil {
		return d.fail["Leave"]
	}
	defer leave()
	if len(f.volumes) == 0 && len(f.images) == 0 {
		f.identity = ""
	}
	return nil
}

// List implements onhost.Pool.
func (d *Driver) List(_ context.Context, at onhost.Place) ([]onhost.Item, error) {
	f, leave, err := d.enter("List", at)
	if err != nil {
		return nil, err
	}
	defer leave()
	var out []onhost.Item
	for id, v := range f.volumes {
		out = append(out, onhost.Item{Kind: onhost.AVolume, Name: string(id), UsedMiB: v.size / 10})
	}
	for digest, size := range f.images {
		out = append(out, onhost.Item{Kind: onhost.AnImage, Name: digest, UsedMiB: size})
	}
	slices.SortFunc(out, func(a, b onhost.Item) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// EnsureImage implements onhost.Cloner.
func (d *Driver) EnsureImage(ctx context.Context, at onhost.Place, i onhost.Image, content func(context.Context) (io.ReadCloser, error)) (int64, error) {
	digest := i.Digest
	if err := storage.CheckDigest(digest); err != nil {
		return 0, err
	}
	f, leave, err := d.enter("EnsureImage", at)
	if err != nil {
		return 0, err
	}
	size, there := f.images[digest]
	err = f.fence(digest, i.Epoch)
	leave()
	if err != nil || there {
		return size, err
	}
	in, err := content(ctx)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	h := sha256.New()
	n, err := io.Copy(h, in)
	if err != nil {
		return 0, err
	}
	if got := "sha256:" + hex.EncodeToString(h.Sum(nil)); got != digest {
		return 0, fault.New(fault.Unavailable, "what came has digest %s", got)
	}
	f, leave, err = d.enter("EnsureImage", at)
	if err != nil {
		return 0, err
	}
	defer leave()
	if err := f.fence(digest, i.Epoch); err != nil {
		return 0, err
	}
	size = (n + 1<<20 - 1) >> 20
	if f.used()+size > f.capacity {
		return 0, fault.New(fault.Exhausted, "keep image %s: no space is left", digest)
	}
	f.images[digest] = size
	return size, nil
}

// RemoveImage implements onhost.Cloner.
func (d *Driver) RemoveImage(_ context.Context, at onhost.Place, i onhost.Image) error {
	if err := storage.CheckDigest(i.Digest); err != nil {
		return err
	}
	f, leave, err := d.enter("RemoveImage", at)
	if err != nil {
		return err
	}
	defer leave()
	if err := f.fence(i.Digest, i.Epoch); err != nil {
		return err
	}
	for id, v := range f.volumes {
		if v.base == i.Digest {
			return fault.New(fault.Precondition, "remove image %s: volume %s is backed by it", i.Digest, id)
		}
	}
	delete(f.images, i.Digest)
	return nil
}

// EnsureVolume implements onhost.Pool.
func (d *Driver) EnsureVolume(_ context.Context, at onhost.Place, v onhost.Volume) (onhost.Usage, error) {
	f, leave, err := d.enter("EnsureVolume", at)
	if err != nil {
		return onhost.Usage{}, err
	}
	defer leave()
	if err := f.fence(string(v.ID), v.Epoch); err != nil {
		return onhost.Usage{}, err
	}
	there := f.volumes[v.ID]
	if there == nil {
		there = &volume{size: v.SizeMiB}
	}
	if err := there.missing(at, v); err != nil {
		return onhost.Usage{}, fault.Wrap(err, "look after volume %s", v.ID)
	}
	if f.volumes[v.ID] == nil {
		if v.Base != nil {
			there.base = v.Base.Digest
			if _, ok := f.images[v.Base.Digest]; !ok {
				return onhost.Usage{}, fault.New(fault.Unavailable, "image %s is not there yet", v.Base.Digest)
			}
		}
		if f.used()+there.size/10 > f.capacity {
			return onhost.Usage{}, fault.New(fault.Exhausted, "make volume %s: no space is left", v.ID)
		}
		f.volumes[v.ID] = there
	}
	there.make(v)
	return there.usage(), nil
}

// Grow implements onhost.Grower.
func (d *Driver) Grow(_ context.Context, at onhost.Place, v onhost.Volume) (onhost.Usage, error) {
	f, leave, err := d.enter("Grow", at)
	if err != nil {
		return onhost.Usage{}, err
	}
	defer leave()
	if err := f.fence(string(v.ID), v.Epoch); err != nil {
		return onhost.Usage{}, err
	}
	there := f.volumes[v.ID]
	if there == nil {
		return onhost.Usage{}, fault.Wrap(onhost.Missing(at.Path+"/volumes/"+string(v.ID)), "grow volume %s", v.ID)
	}
	if grown := max(there.size, v.SizeMiB); f.used()+(grown-there.size)/10 > f.capacity {
		return onhost.Usage{}, fault.New(fault.Exhausted, "grow volume %s: no space is left", v.ID)
	}
	there.size = max(there.size, v.SizeMiB)
	return there.usage(), nil
}

// Open implements onhost.Pool.
func (d *Driver) Open(_ context.Context, at onhost.Place, o onhost.Owner) (storage.Source, []storage.Source, error) {
	none := storage.Source{}
	f, leave, err := d.enter("Open", at)
	if err != nil {
		return none, nil, err
	}
	defer leave()
	v := f.volumes[o.VolumeID]
	if v == nil || v.chain().Find(o.Layer) == nil {
		return none, nil, fault.New(fault.Unavailable, "open volume %s: it has no layer %q", o.VolumeID, o.Layer)
	}
	if err := v.builtOn(o.Layer); err != nil {
		return none, nil, fault.Wrap(err, "open volume %s", o.VolumeID)
	}
	if err := onhost.Judge(o.Epoch, v.epoch); err != nil {
		return none, nil, fault.Wrap(err, "open volume %s", o.VolumeID)
	}
	if o.Epoch == v.epoch && v.who != "" && o.InstanceID != "" && v.who != o.InstanceID {
		return none, nil, fault.New(fault.Precondition, "open volume %s: instance %s has it open in epoch %d", o.VolumeID, v.who, o.Epoch)
	}
	if o.Epoch > v.epoch || o.InstanceID != "" {
		v.who = o.InstanceID
	}
	v.epoch = o.Epoch
	sources := v.sources(at, o)
	return sources[0], sources[1:], nil
}

// RemoveVolume implements onhost.Pool.
func (d *Driver) RemoveVolume(_ context.Context, at onhost.Place, v onhost.Volume) error {
	f, leave, err := d.enter("RemoveVolume", at)
	if err != nil {
		return err
	}
	defer leave()
	if err := f.fence(string(v.ID), v.Epoch); err != nil {
		return err
	}
	delete(f.volumes, v.ID)
	return nil
}
