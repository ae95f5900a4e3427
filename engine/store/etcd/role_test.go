package etcd

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/leader"
	"github.com/virga-cloud/virga/engine/store"
)

// playing runs a role on a store until the test ends; it counts how often the role has begun.
func playing(t *testing.T, s *Store) (*leader.Role, *atomic.Int64) {
	t.Helper()
	role, begun := &leader.Role{}, &atomic.Int64{}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		role.Run(ctx, func(ctx context.Context) (leader.Term, error) { return s.Lead(ctx, "brain") }, func(ctx context.Context) {
			begun.Add(1)
			<-ctx.Done()
		})
	}()
	t.Cleanup(func() { cancel(); <-ended })
	return role, begun
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// A server that stood still wakes up and finds its lease gone. It must not end: it stands again.
func TestLeadershipIsWonAgainInTheSameProcessWhenItsLeaseWasRevoked(t *testing.T) {
	s := open(t, Config{NoSync: true})
	role, begun := playing(t, s)
	as := func() error {
		fence, err := role.Fence()
		if err == nil {
			_, err = s.Commit(t.Context(), store.Change{Key: thing("a"), Op: store.Put, Value: []byte("1"), Expect: store.Any}, fence)
		}
		return err
	}
	for term := int64(1); term <= 3; term++ {
		eventually(t, "the server leads", func() bool { return begun.Load() == term && as() == nil })
		old, _ := role.Fence()
		leases, err := s.client.Leases(t.Context())
		if err != nil || len(leases.Leases) != 1 {
			t.Fatalf("leases %v, %v", leases, err)
		}
		if _, err := s.client.Revoke(t.Context(), clientv3.LeaseID(leases.Leases[0].ID)); err != nil {
			t.Fatal(err)
		}
		put := store.Change{Key: thing("b"), Op: store.Put, Value: []byte("1"), Expect: store.Any}
		if _, err := s.Commit(t.Context(), put, old); !fault.Is(err, fault.Conflict) {
			t.Errorf("a commit of the lost term %d gives %v", term, err)
		}
		if _, err := s.Commit(t.Context(), put); err != nil {
			t.Errorf("a commit of the API, which needs no leader: %v", err)
		}
	}
}
