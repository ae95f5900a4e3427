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

func TestClientsListOfKindsIsCurrent(t *testing.T) {
	var now bytes.Buffer
	if err := httpapi.WriteKinds(documented(), &now); err != nil {
		t.Fatal(err)
	}
	if there, err := os.ReadFile("../../client/kinds.gen.go"); err != nil || !bytes.Equal(there, now.Bytes()) {
		t.Errorf("client/kinds.gen.go is not that of the routes (%v); run make gen and commit what it writes", err)
	}
}
