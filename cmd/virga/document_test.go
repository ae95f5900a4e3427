package main

import (
	"testing"

	"github.com/virga-cloud/virga/docs/api"
	"github.com/virga-cloud/virga/engine/httpapi/doctest"
	"github.com/virga-cloud/virga/wiring"
)

func TestEveryKindAndRouteIsDocumented(t *testing.T) {
	doctest.Complete(t, documented(), wiring.Catalog())
}

func TestTheDocumentThatIsCheckedInIsCurrent(t *testing.T) {
	doctest.Current(t, documented(), api.Document)
}
