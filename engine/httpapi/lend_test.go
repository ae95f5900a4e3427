package httpapi

import (
	"net/http"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func TestLentRecordsAreReadByTheirNameAndNeverChanged(t *testing.T) {
	y := newToy(t, func(_ *Options, r *Routes[BoatSpec, BoatStatus]) {
		r.Lending = Lending[BoatSpec, BoatStatus]{
			To: func(_ *store.Snapshot, project resource.ID, b *Boat) bool {
				return project == "a" && b.Labels["lent"] == "yes"
			},
		}
	})
	make := func(project, name, labels, note string) *Boat {
		var b Boat
		y.want(201, y.do("root", "POST", "/v1/projects/"+project+"/boats", `{"name":"`+name+`","labels":{`+labels+`},"spec":{"sails":1,"note":"`+note+`"}}`)).into(t, &b)
		return &b
	}
	const lent = `"lent":"yes"`
	theirs := make("b", "swan", lent, "secret")
	make("b", "gull", "", "")
	make("b", "tern", lent, "")
	own := make("a", "tern", "", "mine")

	for path, id := range map[string]string{"swan": string(theirs.ID), "b%2Fswan": string(theirs.ID), string(theirs.ID): string(theirs.ID), "tern": string(own.ID)} {
		var b Boat
		y.want(200, y.do("member", "GET", "/v1/projects/a/boats/"+path, "")).into(t, &b)
		if string(b.ID) != id || b.ID == theirs.ID && b.Spec.Note != "" {
			t.Errorf("%s: %+v", path, b)
		}
	}
	var page Page[BoatSpec, BoatStatus]
	y.want(200, y.do("member", "GET", "/v1/projects/a/boats", "")).into(t, &page)
	if len(page.Items) != 3 || strings.Contains(page.Items[0].Spec.Note, "secret") {
		t.Errorf("the list has %d: %+v", len(page.Items), page.Items)
	}
	for method, path := range map[string]string{"GET": "gull", "DELETE": "swan", "PATCH": string(theirs.ID), "POST": "b%2Fswan/sail"} {
		if r := y.do("member", method, "/v1/projects/a/boats/"+path, `{}`); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s %s: %d %s", method, path, r.StatusCode, r.body)
		}
	}
}
