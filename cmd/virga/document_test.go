package main

import (
	"bytes"
	"os"
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
