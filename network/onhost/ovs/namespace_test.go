package ovs

import (
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func TestEveryThreadComesHomeFromANamespace(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("makes network namespaces: it needs root")
	}
	home, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Skip(err)
	}
	path := filepath.Join(t.TempDir(), "ns")
	if err := createNamespace(path); err != nil {
		t.Skip("no namespaces here:", err)
	}
	t.Cleanup(func() {
		if err := removeNamespace(path); err != nil {
			t.Error(err)
		}
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			err := inside(path, func() error {
				if now, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || now == home {
					t.Errorf("not inside: %s, %v", now, err)
				}
				time.Sleep(time.Millisecond) // so that many threads are away at once, the first one too
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	time.Sleep(10 * time.Millisecond)
	threads, _ := filepath.Glob("/proc/self/task/*/ns/net")
	for _, thread := range threads {
		if now, err := os.Readlink(thread); err == nil && now != home {
			t.Errorf("%s is still away, in %s", thread, now)
		}
	}
}
