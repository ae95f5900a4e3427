package bench

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/virga-cloud/virga/client"
	"github.com/virga-cloud/virga/compute"
)

// heard is what one watcher was told.
type heard struct {
	who        int
	generation int64
	at         time.Time
	bytes      int
}

// watch lets n watchers, each with a connection of its own, listen to VMs, changes one, and
// measures when each was told.
func (c *cloud) watch(n int) {
	c.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	told := make(chan heard, 4*n)
	var listening atomic.Int64
	const name = "fill-1"
	vm := c.get(name)
	// One connection opens the past for all: each begins after what is there.
	var page struct{ Revision int64 }
	c.ask("GET", vmsPath+"?limit=1", nil, &page)
	for who := range n {
		api := connect(c.Part, c.first)
		wg.Go(func() {
			_ = api.Follow(ctx, client.WatchOptions{Kinds: []string{"vm"}, Project: "default", After: page.Revision}, func(e client.Notice) error {
				if e.Name == "bookmark" {
					listening.Add(1)
				}
				var x struct {
					Name       string
					Generation int64
				}
				if e.Name != "change" || json.Unmarshal(e.Object, &x) != nil || x.Name != name {
					return nil
				}
				told <- heard{who, x.Generation, time.Now(), len(e.Object)}
				return nil
			})
		})
	}
	begun := time.Now()
	c.until(slow, fmt.Sprintf("%d watchers listen", n), func() bool { return listening.Load() >= int64(n) })
	c.Logf("%d watchers listen after %v", n, time.Since(begun))
	c.tell(vm, n, told)
}

// tell changes the VM some times and waits until every watcher knows.
func (c *cloud) tell(vm *compute.VM, n int, told <-chan heard) {
	c.Helper()
	var took []float64
	bytes := 0
	for i := range min(rounds(), 5) {
		begun := time.Now()
		c.ask(http.MethodPatch, vmsPath+"/"+vm.Name, map[string]any{"spec": map[string]string{"description": fmt.Sprint("change ", i)}}, vm)
		// The change of the spec is followed by one of the status: only the first counts.
		knows := map[int]bool{}
		for len(knows) < n {
			select {
			case h := <-told:
				if h.generation != vm.Generation || knows[h.who] {
					continue
				}
				knows[h.who] = true
				took, bytes = append(took, ms(h.at.Sub(begun))), h.bytes
			case <-time.After(30 * time.Second):
				c.Fatalf("%d of %d watchers were not told of a change within 30 s", n-len(knows), n)
			}
		}
	}
	c.Add(Figure{What: fmt.Sprintf("a change until each of %d watchers is told", n), Unit: "ms", Ours: Summarize(took...), Note: fmt.Sprintf("%d bytes to each", bytes)})
}

func (c *cloud) get(name string) *compute.VM {
	c.Helper()
	vm := &compute.VM{}
	c.ask("GET", vmsPath+"/"+name, nil, vm)
	return vm
}
