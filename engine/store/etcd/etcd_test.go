package etcd

import (
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/storetest"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(childEnv); dir != "" {
		commitForEver(dir)
		return
	}
	// The server that a test stops hard leaves a handler of its own waiting for its closed database.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("go.etcd.io/etcd/server/v3/etcdserver.(*EtcdServer).StorageVersion"))
}

func open(t testing.TB, c Config) *Store {
	t.Helper()
	if c.Dir == "" {
		c.Dir = t.TempDir()
	}
	s, err := Open(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestTheEtcdStorePassesTheSuite(t *testing.T) {
	storetest.Run(t, func(t *testing.T) store.Store { return open(t, Config{NoSync: true}) })
}
