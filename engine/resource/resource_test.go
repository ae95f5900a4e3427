package resource

import (
	"encoding/json"
	"reflect"
	"slices"
	"testing"
	"time"
)

type boxSpec struct {
	Size  int  `json:"size"`
	Other []ID `json:"other,omitempty"`
}

type box = Record[boxSpec, struct{ Observed }]

var boxes = Define("box", "boxes", Options[boxSpec, struct{ Observed }]{
	Scope: InProject,
	Refs: func(b *box) []Ref {
		var out []Ref
		for _, id := range b.Spec.Other {
			out = append(out, Ref{Kind: "box", ID: id})
		}
		return out
	},
})

func TestARecordSurvivesTheStore(t *testing.T) {
	now := time.Unix(1_700_000_000, 0).UTC()
	r := &box{Meta: Meta{Kind: "box", ID: NewID(), Name: "a", Project: "p", Labels: map[string]string{"k": "v"}, Generation: 3, Created: now, Deleting: &now, Holders: []string{"h"}}, Spec: boxSpec{Size: 4}}
	r.Status.Problems = []Problem{{Kind: "conflict", Message: "m", Since: now}}
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	x, err := boxes.Decode(data, 42)
	if err != nil {
		t.Fatal(err)
	}
	back := x.(*box)
	if back.Revision != 42 {
		t.Errorf("revision %d is not the store's", back.Revision)
	}
	back.Revision = 0
	if !reflect.DeepEqual(back, r) {
		t.Errorf("came back as %+v", back)
	}
	if _, err := boxes.Decode([]byte("{"), 1); err == nil {
		t.Error("broken JSON is understood")
	}
}

func TestACopySharesNothing(t *testing.T) {
	r := &box{Meta: Meta{Labels: map[string]string{"k": "v"}, Holders: []string{"h"}}, Spec: boxSpec{Other: []ID{"x"}}}
	c := Copy(r)
	c.Labels["k"], c.Holders[0], c.Spec.Other[0] = "w", "i", "y"
	if r.Labels["k"] != "v" || r.Holders[0] != "h" || r.Spec.Other[0] != "x" {
		t.Errorf("the original changed: %+v", r)
	}
}

func TestIDsAreMintedInOrder(t *testing.T) {
	ids := make([]ID, 1000)
	for i := range ids {
		ids[i] = NewID()
	}
	if !slices.IsSorted(ids) || len(slices.Compact(slices.Clone(ids))) != len(ids) {
		t.Error("ids are not in the order in which they were minted")
	}
}

func TestEmptyReferencesAreDropped(t *testing.T) {
	refs := boxes.Refs(&box{Spec: boxSpec{Other: []ID{"", "a", ""}}})
	if len(refs) != 1 || refs[0].ID != "a" {
		t.Errorf("refs are %v", refs)
	}
	plain := Define("plain", "plains", Options[boxSpec, struct{}]{})
	if plain.Refs(&Record[boxSpec, struct{}]{}) != nil {
		t.Error("a kind without references has some")
	}
}

func TestACatalogKnowsEachKindOnce(t *testing.T) {
	c := NewCatalog(boxes)
	if d, ok := c.Lookup("box"); !ok || d.Plural != "boxes" || len(c.All()) != 1 {
		t.Errorf("the catalog has %v", c.All())
	}
	if _, ok := c.Lookup("none"); ok {
		t.Error("it knows what nobody defined")
	}
	defer func() {
		if recover() == nil {
			t.Error("a kind that is defined twice is accepted")
		}
	}()
	NewCatalog(boxes, boxes)
}

func TestAProblemKeepsItsBeginning(t *testing.T) {
	first, later := time.Unix(1, 0), time.Unix(2, 0)
	p := SetProblem(nil, "conflict", "m", first)
	if p = SetProblem(p, "conflict", "m", later); !p[0].Since.Equal(first) {
		t.Error("the same problem began anew")
	}
	if p = SetProblem(p, "conflict", "n", later); len(p) != 1 || !p[0].Since.Equal(later) {
		t.Errorf("another problem is %v", p)
	}
	if SetProblem(p, "", "", later) != nil {
		t.Error("the problem does not go")
	}
}
