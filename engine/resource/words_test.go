package resource

import (
	"strings"
	"testing"
)

type lamp struct {
	Mode  string          `json:"mode,omitempty" enum:"on,off"`
	Parts []*lamp         `json:"parts,omitempty"`
	Named map[string]bulb `json:"named,omitempty"`
	Tags  []string        `json:"tags,omitempty" enum:"a,b"`
	bulb
}

type bulb struct {
	Tint string `json:"tint,omitempty" enum:"warm,cold"`
	Free string `json:"free,omitempty"`
}

func TestStrangeNamesTheWordThatIsNotKnown(t *testing.T) {
	for _, test := range []struct {
		spec lamp
		want string
	}{
		{lamp{}, ""},
		{lamp{Mode: "off", Tags: []string{"b", "a"}, Named: map[string]bulb{"x": {Tint: "cold", Free: "anything"}}}, ""},
		{lamp{Mode: "dim"}, `spec.mode "dim"`},
		{lamp{Tags: []string{"a", "c"}}, `spec.tags "c"`},
		{lamp{Named: map[string]bulb{"x": {Tint: "green"}}}, `spec.named.tint "green"`},
	} {
		got := Strange(&Record[lamp, struct{}]{Spec: test.spec})
		if test.want == "" && got != "" || test.want != "" && !strings.HasSuffix(got, test.want) {
			t.Errorf("%+v: %q, not %q", test.spec, got, test.want)
		}
	}
	if got := Strange(&Record[struct{}, lamp]{Status: lamp{Mode: "dim"}}); !strings.HasSuffix(got, `status.mode "dim"`) {
		t.Errorf("of a status: %q", got)
	}
}
