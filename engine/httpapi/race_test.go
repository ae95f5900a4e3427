package httpapi

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Each boat takes the lowest berth that nobody has: all who ask at once choose the same one.
func TestWhoChoosesTheSameAtOnceChoosesAnew(t *testing.T) {
	const asking = 8
	var chosen sync.WaitGroup // the first choices wait for each other
	chosen.Add(asking)
	var calls atomic.Int64
	y := newToy(t, func(_ *Options, routes *Routes[BoatSpec, BoatStatus]) {
		routes.Creating = func(_ context.Context, c *Call, b *Boat) error {
			berths := int64(len(store.Every(c.Snapshot, boats)))
			b.Spec.Sails, b.Spec.Rig = berths, "sloop"
			if calls.Add(1) <= asking {
				chosen.Done()
				chosen.Wait()
			}
			c.Batch.Claim(store.ClaimKey(c.Project, fmt.Sprint("berth:", berths)), "taken")
			return nil
		}
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

// Who asks at once sees the same totals: without a line, all would be let in. Project b has no quota.
func TestAQuotaHoldsAlsoWhereManyAskAtOnce(t *testing.T) {
	const most, asking = 10, 24
	y := newToy(t, func(o *Options, _ *Routes[BoatSpec, BoatStatus]) {
		o.Note = func(*Call, string, *resource.Meta) { time.Sleep(2 * time.Millisecond) } // others come in between
	})
	y.DB.Quota = func(s *store.Snapshot, project resource.ID) func(map[string]int64) error {
		if project != "a" {
			return nil
		}
		return func(growth map[string]int64) error {
			if has := s.Total(project, "sails"); growth["sails"] > 0 && has+growth["sails"] > most {
				return fault.New(fault.Exhausted, "%d sails are used, the quota is %d", has, most)
			}
			return nil
		}
	}
	var all sync.WaitGroup
	var made, refused atomic.Int64
	for n := range asking {
		all.Go(func() {
			switch r := y.do("root", "POST", inA, fmt.Sprintf(`{"name":"b%d","spec":{"sails":2}}`, n)); r.StatusCode {
			case 201:
				made.Add(1)
			case 507:
				refused.Add(1)
			default:
				t.Errorf("%d %s", r.StatusCode, r.body)
			}
			if r := y.do("root", "POST", strings.Replace(inA, "/a/", "/b/", 1), fmt.Sprintf(`{"name":"b%d","spec":{"sails":2}}`, n)); r.StatusCode != 201 {
				t.Errorf("in a project without a quota: %d %s", r.StatusCode, r.body)
			}
		})
	}
	all.Wait()
	if made.Load() != most/2 || refused.Load() != asking-most/2 || y.DB.Snapshot().Total("a", "sails") != most {
		t.Errorf("%d were made, %d refused, the total is %d", made.Load(), refused.Load(), y.DB.Snapshot().Total("a", "sails"))
	}
	// What grows by a change is judged too, and what shrinks never is.
	var b Boat
	for _, x := range store.Every(y.DB.Snapshot(), boats) {
		if x.Project == "a" {
			b = *x
		}
	}
	for sails, want := range map[int]int{9: 507, 1: 200} {
		if r := y.do("root", "PATCH", inA+"/"+b.Name, fmt.Sprintf(`{"spec":{"sails":%d}}`, sails)); r.StatusCode != want {
			t.Errorf("%d sails: %d %s", sails, r.StatusCode, r.body)
		}
	}
}
