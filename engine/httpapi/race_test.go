package httpapi

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/virga-cloud/virga/engine/store"
)

// Each boat takes the lowest berth that nobody has: all who ask at once choose the same one.
func TestWhoChoosesTheSameAtOnceChoosesAnew(t *testing.T) {
	const asking = 8
	var chosen sync.WaitGroup // the first choices wait for each other
	chosen.Add(asking)
	var calls atomic.Int64
	y := newToy(t, func(_ *Options, routes *Routes[BoatSpec, BoatStatus]) {
		routes.Input = Creating(func(_ context.Context, c *Call, in *Draft[BoatSpec]) (*Boat, error) {
			berths := int64(len(store.Every(c.Snapshot, boats)))
			b := &Boat{Spec: BoatSpec{Sails: berths, Rig: "sloop"}}
			b.Name, b.Project = in.Name, c.Project
			routes.Specs.Create(c.Batch, b)
			if calls.Add(1) <= asking {
				chosen.Done()
				chosen.Wait()
			}
			c.Batch.Claim(store.ClaimKey(c.Project, fmt.Sprint("berth:", berths)), "taken")
			return b, nil
		})
	})
	var all sync.WaitGroup
	for n := range asking {
		all.Go(func() {
			if r := y.do("member", "POST", inA, fmt.Sprintf(`{"name":"b%d","spec":{}}`, n)); r.StatusCode != 201 {
				t.Errorf("%d %s", r.StatusCode, r.body)
			}
		})
	}
	all.Wait()
	seen := map[int64]bool{}
	for _, b := range store.Every(y.DB.Snapshot(), boats) {
		seen[b.Spec.Sails] = true
	}
	if len(seen) != asking {
		t.Fatalf("%d asked, and %d berths are taken", asking, len(seen))
	}
}
