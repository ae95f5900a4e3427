package storage

import (
	"slices"

	"github.com/virga-cloud/virga/engine/resource"
)

// A volume is a tree of layers. Each holds what was written since it was made, and builds on its parent;
// a guest writes to one of them only, the active one, and all others are committed: what is seen through
// them never changes. A snapshot names a committed layer. Where nobody names a layer that one other builds
// on, it is pulled into that: the one above then holds what both held, and builds on what the lower one
// built on. Nothing else is written to, so that both are right at each moment, and whoever dies in the
// middle begins anew.

// Layer is one step of a volume's content.
type Layer struct {
	// ID names it within its volume.
	ID string `json:"id"`
	// ParentID is the layer that it builds on; empty: the content that the volume starts from, or nothing.
	ParentID string `json:"parentID,omitempty"`
	// UsedMiB is the space that it takes, where that is known.
	UsedMiB int64 `json:"usedMiB,omitempty"`
}

// NewLayerID mints the name of a layer.
func NewLayerID() string {
	id := string(resource.NewID())
	return id[len(id)-8:]
}

// Chain is the layers of a volume. Parents come before those that build on them.
type Chain struct {
	// Layers are all that there are, or shall be.
	Layers []Layer
	// Active is the one that is written to.
	Active string
}

// NewChain is that of a new volume.
func NewChain() Chain {
	id := NewLayerID()
	return Chain{Layers: []Layer{{ID: id}}, Active: id}
}

// Find gives a layer; nil if there is none.
func (c Chain) Find(id string) *Layer {
	if at := slices.IndexFunc(c.Layers, func(l Layer) bool { return l.ID == id }); at >= 0 {
		return &c.Layers[at]
	}
	return nil
}

// On puts a new active layer, id, on another: on the active one, which is then committed, or on one of
// before, to which the volume goes back.
func (c Chain) On(parent, id string) Chain {
	return Chain{Layers: append(slices.Clone(c.Layers), Layer{ID: id, ParentID: parent}), Active: id}
}

// Above are those that build on a layer.
func (c Chain) Above(id string) []string {
	var out []string
	for _, l := range c.Layers {
		if l.ParentID == id {
			out = append(out, l.ID)
		}
	}
	return out
}

// Below is what is read through a layer, itself first.
func (c Chain) Below(id string) []string {
	var out []string
	for l := c.Find(id); l != nil && !slices.Contains(out, l.ID); l = c.Find(l.ParentID) {
		out = append(out, l.ID)
	}
	return out
}

// Tidy leaves out what nobody needs: a layer without a name on which none builds, and one without a name
// on which one builds, which is pulled into that. On which several build stays.
func (c Chain) Tidy(named func(id string) bool) Chain {
	out := Chain{Layers: slices.Clone(c.Layers), Active: c.Active}
	for again := true; again; {
		again = false
		for i, l := range out.Layers {
			above := out.Above(l.ID)
			if l.ID == out.Active || named(l.ID) || len(above) > 1 {
				continue
			}
			for _, id := range above {
				out.Find(id).ParentID = l.ParentID
			}
			out.Layers = slices.Delete(out.Layers, i, i+1)
			again = true
			break
		}
	}
	return out
}
