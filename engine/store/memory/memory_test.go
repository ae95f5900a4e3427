package memory_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/engine/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTheMemoryStorePassesTheSuite(t *testing.T) {
	storetest.Run(t, func(*testing.T) store.Store { return memory.New() })
}
