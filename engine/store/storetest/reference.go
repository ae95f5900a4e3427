package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// The toy kinds: a dish is in a restaurant (the project), is served at a table and eaten with the one
// fork; a bill follows its dish.
type (
	toySpec struct {
		// Table, Fork and Dish are what it needs.
		Table, Fork, Dish resource.ID
		// Seat is the one that it has at its table.
		Seat string
		// Size is what it counts.
		Size int64
	}
	toy = resource.Record[toySpec, struct{}]
)

var (
	houses = resource.Define("house", "houses", resource.Options[toySpec, struct{}]{Scope: resource.InCloud, Tenant: true})
	tables = resource.Define("table", "tables", resource.Options[toySpec, struct{}]{Scope: resource.InProject})
	forks  = resource.Define("fork", "forks", resource.Options[toySpec, struct{}]{Scope: resource.InProject})
	dishes = resource.Define("dish", "dishes", resource.Options[toySpec, struct{}]{
		Scope: resource.InProject,
		Needs: func(d *toy) []resource.Need {
			return []resource.Need{
				{Ref: resource.Ref{Kind: "table", Project: d.Project, ID: d.Spec.Table}},
				{Ref: resource.Ref{Kind: "fork", Project: d.Project, ID: d.Spec.Fork}, Tie: resource.Alone},
			}
		},
		Takes: func(d *toy) []string {
			if d.Spec.Seat == "" {
				return nil
			}
			return []string{"seat:" + string(d.Spec.Table) + ":" + d.Spec.Seat}
		},
		Counts: map[string]func(*toy) int64{"dishes": resource.One[toySpec, struct{}], "size": func(d *toy) int64 { return d.Spec.Size }},
	})
	bills = resource.Define("bill", "bills", resource.Options[toySpec, struct{}]{
		Scope: resource.InProject,
		Needs: func(b *toy) []resource.Need {
			return []resource.Need{{Ref: resource.Ref{Kind: "dish", Project: b.Project, ID: b.Spec.Dish}, Tie: resource.Following}}
		},
	})
	toys = resource.NewCatalog(houses, tables, forks, dishes, bills)
)

// server is one of several that work on the same store.
type server struct {
	*suite
	db      *store.DB
	writers map[resource.Kind]*store.SpecWriter[toySpec, struct{}]
}

// servers opens them on the store of the suite; one that derives by itself has its servers elsewhere.
func (s *suite) servers(n int) []*server {
	if below, can := s.Store.(store.Deriving); can && below.Derives() {
		s.Skip("an agent's store: its server derives")
	}
	var out []*server
	for range n {
		v := &server{suite: s, db: store.NewDB(s.Store, toys), writers: map[resource.Kind]*store.SpecWriter[toySpec, struct{}]{}}
		for _, t := range []*resource.Type[toySpec, struct{}]{houses, tables, forks, dishes, bills} {
			v.writers[t.Kind] = store.Specs(store.NewRegistry(), t, "test")
		}
		ctx, cancel := context.WithCancel(s.ctx)
		var wg sync.WaitGroup
		wg.Go(func() { _ = v.db.Run(ctx) })
		s.Cleanup(func() { cancel(); wg.Wait() })
		out = append(out, v)
	}
	out[0].must(out[0].create("house", "h", toySpec{}))
	for _, v := range out {
		v.must(v.db.CaughtUp(s.ctx))
	}
	return out
}

func (v *server) must(err error) {
	v.Helper()
	if err != nil {
		v.Fatal(err)
	}
}

// create makes a record with the id; all but a bill have a holder, so that they stay a while when they are deleted.
func (v *server) create(kind resource.Kind, id string, spec toySpec) error {
	b := v.db.Begin()
	v.add(b, kind, id, spec)
	return v.db.Commit(v.ctx, b)
}

func (v *server) add(b *store.Batch, kind resource.Kind, id string, spec toySpec) {
	r := &toy{Meta: resource.Meta{ID: resource.ID(id), Name: id, Project: "h"}, Spec: spec}
	if kind == "house" {
		r.Project = ""
	}
	if kind == "bill" {
		v.writers[kind].Create(b, r)
		return
	}
	v.writers[kind].Create(b, r, "waiter")
}

func (v *server) find(id string) *toy {
	r, _ := v.db.Snapshot().Lookup(resource.ID(id)).(*toy)
	return r
}

func (v *server) remove(id string) error {
	r := v.find(id)
	if r == nil {
		return nil
	}
	b := v.db.Begin()
	v.writers[r.Kind].Delete(b, r)
	return v.db.Commit(v.ctx, b)
}

// release lets a deleted record go, when nobody follows it any more.
func (v *server) release(id string) error {
	r := v.find(id)
	if r == nil || r.Deleting == nil {
		return nil
	}
	for range v.db.Snapshot().Mentioning(r.ID) {
		return nil
	}
	b := v.db.Begin()
	store.Release(b, r, "waiter")
	return v.db.Commit(v.ctx, b)
}

// race does all at once and reports what succeeded; what is refused must be refused in its words.
func (s *suite) race(all ...func() error) (won []bool) {
	won = make([]bool, len(all))
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i, do := range all {
		wg.Go(func() {
			<-start
			err := do()
			won[i] = err == nil
			switch fault.KindOf(err) {
			case "", fault.Precondition, fault.NotFound, fault.Conflict:
			default:
				s.Errorf("refused with %v (%s)", err, fault.KindOf(err))
			}
		})
	}
	close(start)
	wg.Wait()
	return won
}

func count(won []bool) (n int) {
	for _, w := range won {
		if w {
			n++
		}
	}
	return n
}

func presentAndSince(s *suite) {
	s.refuse(fault.Conflict, check("a", store.Present))
	first := s.commit(put("a", "one", store.Absent))
	second := s.commit(put("b", "one", store.Absent), check("a", store.Present))
	untouched := func(id string, since int64) store.Change {
		return store.Change{Key: key(id), Op: store.Check, Expect: store.Any, Since: since}
	}
	s.commit(put("c", "one", store.Absent), untouched("a", first), untouched("b", second), untouched("absent", 1))
	s.commit(put("a", "two", store.Present))
	s.refuse(fault.Conflict, put("d", "one", store.Absent), untouched("a", second))
	s.refuse(fault.Conflict, store.Change{Key: key("a"), Op: store.Delete, Expect: store.Any, Since: first})
	if s.text("d") != "" || s.text("a") == "" {
		s.Fatal("a refused commit has done something")
	}
}

func hiddenKeys(s *suite) {
	start := s.commit(put("seed", "x", store.Absent))
	w := s.watch(start)
	touch := store.TouchKey(key("seed"))
	s.commit(put("a", "x", store.Absent), store.Change{Key: touch, Op: store.Put, Expect: store.Any})
	last := s.commit(put("b", "x", store.Absent))
	for told := int64(0); told < last; {
		c := s.next(w)
		told = c.Revision
		for _, e := range c.Events {
			if e.Key.Kind != "thing" {
				s.Errorf("the watch tells of %s", e.Key)
			}
		}
	}
	all, _, err := s.List(s.ctx)
	if err != nil || len(all) != 3 {
		s.Errorf("a list of everything gives %v, %v", all, err)
	}
	if below, can := s.Store.(store.Deriving); can && below.Derives() {
		return
	}
	if asked, _, err := s.List(s.ctx, store.TouchKind); err != nil || len(asked) != 1 || asked[0].Key != touch {
		s.Errorf("who asks for them gets %v, %v", asked, err)
	}
}

func oneUser(s *suite) {
	servers := s.servers(2)
	for round := range 10 {
		fork := fmt.Sprint("fork", round)
		servers[0].must(servers[0].create("fork", fork, toySpec{}))
		var all []func() error
		for i := range 8 {
			v := servers[i%2]
			all = append(all, func() error {
				return v.create("dish", fmt.Sprintf("dish%d-%d", round, i), toySpec{Fork: resource.ID(fork)})
			})
		}
		if won := s.race(all...); count(won) != 1 {
			s.Fatalf("%d of 8 have the one fork", count(won))
		}
	}
	v := servers[0]
	v.must(v.db.CaughtUp(s.ctx))
	if err := v.create("dish", "late", toySpec{Fork: "fork0"}); !fault.Is(err, fault.Precondition) {
		s.Errorf("who comes late is told %v", err)
	}
	if err := v.remove("fork0"); !fault.Is(err, fault.Precondition) {
		s.Errorf("the deletion of a used fork gives %v", err)
	}
	for x := range v.db.Snapshot().Mentioning("fork0") { // it goes, and the fork is free
		v.must(v.remove(string(x.Head().ID)))
		v.must(v.release(string(x.Head().ID)))
	}
	v.must(v.create("dish", "late", toySpec{Fork: "fork0"}))
	b := v.db.Begin() // and so it is when its user takes another
	v.must(v.create("fork", "other", toySpec{}))
	v.writers["dish"].Set(b, v.find("late"), func(s *toySpec) { s.Fork = "other" })
	v.must(v.db.Commit(s.ctx, b))
	v.must(v.create("dish", "later", toySpec{Fork: "fork0"}))
}

// neededAndDeleted creates users of a record from all sides while it is deleted.
func neededAndDeleted(s *suite) {
	servers := s.servers(2)
	for round := range 20 {
		table := fmt.Sprint("table", round)
		servers[0].must(servers[0].create("table", table, toySpec{}))
		servers[1].must(servers[1].db.CaughtUp(s.ctx))
		all := []func() error{func() error { return servers[0].remove(table) }}
		for i := range 4 {
			v := servers[i%2]
			all = append(all, func() error {
				return v.create("dish", fmt.Sprintf("dish%d-%d", round, i), toySpec{Table: resource.ID(table)})
			})
		}
		won := s.race(all...)
		if users := count(won[1:]); won[0] && users > 0 {
			s.Fatalf("the table is being deleted, and has %d dishes", users)
		} else if !won[0] && users == 0 {
			s.Fatal("the table is not deleted for dishes that are not there either")
		}
	}
}

func projectDeleted(s *suite) {
	servers := s.servers(2)
	for round := range 10 {
		all := []func() error{func() error { return servers[0].remove("h") }}
		for i := range 4 {
			v := servers[i%2]
			all = append(all, func() error { return v.create("table", fmt.Sprintf("t%d-%d", round, i), toySpec{}) })
		}
		won := s.race(all...)
		if made := count(won[1:]); won[0] && made > 0 {
			s.Fatalf("the project is being deleted, and got %d tables", made)
		} else if won[0] {
			break
		}
		for i := range 4 {
			servers[0].must(servers[0].db.CaughtUp(s.ctx))
			id := fmt.Sprintf("t%d-%d", round, i)
			servers[0].must(servers[0].remove(id))
			servers[0].must(servers[0].release(id))
		}
	}
	servers[0].must(servers[0].remove("h"))
	for _, v := range servers {
		if err := v.create("table", "late", toySpec{}); !fault.Is(err, fault.Precondition) {
			s.Errorf("who comes late is told %v", err)
		}
	}
	servers[0].must(servers[0].release("h"))
	for _, v := range servers {
		v.must(v.db.CaughtUp(s.ctx))
		if err := v.create("table", "late", toySpec{}); !fault.Is(err, fault.NotFound) {
			s.Errorf("who comes later is told %v", err)
		}
	}
}

// anyBatches lets several servers write at random, and looks at every moment that one of them sees.
func anyBatches(s *suite) {
	servers := s.servers(2)
	seed := uint64(time.Now().UnixNano())
	s.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for n := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(n)))
			v := servers[n%2]
			for range 40 {
				v.anything(r)
				v.judge()
			}
		})
	}
	wg.Wait()
	for _, v := range servers {
		v.must(v.db.CaughtUp(s.ctx))
		v.judge()
	}
	servers[0].empty()
}

func (v *server) anything(r *rand.Rand) {
	pick := func(kind string) resource.ID { return resource.ID(fmt.Sprint(kind, r.IntN(4))) }
	b := v.db.Begin()
	for range 1 + r.IntN(3) {
		kind := []string{"table", "fork", "dish", "bill"}[r.IntN(4)]
		id := string(pick(kind))
		spec := toySpec{Size: int64(r.IntN(5))}
		switch kind {
		case "dish":
			spec.Table, spec.Fork, spec.Seat = pick("table"), pick("fork"), fmt.Sprint(r.IntN(2))
		case "bill":
			spec.Dish = pick("dish")
		}
		switch x := v.find(id); {
		case x == nil:
			v.add(b, resource.Kind(kind), id, spec)
		case x.Deleting != nil:
			if v.release(id) != nil {
				return
			}
		case r.IntN(2) == 0:
			v.writers[x.Kind].Delete(b, x)
		default:
			v.writers[x.Kind].Set(b, x, func(s *toySpec) { *s = spec })
		}
	}
	switch err := v.db.Commit(v.ctx, b); fault.KindOf(err) {
	case "", fault.Precondition, fault.NotFound, fault.Conflict, fault.Exists:
	case fault.Internal: // the batch makes what it has made
	default:
		v.Errorf("commit: %v", err)
	}
}

// judge: no living record needs what is missing, and nothing has two users.
func (v *server) judge() {
	snap, users := v.db.Snapshot(), map[string]resource.ID{}
	for x := range snap.OfKind("dish") {
		kind, _ := toys.Lookup("dish")
		for _, n := range kind.Needs(x) {
			y := snap.Lookup(n.ID)
			if x.Head().Deleting == nil && (y == nil || y.Head().Deleting != nil) {
				v.Errorf("%s needs %s, which is not there or is being deleted", x.Head().ID, n.ID)
			}
		}
		d := x.(*toy)
		for _, alone := range []string{string(d.Spec.Fork), string(d.Spec.Table) + d.Spec.Seat} {
			if other := users[alone]; alone != "" && other != "" {
				v.Errorf("%s and %s both have %s", other, d.ID, alone)
			}
			users[alone] = d.ID
		}
	}
}

// empty deletes all; no key may be left.
func (v *server) empty() {
	for _, kind := range []resource.Kind{"bill", "dish", "fork", "table", "house"} {
		for x := range v.db.Snapshot().OfKind(kind) {
			v.must(v.remove(string(x.Head().ID)))
			v.must(v.release(string(x.Head().ID)))
		}
	}
	for _, kinds := range [][]resource.Kind{nil, {store.MarkKind}, {store.TouchKind}} {
		if left, _, err := v.List(v.ctx, kinds...); err != nil || len(left) > 0 {
			v.Errorf("left behind: %v, %v", left, err)
		}
	}
}
