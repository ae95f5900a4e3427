package placement

import (
	"context"
	"fmt"
	"sync"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Gate is the one place where claims are made. It decides from a State that follows the view, counts
// the claim there at once, and commits it with the leader's fence; nobody waits for the commit of
// another, and a claim whose commit failed is given back.
type Gate struct {
	db     *store.DB
	claims *store.SpecWriter[ClaimSpec, ClaimStatus]

	mu   sync.Mutex
	feed *Feed
}

// NewGate makes the gate.
func NewGate(db *store.DB, claims *store.SpecWriter[ClaimSpec, ClaimStatus]) *Gate {
	g := &Gate{db: db, claims: claims}
	g.mu.Lock()
	defer g.mu.Unlock()
	db.Subscribe(func(deltas []store.Delta) {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.feed.Apply(deltas)
	})
	g.feed = NewFeed(db.Snapshot())
	return g
}

// Check says whether there is a host now, and promises nothing.
func (g *Gate) Check(r Request) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	_, err := g.feed.Choose(&r)
	return err
}

// State gives a copy to try things out on.
func (g *Gate) State() *State {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.feed.Clone()
}

// Place chooses a host and commits the claim together with what fill adds, or nothing.
func (g *Gate) Place(ctx context.Context, r Request, fill func(*store.Batch, Choice) error) error {
	id := resource.NewID()
	chosen, err := g.reserve(id, &r)
	if err != nil {
		return err
	}
	b := g.db.Begin()
	claim := &Claim{Spec: ClaimSpec{
		Workload: r.Workload, HostID: chosen.HostID, Demand: r.Demand, NUMA: chosen.NUMA, AffinityRuleIDs: r.ruleIDs(), Epoch: r.Epoch,
		Why: fmt.Sprintf("%s; %s had capacity (%d of %d vCPUs, %d of %d MiB free before)", r.Why, chosen.Host,
			chosen.Free.CPUs, chosen.Total.CPUs, chosen.Free.MemoryMiB, chosen.Total.MemoryMiB),
	}}
	claim.ID, claim.Project = id, r.Workload.Project
	claim.Name = fmt.Sprintf("%s-%d", r.Workload.ID, r.Epoch)
	g.claims.Create(b, claim)
	if err = fill(b, chosen); err == nil {
		err = g.db.Commit(ctx, b)
	}
	if err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.feed.Cancel(id)
	}
	return err
}

func (g *Gate) reserve(id resource.ID, r *Request) (Choice, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	chosen, err := g.feed.Choose(r)
	if err == nil {
		g.feed.Reserve(id, chosen, r)
	}
	return chosen, err
}

// Resize gives the claim of a workload another demand, which its host must have, in one commit with what
// fill adds, or does nothing. Name is how people call the workload.
func (g *Gate) Resize(ctx context.Context, c *Claim, name string, to Demand, fill func(*store.Batch) error) error {
	if err := g.resize(c, name, to, true); err != nil {
		return err
	}
	b := g.db.Begin()
	g.claims.Set(b, c, func(s *ClaimSpec) { s.Demand = to })
	err := fill(b)
	if err == nil {
		err = g.db.Commit(ctx, b)
	}
	if err != nil {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.feed.Cancel(c.ID)
	}
	return err
}

// CheckResize says whether the claim could have another demand now, and promises nothing.
func (g *Gate) CheckResize(c *Claim, name string, to Demand) error {
	return g.resize(c, name, to, false)
}

func (g *Gate) resize(c *Claim, name string, to Demand, reserve bool) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, there := g.feed.claims[c.ID]; !there {
		return fault.New(fault.Conflict, "resize %s: its claim on a host is gone; try again", name)
	}
	err := g.feed.Grow(c.Spec.HostID, name, c.Spec.Demand, to)
	if err == nil && reserve {
		g.feed.Resize(c.ID, to)
	}
	return err
}

// SetRules says which affinity rules the workload of a claim is in now. A host that it has is not taken from it.
func (g *Gate) SetRules(b *store.Batch, c *Claim, rules []resource.ID) {
	g.claims.Set(b, c, func(s *ClaimSpec) { s.AffinityRuleIDs = rules })
}

// Release gives back what a workload has claimed on hosts other than keep.
func (g *Gate) Release(b *store.Batch, workload resource.Ref, keep resource.ID) {
	for _, c := range store.Referring(g.db.Snapshot(), Claims, workload.ID) {
		if c.Spec.HostID != keep {
			g.claims.Delete(b, c)
		}
	}
}
