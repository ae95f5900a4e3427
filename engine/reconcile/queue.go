package reconcile

import (
	"time"

	"github.com/virga-cloud/virga/engine/resource"
)

const (
	firstPause = 50 * time.Millisecond
	longPause  = 30 * time.Second
)

// Queue says which id is due, without a clock or a lock of its own: both are the driver's.
// An id is in it once; while it is in work it is not given out again, and what arrives for it
// meanwhile makes it due right after.
type Queue struct {
	due      map[resource.ID]time.Time
	working  map[resource.ID]bool
	failures map[resource.ID]int
}

// NewQueue makes an empty queue.
func NewQueue() *Queue {
	return &Queue{due: map[resource.ID]time.Time{}, working: map[resource.ID]bool{}, failures: map[resource.ID]int{}}
}

// Add makes id due at a time; the earlier of two wishes counts.
func (q *Queue) Add(id resource.ID, at time.Time) {
	if old, there := q.due[id]; !there || at.Before(old) {
		q.due[id] = at
	}
}

// Next gives the id that is due longest (the smaller of equals, so that a run can be repeated),
// and marks it as in work. With none due it says when to ask again; zero time: nothing waits.
func (q *Queue) Next(now time.Time) (id resource.ID, again time.Time, ok bool) {
	var best time.Time
	for candidate, at := range q.due {
		if q.working[candidate] {
			continue
		}
		if best.IsZero() || at.Before(best) || at.Equal(best) && candidate < id {
			id, best = candidate, at
		}
	}
	if best.IsZero() || best.After(now) {
		return "", best, false
	}
	delete(q.due, id)
	q.working[id] = true
	return id, time.Time{}, true
}

// Done ends the work on id and says when it is due again: after a failure with a pause that
// doubles from 50 ms to 30 s, else after the step's own wish. The pause is returned.
func (q *Queue) Done(id resource.ID, r Result, err error, now time.Time) time.Duration {
	delete(q.working, id)
	if err != nil {
		n := q.failures[id]
		q.failures[id] = n + 1
		pause := longPause
		if n < 10 {
			pause = min(firstPause<<n, longPause)
		}
		q.Add(id, now.Add(pause))
		return pause
	}
	delete(q.failures, id)
	if r.After > 0 {
		q.Add(id, now.Add(r.After))
	}
	return r.After
}
