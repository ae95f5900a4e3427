package storage

import (
	"fmt"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func chain(active string, layers ...string) Chain {
	c := Chain{Active: active}
	for _, l := range layers {
		c.Layers = append(c.Layers, Layer{ID: l[:1], ParentID: l[1:]})
	}
	return c
}

func TestALayerWithoutANameIsPulledIntoTheOneAbove(t *testing.T) {
	for name, test := range map[string]struct {
		have  Chain
		named string
		want  Chain
	}{
		"a new volume":                       {chain("a", "a"), "", chain("a", "a")},
		"a snapshot":                         {chain("b", "a", "ba"), "a", chain("b", "a", "ba")},
		"the only snapshot goes":             {chain("b", "a", "ba"), "", chain("b", "b")},
		"the middle one goes":                {chain("d", "a", "ba", "cb", "dc"), "ac", chain("d", "a", "ca", "dc")},
		"the lowest one goes":                {chain("d", "a", "ba", "cb", "dc"), "bc", chain("d", "b", "cb", "dc")},
		"all go at once":                     {chain("d", "a", "ba", "cb", "dc"), "", chain("d", "d")},
		"two build on it":                    {chain("c", "a", "ba", "ca"), "b", chain("c", "a", "ba", "ca")},
		"the other branch goes":              {chain("c", "a", "ba", "ca"), "", chain("c", "c")},
		"the other branch goes, a stays":     {chain("c", "a", "ba", "ca"), "a", chain("c", "a", "ca")},
		"a branch of several layers goes":    {chain("d", "a", "ba", "cb", "da"), "a", chain("d", "a", "da")},
		"a branch keeps its tip":             {chain("d", "a", "ba", "cb", "da"), "c", chain("d", "a", "ca", "da")},
		"the active one is never in the way": {chain("a", "a", "ba"), "b", chain("a", "a", "ba")},
	} {
		got := test.have.Tidy(func(id string) bool { return slices.Contains(slices.Collect(runes(test.named)), id) })
		if !slices.Equal(got.Layers, test.want.Layers) || got.Active != test.want.Active {
			t.Errorf("%s: became %+v, want %+v", name, got, test.want)
		}
	}
}

func runes(s string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for _, r := range s {
			if !yield(string(r)) {
				return
			}
		}
	}
}

// TestWhatIsSeenThroughALayerNeverChanges plays volumes: writes, snapshots, reverts, deletions. A layer is
// modelled as what was written to it; to pull is to merge two of them.
func TestWhatIsSeenThroughALayerNeverChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c, next := chain("0", "0"), 1
		wrote := map[string]map[int]int{"0": {}}
		saw := map[string]map[int]int{} // what a snapshot has seen
		view := func(c Chain, id string) map[int]int {
			out := map[int]int{}
			for _, l := range slices.Backward(c.Below(id)) {
				maps.Copy(out, wrote[l])
			}
			return out
		}
		for step := range rapid.IntRange(1, 40).Draw(t, "steps") {
			before, active := c, view(c, c.Active)
			switch names := slices.Sorted(maps.Keys(saw)); rapid.IntRange(0, 3).Draw(t, "act") {
			case 0:
				wrote[c.Active][rapid.IntRange(0, 5).Draw(t, "block")] = step
				active = view(c, c.Active)
			case 1:
				saw[c.Active] = active
				c, next = c.On(c.Active, fmt.Sprint(next)), next+1
			case 2:
				if len(names) > 0 {
					to := rapid.SampledFrom(names).Draw(t, "revert")
					c, next, active = c.On(to, fmt.Sprint(next)), next+1, saw[to]
				}
			case 3:
				if len(names) > 0 {
					delete(saw, rapid.SampledFrom(names).Draw(t, "delete"))
				}
			}
			if wrote[c.Active] == nil {
				wrote[c.Active] = map[int]int{}
			}
			whole := Chain{Layers: c.Layers, Active: c.Active}
			c = c.Tidy(func(id string) bool { return saw[id] != nil })
			merged := map[string]map[int]int{}
			for _, l := range c.Layers { // what is between a layer and its new parent is pulled into it
				above := whole.Below(l.ID)
				if at := slices.Index(above, l.ParentID); at >= 0 {
					above = above[:at]
				}
				merged[l.ID] = map[int]int{}
				for _, id := range slices.Backward(above) {
					maps.Copy(merged[l.ID], wrote[id])
				}
			}
			wrote = merged
			if got := view(c, c.Active); !maps.Equal(got, active) {
				t.Fatalf("the active layer shows %v, want %v; %+v became %+v", got, active, before, c)
			}
			for id, want := range saw {
				if got := view(c, id); c.Find(id) == nil || !maps.Equal(got, want) {
					t.Fatalf("snapshot %s shows %v, want %v; %+v became %+v", id, got, want, before, c)
				}
			}
			if again := c.Tidy(func(id string) bool { return saw[id] != nil }); !slices.Equal(again.Layers, c.Layers) {
				t.Fatalf("a second look changes %+v to %+v", c, again)
			}
			if most := 2*len(saw) + 1; len(c.Layers) > most {
				t.Fatalf("%d layers of %d snapshots: %+v", len(c.Layers), len(saw), c)
			}
		}
	})
}
