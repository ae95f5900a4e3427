package reconcile

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func TestResyncTakesRecordsInTurn(t *testing.T) {
	for _, test := range []struct {
		i, n   int
		within time.Duration
		want   time.Duration
	}{
		{0, 0, time.Minute, 0},
		{0, 10, time.Minute, 0},
		{9, 10, time.Minute, 90 * time.Millisecond},      // few: soon
		{50_000, 100_000, time.Minute, 30 * time.Second}, // many: over the whole time
		{99_999, 100_000, 0, 0},                          // the first look: at once
	} {
		if got := turn(test.i, test.n, test.within); got != test.want {
			t.Errorf("%d of %d within %s: after %s, not %s", test.i, test.n, test.within, got, test.want)
		}
	}
}

func TestChangesOfFiguresAreOneStep(t *testing.T) {
	loop := &Loop{Gather: func(d store.Delta) time.Duration {
		if d.Old != nil {
			return time.Second
		}
		return 0
	}}
	q, start := NewQueue(), time.Unix(1000, 0)
	for n := range 50 {
		q.Add("x", start.Add(time.Duration(n)*time.Millisecond+loop.Wait(store.Delta{Old: &resource.Record[spec, status]{}})))
	}
	if id, again, ok := q.Next(start.Add(999 * time.Millisecond)); ok || !again.Equal(start.Add(time.Second)) {
		t.Errorf("%q is due already, or again at %s", id, again)
	}
	if id, _, ok := q.Next(start.Add(time.Second)); !ok || id != "x" {
		t.Errorf("it is not due: %q", id)
	}
	q.Done("x", Result{}, nil, start.Add(time.Second))
	if q.Len() != 0 {
		t.Errorf("%d steps are left of 50 changes", q.Len())
	}
	if wait := loop.Wait(store.Delta{}); wait != 0 {
		t.Errorf("what somebody acts on waits %s", wait)
	}
}

func TestResyncKeepsToItsTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 1_000_000).Draw(t, "n")
		i := rapid.IntRange(0, n-1).Draw(t, "i")
		within := time.Duration(rapid.Int64Range(0, int64(time.Hour)).Draw(t, "within"))
		if at := turn(i, n, within); at < 0 || at > within || i > 0 && turn(i-1, n, within) > at {
			t.Errorf("%d of %d within %s is at %s", i, n, within, at)
		}
		if j := jittered(within); j < within*8/10 || j > within*12/10 {
			t.Errorf("%s became %s", within, j)
		}
	})
}
