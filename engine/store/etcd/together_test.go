package etcd

import (
	"context"
	"fmt"
	"maps"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

func key(id string) resource.Ref { return resource.Ref{Kind: "cat", Project: "p", ID: resource.ID(id)} }

func put(id, value string, expect int64) store.Change {
	return store.Change{Key: key(id), Op: store.Put, Value: []byte(value), Expect: expect}
}

func TestCommitsAreJoinedWhereTheirOrderMeansNothing(t *testing.T) {
	check := func(expect, since int64) store.Change {
		return store.Change{Key: key("a"), Op: store.Check, Expect: expect, Since: since}
	}
	touch := put("a", "", store.Any)
	turn := touch
	turn.Since = 7
	for name, c := range map[string]struct {
		a, b store.Change
		can  bool
	}{
		"they name other keys":        {put("a", "x", store.Absent), put("b", "x", store.Absent), true},
		"both need the same":          {check(store.Present, 0), check(store.Present, 0), true},
		"both touch the same":         {touch, touch, true},
		"both take turns":             {turn, turn, false},
		"both make the same":          {put("a", "x", store.Absent), put("a", "x", store.Absent), false},
		"both change the same":        {put("a", "x", 5), put("a", "x", 5), false},
		"both write what they like":   {put("a", "x", store.Any), put("a", "y", store.Any), false},
		"one looks and one writes":    {check(store.Any, 7), touch, false},
		"one makes and one removes":   {put("a", "x", store.Absent), store.Change{Key: key("a"), Op: store.Delete, Expect: store.Any}, false},
		"they saw other revisions":    {check(5, 0), check(6, 0), false},
		"both remove":                 {store.Change{Key: key("a"), Op: store.Delete, Expect: store.Any}, store.Change{Key: key("a"), Op: store.Delete, Expect: store.Any}, false},
		"they read at other times":    {check(store.Any, 9), check(store.Any, 7), true},
		"one read, the other did not": {check(store.Any, 0), check(store.Any, 7), true},
	} {
		var j joint
		if !j.add([]store.Change{c.a}) || j.add([]store.Change{c.b}) != c.can {
			t.Errorf("%s: that they can be joined is %v", name, !c.can)
		}
		if c.can && c.a.Op == store.Check && c.b.Since == 7 && j.changes[0].Since != 7 {
			t.Errorf("%s: nothing may have changed since %d", name, j.changes[0].Since)
		}
	}
	var j joint
	if !j.add([]store.Change{put("a", string(make([]byte, joinedBytes+1)), store.Any)}) {
		t.Error("a large commit goes with nobody, not even alone")
	}
	if j.add([]store.Change{put("b", "x", store.Any)}) {
		t.Error("a large commit grows further")
	}
}

// contents is what a store has, by key.
func contents(t *rapid.T, s store.Store) map[resource.Ref]string {
	entries, _, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := map[resource.Ref]string{}
	for _, e := range entries {
		out[e.Key] = string(e.Value)
	}
	return out
}

// Joint commits do what they would do one after the other, and are refused if one of them would be.
func TestAJointDoesWhatItsCommitsDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		one, other := memory.New(), memory.New()
		for i := range int64(4) {
			for _, s := range []store.Store{one, other} {
				if _, err := s.Commit(t.Context(), put(fmt.Sprint(i), "old", store.Absent)); err != nil {
					t.Fatal(err)
				}
			}
		}
		change := rapid.Custom(func(t *rapid.T) store.Change {
			c := put(rapid.SampledFrom([]string{"0", "1", "2", "3", "4", "5"}).Draw(t, "key"), rapid.SampledFrom([]string{"x", "y"}).Draw(t, "value"), 0)
			c.Op = rapid.SampledFrom([]store.Op{store.Put, store.Delete, store.Check}).Draw(t, "op")
			if c.Op != store.Put {
				c.Value = nil
			}
			c.Expect = rapid.SampledFrom([]int64{store.Any, store.Any, store.Present, store.Absent, 1, 2, 3, 4}).Draw(t, "expect")
			c.Since = rapid.SampledFrom([]int64{0, 0, 0, 2, 3, 4}).Draw(t, "since")
			return c
		})
		commit := rapid.SliceOfNDistinct(change, 1, 3, func(c store.Change) resource.Ref { return c.Key })
		var j joint
		failed := 0
		for _, changes := range rapid.SliceOfN(commit, 2, 4).Draw(t, "commits") {
			if !j.add(changes) {
				continue
			}
			if _, err := one.Commit(t.Context(), changes...); err != nil {
				failed++
			}
		}
		_, err := other.Commit(t.Context(), j.changes...)
		if (err == nil) != (failed == 0) {
			t.Fatalf("one by one %d are refused, together: %v\n%+v", failed, err, j.changes)
		}
		if err == nil && !maps.Equal(contents(t, one), contents(t, other)) {
			t.Fatalf("one by one they make %v, together %v", contents(t, one), contents(t, other))
		}
	})
}

// Commits that come while others are on their way share a transaction, and one that is refused is told so by
// itself.
func TestCommitsThatComeTogetherGoTogether(t *testing.T) {
	s := open(t, Config{NoSync: true})
	before, err := s.Commit(t.Context(), put("taken", "x", store.Absent))
	if err != nil {
		t.Fatal(err)
	}
	const n = 200
	for range lanes { // nobody goes before all are there
		s.together.enter(nil)
	}
	errs := make([]error, n)
	revisions := make([]int64, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			changes := []store.Change{put(fmt.Sprint(i), "x", store.Absent), put("touched", "", store.Any)}
			if i%50 == 7 {
				changes = append(changes, put("taken", "y", store.Absent))
			}
			revisions[i], errs[i] = s.Commit(t.Context(), changes...)
		})
	}
	for waiting := 0; waiting < n; {
		s.together.mu.Lock()
		waiting = len(s.together.line)
		s.together.mu.Unlock()
	}
	for range lanes {
		s.leaveLane()
	}
	wg.Wait()
	for i, err := range errs {
		if refused := i%50 == 7; refused != fault.Is(err, fault.Exists) || !refused && err != nil {
			t.Errorf("commit %d: %v", i, err)
		}
		e, err := s.Get(t.Context(), key(fmt.Sprint(i)))
		if there := err == nil; there != (i%50 != 7) || there && e.Revision != revisions[i] {
			t.Errorf("commit %d is said to be revision %d, and is %d: %v", i, revisions[i], e.Revision, err)
		}
	}
	now, err := s.Commit(t.Context())
	if err != nil || now-before > 10 {
		t.Errorf("%d commits were %d revisions: %v", n, now-before, err)
	}
	if s.together.busy != 0 {
		t.Errorf("%d lanes are held for ever", s.together.busy)
	}
}

func TestWhoWaitsForALaneCanGiveUp(t *testing.T) {
	s := open(t, Config{NoSync: true})
	for range lanes {
		s.together.enter(nil)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := s.Commit(ctx, put("a", "x", store.Absent)); done <- err }()
	for waiting := 0; waiting < 1; {
		s.together.mu.Lock()
		waiting = len(s.together.line)
		s.together.mu.Unlock()
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("it is told that it was committed")
	}
	for range lanes {
		s.leaveLane()
	}
	if _, err := s.Get(t.Context(), key("a")); !fault.Is(err, fault.NotFound) {
		t.Errorf("what was given up in the line is committed: %v", err)
	}
}
