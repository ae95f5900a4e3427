package onhost

import (
	"slices"
	"testing"

	"github.com/virga-cloud/virga/storage"
)

func layers(in ...string) []storage.Layer {
	var out []storage.Layer
	for _, l := range in {
		out = append(out, storage.Layer{ID: l[:1], ParentID: l[1:]})
	}
	return out
}

func TestLayersAreMadeWhatTheyShallBe(t *testing.T) {
	for name, test := range map[string]struct {
		want   []storage.Layer
		active string
		have   []storage.Layer
		inUse  bool
		acts   []layerAct
	}{
		"nothing is there yet":               {layers("a"), "a", nil, false, nil},
		"all is as it shall be":              {layers("a", "ba"), "b", layers("a", "ba"), false, nil},
		"one is pulled first":                {layers("b"), "b", layers("a", "ba"), false, []layerAct{{rebaseLayer, "b"}}},
		"then the lower one goes":            {layers("b"), "b", layers("a", "b"), false, []layerAct{{removeLayer, "a"}}},
		"a QEMU process pulls by itself":     {layers("b"), "b", layers("a", "ba"), true, nil},
		"what it has left goes all the same": {layers("b"), "b", layers("a", "b"), true, []layerAct{{removeLayer, "a"}}},
		"the middle of its chain":            {layers("a", "ca", "dc"), "d", layers("a", "ba", "cb", "dc"), true, nil},
		"another branch than its own":        {layers("a", "ca", "da"), "d", layers("a", "ba", "cb", "da"), true, []layerAct{{rebaseLayer, "c"}}},
		"a branch that was left, from its tip": {layers("a", "da"), "d", layers("a", "ba", "cb", "da"), true,
			[]layerAct{{removeLayer, "c"}}},
		"the new one is not there yet": {layers("a", "ba"), "b", layers("a"), true, nil},
		"a lower one that backs two":   {layers("b", "c"), "c", layers("a", "ba", "ca"), false, []layerAct{{rebaseLayer, "b"}, {rebaseLayer, "c"}}},
	} {
		if got := planLayers(storage.Chain{Layers: test.want, Active: test.active}, test.have, test.inUse); !slices.Equal(got, test.acts) {
			t.Errorf("%s: %v, want %v", name, got, test.acts)
		}
	}
}

// TestEachPlanOfLayersEnds carries plans out on a model, from every state that a deletion may begin in.
func TestEachPlanOfLayersEnds(t *testing.T) {
	have := layers("a", "ba", "cb", "dc", "eb", "fe")
	for mask := range 1 << 5 {
		want := storage.Chain{Layers: have, Active: "f"}.Tidy(func(id string) bool { return mask&(1<<(id[0]-'a')) != 0 })
		now := slices.Clone(have)
		for step := 0; ; step++ {
			acts := planLayers(want, now, false)
			if len(acts) == 0 {
				break
			}
			if step > 20 {
				t.Fatalf("kept %05b: does not end: %v of %v to %v", mask, acts, now, want)
			}
			at := slices.IndexFunc(now, func(l storage.Layer) bool { return l.ID == acts[0].layer })
			if acts[0].verb == removeLayer {
				if above := (storage.Chain{Layers: now}).Above(acts[0].layer); len(above) > 0 {
					t.Fatalf("kept %05b: %s is removed, and %v build on it", mask, acts[0].layer, above)
				}
				now = slices.Delete(now, at, at+1)
			} else {
				now[at].ParentID = want.Find(acts[0].layer).ParentID
			}
		}
		if !slices.Equal(now, want.Layers) {
			t.Errorf("kept %05b: ended with %v, want %v", mask, now, want.Layers)
		}
	}
}
