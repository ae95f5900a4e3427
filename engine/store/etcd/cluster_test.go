package etcd

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

// three opens a store of three servers that talk over loopback.
func three(t *testing.T) []*Store {
	t.Helper()
	var urls, cluster []string
	for i := range 3 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		urls = append(urls, "http://"+l.Addr().String())
		cluster = append(cluster, fmt.Sprintf("s%d=%s", i, urls[i]))
		l.Close()
	}
	stores, errs := make([]*Store, 3), make([]error, 3)
	var wg sync.WaitGroup
	for i := range 3 {
		c := Config{Dir: t.TempDir(), Name: fmt.Sprintf("s%d", i), PeerURL: urls[i], InitialCluster: strings.Join(cluster, ","), NoSync: true}
		wg.Go(func() { stores[i], errs[i] = Open(t.Context(), c) })
	}
	wg.Wait()
	for i, err := range errs {
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(stores[i].Close)
	}
	return stores
}

func TestAnotherServerLeadsWhenTheLeaderDies(t *testing.T) {
	stores := three(t)
	first := lead(t, stores[0], "brain")
	fence := first.Fence()
	followed := make(chan *Leadership, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		l, _ := stores[1].Lead(ctx, "brain")
		followed <- l
	}()
	time.Sleep(200 * time.Millisecond)
	if len(followed) != 0 {
		t.Fatal("two servers lead")
	}
	// The first dies without a word: nobody renews its lease, nothing is given back.
	stores[0].server.Server.HardStop()
	_ = stores[0].client.Close() // it would still pass renewals on to the others
	second := <-followed
	if second == nil {
		t.Fatal("nobody leads after the leader died")
	}
	put := store.Change{Key: thing("a"), Op: store.Put, Value: []byte("1"), Expect: store.Any}
	if _, err := stores[2].Commit(t.Context(), put, fence); !fault.Is(err, fault.Conflict) {
		t.Errorf("a commit under the dead leader's fence gives %v", err)
	}
	fence = second.Fence()
	if _, err := stores[2].Commit(t.Context(), put, fence); err != nil {
		t.Errorf("a commit under the new leader's fence gives %v", err)
	}
}

func TestCallsWhileTheStoreClosesAreUnavailable(t *testing.T) {
	s := open(t, Config{NoSync: true})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				_, err := s.Commit(context.Background(), store.Change{Key: thing("a"), Op: store.Put, Value: []byte("1"), Expect: store.Any})
				if err == nil {
					_, _, err = s.List(context.Background())
				}
				if err != nil {
					if !fault.Is(err, fault.Unavailable) {
						t.Errorf("gives %v", err)
					}
					return
				}
			}
		})
	}
	time.Sleep(50 * time.Millisecond)
	s.Close()
	wg.Wait()
}
