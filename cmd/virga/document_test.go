package main

import (
	"testing"

	"github.com/virga-cloud/virga/docs/api"
	"github.com/virga-cloud/virga/engine/httpapi/doctest"
	"github.com/virga-cloud/virga/engine/store"
)

func TestEveryKindAndRouteIsDocumented(t *testing.T) {
	doctest.Complete(t, documented(), catalog())
}

func TestTheDocumentThatIsCheckedInIsCurrent(t *testing.T) {
	doctest.Current(t, documented(), api.Document)
}

func TestEveryRightIsHandedOutOnce(t *testing.T) {
	l := store.NewLedger()
	newServerRights(l)
	if err := l.Err(); err != nil {
		t.Error(err)
	}
}
