package store

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
)

type lampSpec struct {
	HostIDs []resource.ID `json:"hostIDs,omitempty"`
	Hosts   string        `json:"hosts,omitempty"`
	Light   string        `json:"light,omitempty" enum:"on,off"`
}

type lamp = resource.Record[lampSpec, struct{}]

var lamps = resource.Define("lamp", "lamps", resource.Options[lampSpec, struct{}]{
	Scope: resource.InCloud, Reach: resource.NamedHost,
	Refs: func(l *lamp) (out []resource.Ref) {
		for _, id := range l.Spec.HostIDs {
			out = append(out, resource.Ref{Kind: "host", ID: id})
		}
		return out
	},
	Takes: func(l *lamp) []string { return []string{"lamp:" + l.Name} },
})

// What the view has read tells the same hosts as reading it again, whatever happens to the records; also
// where it had read an older form only, as what came between was a newer version's.
func TestWhoIsConcernedIsKnownWithoutReadingAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := NewView(nil, resource.NewCatalog(lamps))
		there := map[resource.Ref][]byte{}
		fromView := 0
		for revision := int64(1); revision < 40; revision++ {
			c := Changes{Revision: revision}
			for _, n := range rapid.SliceOfNDistinct(rapid.IntRange(0, 4), 1, 3, rapid.ID).Draw(t, "which") {
				ref := resource.Ref{Kind: "lamp", ID: resource.ID(fmt.Sprint("l", n))}
				e := Event{Key: ref, Old: there[ref]}
				if e.Old == nil || rapid.IntRange(0, 3).Draw(t, "goes") > 0 {
					spec := lampSpec{
						Light:   rapid.SampledFrom([]string{"on", "off", "glowing"}).Draw(t, "light"), // the last is a newer version's
						HostIDs: rapid.SliceOfNDistinct(rapid.SampledFrom([]resource.ID{"h1", "h2", "h3"}), 0, 3, rapid.ID).Draw(t, "hosts"),
					}
					x := &lamp{Meta: resource.Meta{Kind: "lamp", ID: ref.ID, Name: string(ref.ID)}, Spec: spec}
					value, err := resource.Encode(x)
					if err != nil {
						t.Fatal(err)
					}
					e.Value = stamp(value, spec.HostIDs)
				}
				there[ref] = e.Value
				c.Events = append(c.Events, e)
			}
			read := map[resource.Ref]Delta{}
			var readings []reading
			for _, e := range c.Events {
				readings = append(readings, v.readEvent(e, revision))
			}
			v.apply(revision, readings, read)
			fromView += len(read)
			if got, want := narrow(v.catalog, c, read), narrow(v.catalog, c, nil); !reflect.DeepEqual(got, want) {
				t.Fatalf("revision %d concerns %v, read again %v", revision, got, want)
			}
		}
		if fromView == 0 {
			t.Fatal("the view has read nothing")
		}
	})
}

func TestHostsAreWrittenBesideARecord(t *testing.T) {
	for name, c := range map[string]struct {
		value string
		hosts []resource.ID
		want  string
	}{
		"none":                    {`{"id":"l"}`, nil, `{"id":"l"}`},
		"two":                     {`{"id":"l"}`, []resource.ID{"a", "b"}, `{"id":"l","hosts":["a","b"]}`},
		"others stood there":      {`{"id":"l","hosts":["x"]}`, []resource.ID{"a"}, `{"hosts":["a"],"id":"l"}`},
		"they are gone":           {`{"id":"l","hosts":["x"]}`, nil, `{"id":"l"}`},
		"a field is called so":    {`{"id":"l","spec":{"hosts":"x"}}`, []resource.ID{"a"}, `{"hosts":["a"],"id":"l","spec":{"hosts":"x"}}`},
		"it is no record":         {`{}`, []resource.ID{"a"}, `{"hosts":["a"]}`},
		"it is nothing":           {``, []resource.ID{"a"}, ``},
		"it is damaged":           {`{"id":`, []resource.ID{"a"}, `{"id":`},
		"one with a strange name": {`{"id":"l"}`, []resource.ID{`"`}, `{"id":"l","hosts":["\""]}`},
	} {
		if got := string(stamp([]byte(c.value), c.hosts)); got != c.want {
			t.Errorf("%s: %s, not %s", name, got, c.want)
		}
	}
}
