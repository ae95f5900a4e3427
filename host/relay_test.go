package host

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
)

func TestRelayTellsTheLeaderOnceForEachHostAndKeepsNothing(t *testing.T) {
	leads, refuses := false, error(nil)
	var told [][]resource.ID
	l := NewListener(0, noon)
	r := &Relay{Listener: l, Leads: func() bool { return leads }, Tell: func(_ context.Context, hosts []resource.ID) error {
		told = append(told, hosts)
		return refuses
	}}
	state := func(id resource.ID) LifeState { s, _ := l.State(id, noon); return s }
	for _, id := range []resource.ID{"b", "a", "b"} {
		r.Heartbeat(id, noon)
	}
	if err := r.Pass(t.Context(), noon); err != nil || len(told) != 1 || !slices.Equal(told[0], []resource.ID{"a", "b"}) {
		t.Fatalf("told %v, %v", told, err)
	}
	if err := r.Pass(t.Context(), noon); err != nil || len(told) != 1 || state("a") != Unknown {
		t.Errorf("with nothing new told %v, %v; here a is %s", told, err, state("a"))
	}
	// The leader is away; who lives says so again.
	refuses = errors.New("away")
	r.Heartbeat("a", noon)
	if err := r.Pass(t.Context(), noon); !errors.Is(err, refuses) {
		t.Errorf("gives %v", err)
	}
	refuses = nil
	if err := r.Pass(t.Context(), noon); err != nil || len(told) != 2 {
		t.Errorf("what was dropped is told: %v, %v", told, err)
	}
	// This server has won meanwhile: what waited is its own now.
	r.Heartbeat("c", noon)
	leads = true
	if err := r.Pass(t.Context(), noon); err != nil || len(told) != 2 || state("c") != Alive {
		t.Errorf("a leader told %v, %v; c is %s", told, err, state("c"))
	}
	if r.Heartbeat("d", noon); state("d") != Alive {
		t.Errorf("a leader heard d, which is %s", state("d"))
	}
}
