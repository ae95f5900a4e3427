package storetest

import (
	"fmt"
	"math/rand/v2"
	"sync"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

const most = 20 // that the project may have

func limited(snap *store.Snapshot, project resource.ID) func(map[string]int64) error {
	return func(growth map[string]int64) error {
		if has := snap.Total(project, "size"); growth["size"] > 0 && has+growth["size"] > most {
			return fault.New(fault.Exhausted, "%d are used, %d more are wanted", has, growth["size"])
		}
		return nil
	}
}

// used counts what the project has, and says when that is too much or not what the total says.
func (v *server) used() (sum int64) {
	snap := v.db.Snapshot()
	for x := range snap.OfKind("dish") {
		sum += x.(*toy).Spec.Size
	}
	if sum > most || sum != snap.Total("h", "size") {
		v.Errorf("%d are used, the total says %d, the quota is %d", sum, snap.Total("h", "size"), most)
	}
	return sum
}

// eat makes, changes or removes a dish at random.
func (v *server) eat(r *rand.Rand, mine int) {
	id := fmt.Sprint("dish", mine, "-", r.IntN(5))
	b := v.db.Begin()
	switch x := v.find(id); {
	case x == nil:
		v.writers["dish"].Create(b, &toy{Meta: resource.Meta{ID: resource.ID(id), Name: id, Project: "h"}, Spec: toySpec{Size: 1 + r.Int64N(4)}})
	case r.IntN(2) == 0:
		v.writers["dish"].Set(b, x, func(s *toySpec) { s.Size = r.Int64N(9) })
	default:
		v.writers["dish"].Delete(b, x)
	}
	if err := v.db.Commit(v.ctx, b); err != nil && !fault.Is(err, fault.Exhausted) && !fault.Is(err, fault.Conflict) {
		v.Errorf("commit: %v", err)
	}
}

// quota lets several servers write at random; the project never has more than its quota, and in the end
// exactly as much free as it has not used.
func quota(s *suite) {
	servers := s.servers(2)
	var wg sync.WaitGroup
	for n := range 8 {
		v := servers[n%2]
		v.db.Quota = limited
		r := rand.New(rand.NewPCG(1, uint64(n)))
		wg.Go(func() {
			for range 25 {
				v.eat(r, n)
				v.used()
			}
		})
	}
	wg.Wait()
	v := servers[0]
	v.must(v.db.CaughtUp(s.ctx))
	free := most - v.used()
	if err := v.create("dish", "more", toySpec{Size: free + 1}); !fault.Is(err, fault.Exhausted) {
		s.Errorf("one more than there is free for gives %v", err)
	}
	v.must(v.create("dish", "last", toySpec{Size: free}))
}
