package cli

import (
	"encoding/json"
	"maps"
	"reflect"
	"testing"

	"pgregory.net/rapid"
)

func TestDocumentsAreReadAsPeopleWriteThem(t *testing.T) {
	s := &session{settings: settings{project: "mine"}}
	for text, want := range map[string][]string{
		"kind: volume\nname: data\nspec:\n  sizeMiB: 1\n":                                                {"volume mine data"},
		"---\nkind: volumes\nname: data\n---\n\n---\nkind: disk\nname: x\nproject: other\n":              {"volume mine data", "volume other x"},
		`{"kind":"vm","name":"web","spec":{}}`:                                                           {"vm mine web"},
		`[{"kind":"vm","name":"a","id":"1","status":{"phase":"running"}},{"kind":"network","name":"b"}]`: {"vm mine a", "network mine b"},
		"- kind: image\n  name: debian/12\n":                                                             {"image mine debian-12"},
		"kind: vm\nname: web\nspec:\n  userData: |\n    a\n    ---\n":                                    {"vm mine web"},
	} {
		got, err := s.documents([]byte(text))
		var said []string
		for _, w := range got {
			said = append(said, w.noun.api.Name+" "+w.project+" "+w.name)
		}
		if err != nil || !reflect.DeepEqual(said, want) {
			t.Errorf("%q: %v, %v; want %v", text, said, err, want)
		}
	}
	for _, text := range []string{"", "# nothing\n", "kind: vm\n", "name: web\n", "kind: cat\nname: tom\n", "kind: vm\nname: 3\n", "kind: vm\nname: web\nspec: 3\n",
		"kind: vm\nname: web\nspce: {}\n", "kind: vm\nkind: vm\nname: web\n", "a: [", "hello", "kind: vm\nname: ' '\n", "kind: vm\nname: web\nlabels: [a]\n"} {
		if got, err := s.documents([]byte(text)); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}

func anObject(depth int) *rapid.Generator[map[string]any] {
	return rapid.Custom(func(r *rapid.T) map[string]any {
		out := map[string]any{}
		for _, key := range rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d"}), 0, 4).Draw(r, "keys") {
			if depth > 0 && rapid.Bool().Draw(r, "deep") {
				out[key] = anObject(depth-1).Draw(r, key)
			} else {
				out[key] = rapid.SampledFrom([]any{"x", "y", json.Number("1"), []any{"x"}, true}).Draw(r, key)
			}
		}
		return out
	})
}

// What was typed arrives, and what others changed elsewhere stays.
func TestAMergePatchMakesOneOfTheOtherAndTwoThatDoNotMeetCommute(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		base, mine, theirs := anObject(2).Draw(r, "base"), anObject(2).Draw(r, "mine"), anObject(2).Draw(r, "theirs")
		before, _ := json.Marshal(base)
		p, q := mergePatch(base, mine), mergePatch(base, theirs)
		if got := merged(base, p); !reflect.DeepEqual(got, mine) {
			r.Fatalf("%v with %v is %v, want %v", base, p, got, mine)
		}
		if len(mergePatch(mine, maps.Clone(mine))) != 0 {
			r.Fatal("nothing changed, and there is a patch")
		}
		if len(overlap("", p, q)) == 0 {
			one, other := merged(merged(base, p), q), merged(merged(base, q), p)
			if !reflect.DeepEqual(one, other) {
				r.Fatalf("%v and %v of %v do not meet, and the order matters: %v, %v", p, q, base, one, other)
			}
		}
		if after, _ := json.Marshal(base); string(before) != string(after) {
			r.Fatal("the base was changed in place")
		}
	})
}
