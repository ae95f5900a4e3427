package storetest

import (
	"context"
	"testing"

	"github.com/virga-cloud/virga/engine/store"
)

// Plant commits a batch as it is: nothing is derived from its records, so that they may name what is
// not there. It is for tests of those who only read, an agent's among them: its server derives.
func Plant(t testing.TB, db *store.DB, b *store.Batch) {
	t.Helper()
	changes, err := b.Changes()
	if err == nil {
		_, err = db.Store().Commit(context.Background(), changes...)
	}
	if err == nil {
		err = db.CaughtUp(context.Background())
	}
	if err != nil {
		t.Fatal(err)
	}
}
