package remote

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

// running is a server whose view runs, with hosts h0, h1, ...
func running(t *testing.T, hostCount int) *cloud {
	c := &cloud{T: t, server: store.NewDB(memory.New(), catalog)}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.server.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	for i := range hostCount {
		c.record(hosts, &rec{Meta: resource.Meta{ID: resource.ID(fmt.Sprintf("h%d", i))}})
	}
	return c
}

// TestChangeWakesOnlyTheHostsThatItConcerns: of a hundred agents, and by the events that they are told.
func TestChangeWakesOnlyTheHostsThatItConcerns(t *testing.T) {
	c := running(t, 100)
	by := c.server.Shared().(store.ByHost)
	followers := make([]*store.HostFollower, 100)
	for i := range followers {
		f, err := by.FollowHost(t.Context(), resource.ID(fmt.Sprintf("h%d", i)), c.server.Revision())
		if err != nil {
			t.Fatal(err)
		}
		defer f.Stop()
		followers[i] = f
	}
	passed := func() { // until all of it has been told: the last host's agent asks
		t.Helper()
		now, err := c.server.Store().Commit(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		by.Ask("h99", now)
		for told := int64(0); told < now; {
			some, err := followers[99].Next(t.Context(), nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range some {
				told = one.Revision
			}
		}
	}
	before := make([]int, len(followers))
	woken := func() (out []int) {
		for i, f := range followers {
			if n := f.Taken(); n != before[i] {
				before[i] = n
				out = append(out, i)
			}
		}
		return out
	}
	expect := func(what string, want ...int) {
		t.Helper()
		passed()
		if got := woken(); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s wakes %v, not %v", what, got, want)
		}
	}
	g := c.record(guests, &rec{Spec: spec{HostID: "h7"}})
	expect("a guest", 7)
	if _, err := c.server.Store().Commit(t.Context(), change(g, func(r *rec) { r.Spec.HostID = "h9" })); err != nil {
		t.Fatal(err)
	}
	expect("its move", 7, 9)
	c.record(secrets, &rec{Spec: spec{HostID: "h7"}})
	expect("a secret")
	c.record(shared, &rec{})
	passed()
	if got := woken(); len(got) != len(followers) {
		t.Errorf("what every host sees wakes %d", len(got))
	}
}

func TestAgentReadsByTheIndexOfItsHost(t *testing.T) {
	c := running(t, 3)
	c.record(guests, &rec{Meta: resource.Meta{ID: "g1"}, Spec: spec{HostID: "h1"}})
	c.record(guests, &rec{Meta: resource.Meta{ID: "g2"}, Spec: spec{HostID: "h2"}})
	c.record(shared, &rec{Meta: resource.Meta{ID: "s"}})
	c.record(secrets, &rec{Meta: resource.Meta{ID: "x"}, Spec: spec{HostID: "h1"}})
	agent := store.NewDB(serve(t, Handler(c.server.Shared(), func(*http.Request) (Scope, error) {
		return HostScope(catalog, "h1", c.server.View), nil
	})), catalog)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = agent.Run(ctx) })
	defer func() { cancel(); wg.Wait() }()
	wait := func(revision int64) {
		t.Helper()
		if err := agent.WaitFor(t.Context(), revision); err != nil {
			t.Fatal(err)
		}
	}
	wait(c.server.Revision())
	entries, _, err := agent.Store().List(t.Context())
	if err != nil || len(entries) != 3 {
		t.Errorf("it lists %v, %v", entries, err)
	}
	g3 := c.record(guests, &rec{Spec: spec{HostID: "h1"}})
	b := agent.Begin()
	store.Specs(store.NewRegistry(), told, "agent").Create(b, &rec{Spec: spec{HostID: "h1"}})
	if err := agent.Commit(t.Context(), b); err != nil { // it returns, though the agent never sees what it made
		t.Fatal(err)
	}
	if store.Find(agent.Snapshot(), guests, g3.ID) == nil || store.Find(agent.Snapshot(), guests, "g2") != nil {
		t.Error("the agent does not see what is its host's")
	}
	b = c.server.Begin()
	store.Specs(store.NewRegistry(), guests, "server").Set(b, g3, func(s *spec) { s.HostID = "h2" })
	if err := c.server.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Store().Commit(t.Context()); err != nil { // asks for what has passed
		t.Fatal(err)
	}
	wait(c.server.Revision())
	if store.Find(agent.Snapshot(), guests, g3.ID) != nil {
		t.Error("what moved away is still shown")
	}
}
