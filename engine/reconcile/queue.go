package reconcile

import (
	"container/heap"
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
	items    map[resource.ID]*item
	waiting  agenda
	failures map[resource.ID]int
}

// item is an id that waits, is in work, or both.
type item struct {
	id      resource.ID
	at      time.Time
	due     bool // it waits, since or until at
	working bool
	place   int // in the agenda; -1: not there
}

// NewQueue makes an empty queue.
func NewQueue() *Queue {
	return &Queue{items: map[resource.ID]*item{}, failures: map[resource.ID]int{}}
}

// Len is the number of ids that wait or are in work.
func (q *Queue) Len() int { return len(q.items) }

// Add makes id due at a time; the earlier of two requests counts.
func (q *Queue) Add(id resource.ID, at time.Time) {
	i := q.items[id]
	if i == nil {
		i = &item{id: id, place: -1}
		q.items[id] = i
	}
	if i.due && !at.Before(i.at) {
		return
	}
	i.at, i.due = at, true
	switch {
	case i.working: // it enters the agenda when the work is done
	case i.place < 0:
		heap.Push(&q.waiting, i)
	default:
		heap.Fix(&q.waiting, i.place)
	}
}

// Next gives the id that is due longest (the smaller of equals, so that a run can be repeated),
// and marks it as in work. With none due it says when to ask again; zero time: nothing waits.
func (q *Queue) Next(now time.Time) (id resource.ID, again time.Time, ok bool) {
	if len(q.waiting) == 0 {
		return "", time.Time{}, false
	}
	i := q.waiting[0]
	if i.at.After(now) {
		return "", i.at, false
	}
	heap.Pop(&q.waiting)
	i.due, i.working = false, true
	return i.id, time.Time{}, true
}

// Done ends the work on id and says when it is due again: after a failure with a pause that
// doubles from 50 ms to 30 s, else after the step's own request. The pause is returned.
func (q *Queue) Done(id resource.ID, r Result, err error, now time.Time) time.Duration {
	i := q.items[id]
	if i == nil || !i.working {
		return 0
	}
	i.working = false
	pause := r.After
	if err != nil {
		pause = q.failed(id)
	} else {
		delete(q.failures, id)
	}
	if i.due {
		heap.Push(&q.waiting, i)
	}
	if pause > 0 {
		q.Add(id, now.Add(pause))
	}
	if !i.due {
		delete(q.items, id)
	}
	return pause
}

func (q *Queue) failed(id resource.ID) time.Duration {
	n := q.failures[id]
	q.failures[id] = n + 1
	if n >= 10 {
		return longPause
	}
	return min(firstPause<<n, longPause)
}

// agenda is a heap of the items that wait and are not in work.
type agenda []*item

func (a agenda) Len() int { return len(a) }

func (a agenda) Less(i, j int) bool {
	if a[i].at.Equal(a[j].at) {
		return a[i].id < a[j].id
	}
	return a[i].at.Before(a[j].at)
}

func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

func (a *agenda) Push(x any) {
	i := x.(*item)
	i.place = len(*a)
	*a = append(*a, i)
}

func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	last.place = -1
	(*a)[len(*a)-1] = nil
	*a = (*a)[:len(*a)-1]
	return last
}
