package reconcile

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
)

// plain is the queue as one would write it down: a table that is searched.
type plain struct {
	due      map[resource.ID]time.Time
	working  map[resource.ID]bool
	failures map[resource.ID]int
}

func (p *plain) add(id resource.ID, at time.Time) {
	if old, there := p.due[id]; !there || at.Before(old) {
		p.due[id] = at
	}
}

func (p *plain) next(now time.Time) (id resource.ID, again time.Time, ok bool) {
	found := false
	for candidate, at := range p.due {
		if !p.working[candidate] && (!found || at.Before(again) || at.Equal(again) && candidate < id) {
			id, again, found = candidate, at, true
		}
	}
	if !found {
		return "", time.Time{}, false
	}
	if again.After(now) {
		return "", again, false
	}
	delete(p.due, id)
	p.working[id] = true
	return id, time.Time{}, true
}

func (p *plain) done(id resource.ID, r Result, err error, now time.Time) {
	delete(p.working, id)
	pause := r.After
	if err != nil {
		pause = 30 * time.Second
		if n := p.failures[id]; n < 10 {
			pause = min(50*time.Millisecond<<n, pause)
		}
		p.failures[id]++
	} else {
		delete(p.failures, id)
	}
	if pause > 0 {
		p.add(id, now.Add(pause))
	}
}

func TestTheQueueDoesWhatThePlainTableDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q, p := NewQueue(), &plain{map[resource.ID]time.Time{}, map[resource.ID]bool{}, map[resource.ID]int{}}
		now := time.Unix(1000, 0)
		var inWork []resource.ID
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			switch rapid.IntRange(0, 3).Draw(t, "what") {
			case 0:
				id := resource.ID(fmt.Sprint(rapid.IntRange(0, 8).Draw(t, "id")))
				at := now.Add(time.Duration(rapid.IntRange(-3, 5).Draw(t, "in")) * time.Second)
				q.Add(id, at)
				p.add(id, at)
			case 1:
				id, again, ok := q.Next(now)
				wantID, wantAgain, wantOK := p.next(now)
				if id != wantID || !again.Equal(wantAgain) || ok != wantOK {
					t.Fatalf("next gives %s %v %v, want %s %v %v", id, again, ok, wantID, wantAgain, wantOK)
				}
				if ok {
					inWork = append(inWork, id)
				}
			case 2:
				if len(inWork) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(inWork)-1).Draw(t, "which")
				r := Result{After: time.Duration(rapid.IntRange(0, 3).Draw(t, "after")) * time.Second}
				var err error
				if rapid.Bool().Draw(t, "fails") {
					err = errors.New("no")
				}
				q.Done(inWork[i], r, err, now)
				p.done(inWork[i], r, err, now)
				inWork = append(inWork[:i], inWork[i+1:]...)
			case 3:
				now = now.Add(time.Duration(rapid.IntRange(0, 2000).Draw(t, "ms")) * time.Millisecond)
			}
		}
	})
}

func TestThePauseDoublesToHalfAMinuteAndASuccessForgetsIt(t *testing.T) {
	q, now := NewQueue(), time.Unix(1000, 0)
	fail := func(err error) time.Duration {
		q.Add("a", now)
		if _, _, ok := q.Next(now); !ok {
			t.Fatal("it is not due")
		}
		pause := q.Done("a", Result{}, err, now)
		now = now.Add(pause)
		return pause
	}
	for n, want := range []time.Duration{50, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000} {
		if got := fail(errors.New("no")); got != want*time.Millisecond {
			t.Errorf("pause %d is %s", n, got)
		}
	}
	fail(nil)
	if got := fail(errors.New("no")); got != 50*time.Millisecond {
		t.Errorf("after a success the pause is %s", got)
	}
}

func TestWhatArrivesDuringTheWorkMakesItDueRightAfter(t *testing.T) {
	q, now := NewQueue(), time.Unix(1000, 0)
	q.Add("a", now)
	q.Next(now)
	q.Add("a", now)
	if _, _, ok := q.Next(now); ok {
		t.Fatal("it was given out twice at once")
	}
	q.Done("a", Result{After: time.Hour}, nil, now)
	if id, _, ok := q.Next(now); !ok || id != "a" {
		t.Fatal("what arrived during the work was lost")
	}
	q.Done("a", Result{}, nil, now)
	if q.Len() != 0 {
		t.Fatalf("%d ids are left in an idle queue", q.Len())
	}
}

func BenchmarkQueue(b *testing.B) {
	q, now := NewQueue(), time.Unix(1000, 0)
	for i := range 10_000 {
		q.Add(resource.ID(fmt.Sprint(i)), now)
	}
	for b.Loop() {
		id, _, _ := q.Next(now)
		q.Done(id, Result{After: time.Nanosecond}, nil, now)
		now = now.Add(1)
	}
}
