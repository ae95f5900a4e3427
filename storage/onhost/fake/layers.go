package fake

import (
	"context"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
)

func fileOf(at onhost.Place, volume, layer string) string {
	return at.Path + "/volumes/" + volume + "/" + layer + ".qcow2"
}

func (v *volume) chain() storage.Chain { return storage.Chain{Layers: v.layers} }

// missing refuses a volume of which a layer was made once and is not there.
func (v *volume) missing(at onhost.Place, want onhost.Volume) error {
	for _, l := range want.Layers {
		if v.chain().Find(l.ID) == nil && slices.Contains(want.Made, l.ID) {
			return onhost.Missing(fileOf(at, string(want.ID), l.ID))
		}
	}
	return nil
}

// make makes the layers that are not there.
func (v *volume) make(want onhost.Volume) {
	for _, l := range want.Layers {
		if v.chain().Find(l.ID) == nil {
			v.layers = append(v.layers, storage.Layer{ID: l.ID, ParentID: l.ParentID})
		}
	}
}

func (v *volume) usage() onhost.Usage {
	return onhost.Usage{SizeMiB: v.size, UsedMiB: v.size / 10, Layers: slices.Clone(v.layers)}
}

// builtOn refuses a layer that another one builds on.
func (v *volume) builtOn(layer string) error {
	if above := v.chain().Above(layer); len(above) > 0 {
		return fault.New(fault.Precondition, "layer %s is committed: layer %s builds on it", layer, above[0])
	}
	return nil
}

// sources are a layer and all that it builds on.
func (v *volume) sources(at onhost.Place, o onhost.Owner) []storage.Source {
	var out []storage.Source
	for _, id := range v.chain().Below(o.Layer) {
		s := storage.InFile(fileOf(at, string(o.VolumeID), id), "qcow2")
		s.Layer = id
		out = append(out, s)
	}
	if v.base != "" {
		out = append(out, storage.InFile(at.Path+"/images/"+v.base, "qcow2"))
	}
	return out
}

// Rebase implements onhost.Snapshotter.
func (d *Driver) Rebase(_ context.Context, at onhost.Place, v onhost.Volume, layer string) error {
	return d.layer("Rebase", at, v, func(there *volume) error {
		shall, is := v.Find(layer), there.chain().Find(layer)
		switch {
		case shall == nil || is == nil:
			return fault.New(fault.Precondition, "it has no layer %q", layer)
		case shall.ParentID != "" && !slices.Contains(there.chain().Below(is.ParentID), shall.ParentID):
			return fault.New(fault.Precondition, "layer %s does not build on layer %s", layer, shall.ParentID)
		}
		is.ParentID = shall.ParentID
		return nil
	})
}

// RemoveLayer implements onhost.Snapshotter.
func (d *Driver) RemoveLayer(_ context.Context, at onhost.Place, v onhost.Volume, layer string) error {
	return d.layer("RemoveLayer", at, v, func(there *volume) error {
		if v.Find(layer) != nil {
			return fault.New(fault.Precondition, "layer %s is one that it shall have", layer)
		}
		if err := there.builtOn(layer); err != nil {
			return err
		}
		there.layers = slices.DeleteFunc(there.layers, func(l storage.Layer) bool { return l.ID == layer })
		return nil
	})
}

// layer does something to a layer as the host that looks after its volume.
func (d *Driver) layer(method string, at onhost.Place, v onhost.Volume, do func(*volume) error) error {
	f, leave, err := d.enter(method, at)
	if err != nil {
		return err
	}
	defer leave()
	if err := f.fence(string(v.ID), v.Epoch); err != nil {
		return err
	}
	there := f.volumes[v.ID]
	if there == nil {
		return fault.Wrap(onhost.Missing(at.Path+"/volumes/"+string(v.ID)), "look after volume %s", v.ID)
	}
	return fault.Wrap(do(there), "look after volume %s", v.ID)
}
