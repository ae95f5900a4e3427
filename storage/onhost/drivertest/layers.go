package drivertest

import (
	"os"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
	"github.com/virga-cloud/virga/storage/onhost"
)

// three is a volume of which two snapshots were taken.
var three = one.On("a0", "b1").On("b1", "c2")

func snapshotter(t *testing.T, d onhost.Driver) onhost.Snapshotter {
	t.Helper()
	s, can := d.(onhost.Snapshotter)
	if !can {
		t.Skip("volumes of this driver have one layer")
	}
	return s
}

// layered makes a volume with three layers, one after the other as snapshots are taken.
func layered(t *testing.T, s Subject, at onhost.Place) onhost.Volume {
	t.Helper()
	snapshotter(t, s.One)
	v := onhost.Volume{ID: resource.NewID(), SizeMiB: 16, Epoch: 5}
	for _, v.Chain = range []storage.Chain{one, one.On("a0", "b1"), three} {
		u, err := s.One.EnsureVolume(t.Context(), at, v)
		must(t, err)
		sameLayers(t, u, v.Chain)
	}
	return v
}

func sameLayers(t *testing.T, u onhost.Usage, want storage.Chain) {
	t.Helper()
	there := storage.Chain{Layers: u.Layers}
	for _, l := range want.Layers {
		if got := there.Find(l.ID); got == nil || got.ParentID != l.ParentID || len(u.Layers) != len(want.Layers) {
			t.Errorf("it has layers %v, want %v", u.Layers, want.Layers)
		}
	}
}

func opener(v onhost.Volume, layer string) onhost.Owner {
	return onhost.Owner{VolumeID: v.ID, Layer: layer, Epoch: 5, UID: int64(os.Geteuid())}
}

func layerLife(t *testing.T, s Subject, at onhost.Place) {
	v := layered(t, s, at)
	source, backing, err := s.Two.Open(t.Context(), at, opener(v, "c2"))
	must(t, err)
	if source.Layer != "c2" || len(backing) != 2 || backing[0].Layer != "b1" || backing[1].Layer != "a0" {
		t.Errorf("opened %+v on %+v", source, backing)
	}
	v.Chain = storage.Chain{Layers: []storage.Layer{{ID: "a0"}, {ID: "c2", ParentID: "a0"}}, Active: "c2"}
	for range 2 {
		must(t, snapshotter(t, s.Two).Rebase(t.Context(), at, v, "c2"))
	}
	for range 2 {
		must(t, snapshotter(t, s.One).RemoveLayer(t.Context(), at, v, "b1"))
	}
	u, err := s.One.EnsureVolume(t.Context(), at, v)
	must(t, err)
	sameLayers(t, u, v.Chain)
	// back to the first, and on nothing at all
	v.Chain = v.On("a0", "d3")
	u, err = s.Two.EnsureVolume(t.Context(), at, v)
	must(t, err)
	sameLayers(t, u, v.Chain)
	v.Chain = storage.Chain{Layers: []storage.Layer{{ID: "d3"}}, Active: "d3"}
	must(t, snapshotter(t, s.One).Rebase(t.Context(), at, v, "d3"))
	for _, layer := range []string{"c2", "a0"} {
		must(t, snapshotter(t, s.One).RemoveLayer(t.Context(), at, v, layer))
	}
	u, err = s.One.EnsureVolume(t.Context(), at, v)
	must(t, err)
	sameLayers(t, u, v.Chain)
	must(t, s.One.RemoveVolume(t.Context(), at, v))
	isEmpty(t, s, at)
}

// layerNeeded: what another layer builds on is not removed, nor what the volume shall have.
func layerNeeded(t *testing.T, s Subject, at onhost.Place) {
	v := layered(t, s, at)
	v.Chain = storage.Chain{Layers: []storage.Layer{{ID: "b1"}, {ID: "c2", ParentID: "b1"}}, Active: "c2"}
	for _, layer := range []string{"a0", "c2"} {
		if err := snapshotter(t, s.One).RemoveLayer(t.Context(), at, v, layer); !fault.Is(err, fault.Precondition) {
			t.Errorf("layer %s is needed: %v", layer, err)
		}
	}
	u, err := s.One.EnsureVolume(t.Context(), at, v)
	must(t, err)
	sameLayers(t, u, three)
}

// layerCommitted: nobody writes to what another layer builds on, also if it was open when that was made.
func layerCommitted(t *testing.T, s Subject, at onhost.Place) {
	v := layered(t, s, at)
	for _, layer := range []string{"a0", "b1"} {
		if _, _, err := s.Two.Open(t.Context(), at, opener(v, layer)); !fault.Is(err, fault.Precondition) {
			t.Errorf("layer %s is committed: %v", layer, err)
		}
	}
	for i, who := range []resource.ID{"first", "second"} {
		o := opener(v, "c2")
		o.InstanceID = who
		if _, _, err := s.Two.Open(t.Context(), at, o); (i == 1) != fault.Is(err, fault.Precondition) {
			t.Errorf("instance %s of two with one epoch: %v", who, err)
		}
	}
}

func layerEpochs(t *testing.T, s Subject, at onhost.Place) {
	v := layered(t, s, at)
	v.Epoch = 4
	v.Chain = storage.Chain{Layers: []storage.Layer{{ID: "a0"}, {ID: "c2", ParentID: "a0"}}, Active: "c2"}
	rebased := snapshotter(t, s.Two).Rebase(t.Context(), at, v, "c2")
	v.Chain = one.On("a0", "b1")
	removed := snapshotter(t, s.Two).RemoveLayer(t.Context(), at, v, "c2")
	v.Chain = three.On("c2", "d3")
	_, made := s.Two.EnsureVolume(t.Context(), at, v)
	for _, err := range []error{rebased, removed, made} {
		if !fault.Is(err, fault.Precondition) || onhost.Highest(err) != 5 {
			t.Errorf("an owner host of the past: %v", err)
		}
	}
	v.Epoch, v.Chain = 5, three
	u, err := s.One.EnsureVolume(t.Context(), at, v)
	must(t, err)
	sameLayers(t, u, three)
}

func layerOfAnother(t *testing.T, s Subject, at onhost.Place) {
	v := layered(t, s, at)
	other := onhost.Volume{Chain: one, ID: resource.NewID(), SizeMiB: 16, Epoch: 5}
	_, err := s.One.EnsureVolume(t.Context(), at, other)
	must(t, err)
	if _, _, err := s.One.Open(t.Context(), at, opener(other, "c2")); !fault.Is(err, fault.Unavailable) {
		t.Errorf("open layer c2 of volume %s in volume %s: %v", v.ID, other.ID, err)
	}
	for _, layer := range []string{"", "../" + string(v.ID) + "/c2", "c2/../a0"} {
		if _, _, err := s.One.Open(t.Context(), at, opener(other, layer)); err == nil {
			t.Errorf("a layer called %q was opened", layer)
		}
	}
	must(t, s.One.RemoveVolume(t.Context(), at, other))
	u, err := s.One.EnsureVolume(t.Context(), at, v)
	must(t, err)
	sameLayers(t, u, three)
}

func layerMissing(t *testing.T, s Subject, at onhost.Place) {
	v := layered(t, s, at)
	v.Chain, v.Made = three.On("c2", "d3"), []string{"a0", "b1", "c2", "d3"}
	for _, d := range []onhost.Driver{s.One, s.Two} {
		if _, err := d.EnsureVolume(t.Context(), at, v); !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "d3") {
			t.Errorf("a layer that is missing: %v", err)
		}
	}
	v.Made = []string{"a0", "b1", "c2"}
	u, err := s.One.EnsureVolume(t.Context(), at, v)
	must(t, err)
	sameLayers(t, u, v.Chain)
}
