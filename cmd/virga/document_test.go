package main

import (
	"bytes"
	"os"
	"slices"
	"testing"

	"github.com/virga-cloud/virga/docs/api"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/httpapi/doctest"
	"github.com/virga-cloud/virga/wiring"
)

func TestEveryKindAndRouteIsDocumented(t *testing.T) {
	doctest.Complete(t, documented(), wiring.Catalog())
}

func TestTheDocumentThatIsCheckedInIsCurrent(t *testing.T) {
	doctest.Current(t, documented(), api.Document)
}

// What a tenant can make without an end, a quota can limit.
func TestAQuotaMayLimitWhateverATenantMakes(t *testing.T) {
	routes := documented().Routes()
	for _, d := range wiring.Catalog().All() {
		made := slices.Contains(routes, "POST /v1/projects/{project}/"+d.Plural)
		if counted := slices.Contains(d.Totals, d.Plural); made != counted {
			t.Errorf("kind %s: there is a route that makes one: %v; it counts as one of %q: %v; see Counts of its kind", d.Kind, made, d.Plural, counted)
		}
	}
}

func TestTheTableOfActionsIsCurrent(t *testing.T) {
	var now bytes.Buffer
	if err := httpapi.WriteActions(documented(), &now); err != nil {
		t.Fatal(err)
	}
	if there, err := os.ReadFile("../../docs/api/actions.md"); err != nil || !bytes.Equal(there, now.Bytes()) {
		t.Errorf("docs/api/actions.md is not that of the routes (%v); run make gen and commit what it writes", err)
	}
}

func TestClientsListOfKindsIsCurrent(t *testing.T) {
	var now bytes.Buffer
	if err := httpapi.WriteKinds(documented(), &now); err != nil {
		t.Fatal(err)
	}
	if there, err := os.ReadFile("../../client/kinds.gen.go"); err != nil || !bytes.Equal(there, now.Bytes()) {
		t.Errorf("client/kinds.gen.go is not that of the routes (%v); run make gen and commit what it writes", err)
	}
}
