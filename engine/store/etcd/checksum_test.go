package etcd

import (
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func TestADamagedEntryIsToldAsDamaged(t *testing.T) {
	s := open(t, Config{NoSync: true})
	key := resource.Ref{Kind: "vm", Project: "p", ID: "x"}
	start, err := s.Commit(t.Context(), store.Change{Key: key, Op: store.Put, Value: []byte(`{"name":"web"}`)})
	if err != nil {
		t.Fatal(err)
	}
	r, err := s.client.Get(t.Context(), encode(key))
	if err != nil {
		t.Fatal(err)
	}
	w, err := s.Watch(t.Context(), start)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	stored := r.Kvs[0].Value
	stored[3] ^= 4
	if _, err := s.client.Put(t.Context(), encode(key), string(stored)); err != nil {
		t.Fatal(err)
	}
	e, err := s.Get(t.Context(), key)
	if err != nil || !store.Damaged(e.Value) {
		t.Errorf("read is %q, %v", e.Value, err)
	}
	all, _, err := s.List(t.Context())
	if err != nil || len(all) != 1 || !store.Damaged(all[0].Value) {
		t.Errorf("listed is %v, %v", all, err)
	}
	told := <-w.Changes()
	if len(told.Events) != 1 || !store.Damaged(told.Events[0].Value) || string(told.Events[0].Old) != `{"name":"web"}` {
		t.Errorf("told is %v", told)
	}
}
