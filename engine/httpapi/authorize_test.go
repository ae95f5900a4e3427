package httpapi

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// A caller of any rights is told by lists and watches of exactly those records that Authorize lets them read.
func TestListsAndWatchesTellExactlyWhatAuthorizePermits(t *testing.T) {
	y := newToy(t, func(o *Options, _ *Routes[BoatSpec, BoatStatus]) {
		o.Authenticate = func(r *http.Request) (c Caller, err error) {
			return c, json.Unmarshal([]byte(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")), &c)
		}
	})
	root := string(encoded(people["root"]))
	var all []*Boat
	for _, where := range []string{"a/ann", "a/bea", "b/ann", "b/cat"} {
		project, name, _ := strings.Cut(where, "/")
		all = append(all, y.boat(root, project, name))
	}
	rapid.Check(t, func(t *rapid.T) {
		c := Caller{User: "x", Right: rapid.SampledFrom([]Right{"", Read, Write, Admin}).Draw(t, "right"),
			Project: rapid.SampledFrom([]resource.ID{"", "a", "b"}).Draw(t, "limit"), Host: rapid.SampledFrom([]resource.ID{"", "1"}).Draw(t, "host")}
		project := rapid.SampledFrom([]resource.ID{"", "a", "b"}).Draw(t, "project")
		path := "/v1/boats"
		if project != "" {
			path = "/v1/projects/" + string(project) + "/boats"
		}
		r := y.do(string(encoded(c)), "GET", path, "")
		whole := y.Authorize(c, "boat.read", resource.Ref{Kind: "boat", Project: project}) == nil
		if whole != (r.StatusCode == http.StatusOK) || !whole && r.StatusCode != http.StatusForbidden {
			t.Fatalf("%+v lists %q: %d, and Authorize says %t", c, project, r.StatusCode, whole)
		}
		var page Page[BoatSpec, BoatStatus]
		_ = json.Unmarshal(r.body, &page)
		watch := &stream{api: y.API, caller: c, kinds: map[resource.Kind]*kindRoutes{"boat": y.kinds["boat"]}}
		for _, b := range all {
			may := y.Authorize(c, "boat.read", b.Ref()) == nil
			listed := slices.ContainsFunc(page.Items, func(x *Boat) bool { return x.ID == b.ID })
			if want := whole && may && (project == "" || project == b.Project); listed != want {
				t.Errorf("%+v lists %s of %s: %t, want %t", c, b.Name, b.Project, listed, want)
			}
			if told := watch.see(store.Event{Key: b.Ref(), Value: encoded(b)}, b.Revision) != nil; told != may {
				t.Errorf("%+v is told of %s of %s: %t, want %t", c, b.Name, b.Project, told, may)
			}
		}
	})
}

func TestRefusalsNameTheMissingActionAndWhoGrantsIt(t *testing.T) {
	y := newToy(t)
	y.boat("root", "a", "ann")
	for call, want := range map[string]string{
		"viewer POST /v1/projects/a/boats/ann/sail": "viewer lacks the action boat.sail in project a, which the role member has; an administrator grants it: virga token create --role member --project a",
		"viewer DELETE /v1/projects/a/boats/ann":    "boat.delete in project a",
		"viewer PATCH /v1/projects/a/boats/ann":     "boat.update in project a",
		"member GET /v1/projects/b/boats/ann":       "boat.read in project b, which the role viewer has",
		"member GET /v1/harbours":                   "harbour.read in the cloud, which administrators alone have",
		"host GET /v1/projects/a/boats":             "lacks the action boat.read in project a: a host may not do this",
	} {
		words := strings.SplitN(call, " ", 3)
		p := y.want(http.StatusForbidden, y.do(words[0], words[1], words[2], "")).problem(t)
		if !strings.Contains(p.Detail, want) || p.Kind != fault.Denied {
			t.Errorf("%s: %s; want %s", call, p.Detail, want)
		}
	}
}

func TestEveryRouteHasAnActionAndAnUnknownOneIsRefused(t *testing.T) {
	y := newToy(t)
	var table []string
	for _, p := range y.actions {
		table = append(table, p.Routes...)
	}
	for _, route := range y.Routes() {
		if !slices.Contains(table, route) {
			t.Errorf("%s is in the table of no action", route)
		}
	}
	if err := y.Authorize(people["root"], "boat.sink", resource.Ref{}); !fault.Is(err, fault.Internal) {
		t.Errorf("an action that no route has: %v", err)
	}
}
