// Package doctest proves that the OpenAPI document speaks of everything: every kind that has
// routes, every route, every kind of fault.
package doctest

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
)

type document struct {
	OpenAPI string
	Paths   map[string]map[string]struct {
		OperationID string
		Summary     string
		Tags        []string
		Right       string `json:"x-right"`
		Parameters  []struct{ Name, In string }
		Responses   map[string]any
	}
	Components struct {
		Schemas map[string]struct {
			Properties map[string]struct{ Enum []string }
		}
	}
}

var word = regexp.MustCompile(`\{([^}]*)\}`)

// Complete fails the test for everything that is missing in the document. Hidden lists the kinds
// that have no routes on purpose.
func Complete(t *testing.T, a *httpapi.API, c *resource.Catalog, hidden ...resource.Kind) {
	t.Helper()
	data, err := a.OpenAPI().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	var d document
	if err := json.Unmarshal(data, &d); err != nil {
		t.Fatal(err)
	}
	if d.OpenAPI != "3.1.0" {
		t.Errorf("version %q", d.OpenAPI)
	}
	checkKinds(t, &d, c, hidden)
	checkRoutes(t, &d)
	var kinds []string
	for _, k := range fault.Kinds() {
		kinds = append(kinds, string(k))
	}
	if got := d.Components.Schemas["Problem"].Properties["kind"].Enum; strings.Join(got, " ") != strings.Join(kinds, " ") {
		t.Errorf("the document knows the faults %v, there are %v", got, kinds)
	}
	for _, r := range a.Routes() {
		method, path, _ := strings.Cut(r, " ")
		if _, ok := d.Paths[path][strings.ToLower(method)]; !ok {
			t.Errorf("%s is served and not in the document", r)
		}
	}
}

func checkKinds(t *testing.T, d *document, c *resource.Catalog, hidden []resource.Kind) {
	t.Helper()
	secret := map[resource.Kind]bool{}
	for _, k := range hidden {
		secret[k] = true
	}
	for _, k := range c.All() {
		path := "/v1/" + k.Plural
		if k.Scope == resource.InProject {
			path = "/v1/projects/{project}/" + k.Plural
		}
		_, list := d.Paths[path]["get"]
		_, one := d.Paths[path+"/{name}"]["get"]
		if there := list && one; there == secret[k.Kind] {
			t.Errorf("kind %s: has routes: %t, shall be hidden: %t", k.Kind, there, secret[k.Kind])
		}
	}
}

func checkRoutes(t *testing.T, d *document) {
	t.Helper()
	ids := map[string]string{}
	for path, methods := range d.Paths {
		for method, r := range methods {
			where := method + " " + path
			if first, twice := ids[r.OperationID]; twice || r.OperationID == "" {
				t.Errorf("%s has the operation id %q, as has %s", where, r.OperationID, first)
			}
			ids[r.OperationID] = where
			if r.Summary == "" || r.Right == "" || len(r.Tags) == 0 || len(r.Responses) < 2 {
				t.Errorf("%s lacks a summary, a right, a tag, or the answer of an error", where)
			}
			for _, m := range word.FindAllStringSubmatch(path, -1) {
				n := 0
				for _, p := range r.Parameters {
					if p.In == "path" && p.Name == m[1] {
						n++
					}
				}
				if n != 1 {
					t.Errorf("%s describes its parameter %s %d times", where, m[1], n)
				}
			}
		}
	}
}

// Current fails the test when the document that is checked in is not the one of the routes.
func Current(t *testing.T, a *httpapi.API, checkedIn []byte) {
	t.Helper()
	var now bytes.Buffer
	if err := httpapi.WriteOpenAPI(a, &now); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(now.Bytes(), checkedIn) {
		t.Error("docs/api/openapi.yaml is not that of the routes; run go generate ./client and commit what it writes")
	}
}
