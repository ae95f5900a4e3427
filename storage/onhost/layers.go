package onhost

import (
	"context"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/storage"
)

// layerVerb is what is done to a layer.
type layerVerb string

const (
	rebaseLayer layerVerb = "rebase"
	removeLayer layerVerb = "remove"
)

// layerAct is one thing that is done to a layer.
type layerAct struct {
	verb  layerVerb
	layer string
}

// planLayers says what lies on the storage otherwise than it shall. Those that are missing are not its
// business. While a QEMU process has the volume open, the layers below its active one are that process's:
// it pulls them itself, and we only see that it has.
func planLayers(want storage.Chain, have []storage.Layer, inUse bool) []layerAct {
	there := storage.Chain{Layers: have}
	theirs := []string{}
	if inUse {
		theirs = there.Below(want.Active)
	}
	var out []layerAct
	for _, l := range have {
		shall := want.Find(l.ID)
		switch {
		case shall == nil && len(there.Above(l.ID)) == 0 && !slices.Contains(theirs, l.ID):
			out = append(out, layerAct{removeLayer, l.ID})
		case shall != nil && shall.ParentID != l.ParentID && !slices.Contains(theirs, l.ID):
			out = append(out, layerAct{rebaseLayer, l.ID})
		}
	}
	return out
}

func volumeOf(al *storage.Allocation) Volume {
	v := Volume{ID: al.Spec.VolumeID, SizeMiB: al.Spec.SizeMiB, Base: al.Spec.Base, Epoch: al.Spec.Epoch, Chain: al.Spec.Chain()}
	for _, l := range al.Status.Layers {
		v.Made = append(v.Made, l.ID)
	}
	return v
}

// tend makes the layers of a volume what they shall be, one act after the other: what was removed may free the next.
func (a *Agent) tend(ctx context.Context, al *storage.Allocation, at within, u Usage) (Usage, error) {
	v := volumeOf(al)
	for {
		acts := planLayers(v.Chain, u.Layers, len(al.Spec.HostIDs) > 0)
		if len(acts) == 0 {
			return u, nil
		}
		s, can := at.Driver.(Snapshotter)
		if !can {
			return u, fault.New(fault.Precondition, "volumes on this datastore have one layer only")
		}
		err := a.destroy(func() error {
			if acts[0].verb == rebaseLayer {
				return s.Rebase(ctx, at.Place, v, acts[0].layer)
			}
			return s.RemoveLayer(ctx, at.Place, v, acts[0].layer)
		})
		if err != nil {
			return u, err
		}
		if u, err = at.EnsureVolume(ctx, at.Place, v); err != nil {
			return u, err
		}
	}
}

// coarseLayers rounds what layers take, as the volume's own use is rounded.
func coarseLayers(in []storage.Layer) []storage.Layer {
	out := slices.Clone(in)
	for i := range out {
		out[i].UsedMiB = coarseUse(out[i].UsedMiB)
	}
	return out
}
