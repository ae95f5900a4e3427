package storetest

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

func watchInOrder(s *suite) {
	start := s.commit(put("seed", "x", store.Absent))
	w := s.watch(start)
	var wg sync.WaitGroup
	const writers, rounds = 4, 30
	for i := range writers {
		wg.Go(func() {
			for j := range rounds {
				id := fmt.Sprintf("%d-%d", i, j)
				s.commit(put(id+"a", "x", store.Absent), put(id+"b", "x", store.Absent), put(id+"c", "x", store.Absent))
			}
		})
	}
	last, seen := start, 0
	for seen < 3*writers*rounds {
		c := s.next(w)
		if c.Revision <= last {
			s.Fatalf("revision %d after %d", c.Revision, last)
		}
		of := map[string]int{} // a store may make one revision of several commits, but cuts none
		for _, e := range c.Events {
			of[string(e.Key.ID[:len(e.Key.ID)-1])]++
		}
		for id, events := range of {
			if events != 3 {
				s.Fatalf("commit %s of 3 keys comes as %d events", id, events)
			}
		}
		last, seen = c.Revision, seen+len(c.Events)
	}
	wg.Wait()
	if seen != 3*writers*rounds {
		s.Fatalf("%d events", seen)
	}
}

func watchFromThePast(s *suite) {
	first := s.commit(put("a", "one", store.Absent))
	second := s.commit(put("a", "two", first), put("b", "b", store.Absent))
	third := s.commit(remove("a", store.Any))
	w := s.watch(first)
	if c := s.next(w); c.Revision != second || len(c.Events) != 2 {
		s.Fatalf("first comes %+v, want revision %d", c, second)
	}
	if c := s.next(w); c.Revision != third || len(c.Events) != 1 || c.Events[0].Value != nil || c.Events[0].Key != key("a") {
		s.Fatalf("then comes %+v, want the removal at %d", c, third)
	}
	fourth := s.commit(put("c", "c", store.Absent))
	if c := s.next(w); c.Revision != fourth {
		s.Fatalf("then comes %+v, want revision %d", c, fourth)
	}
	if w := s.watch(0); s.next(w).Revision != first {
		s.Fatal("a watch after 0 does not begin with the first commit")
	}
}

func oldAndNew(s *suite) {
	start := s.commit(put("seed", "x", store.Absent))
	w := s.watch(start)
	s.commit(put("a", "one", store.Absent))
	s.commit(put("a", "two", store.Any))
	s.commit(remove("a", store.Any))
	for i, want := range [][2]string{{"", string(value("one"))}, {string(value("one")), string(value("two"))}, {string(value("two")), ""}} {
		e := s.next(w).Events[0]
		if string(e.Value) != want[1] || string(e.Old) != want[0] {
			s.Errorf("event %d: old %s new %s, want %q", i, e.Old, e.Value, want)
		}
	}
}

func watchCompacted(s *suite) {
	c, can := s.Store.(interface {
		Compact(context.Context, int64) error
	})
	if !can {
		s.Skip("this store cannot be made to forget")
	}
	first := s.commit(put("a", "one", store.Absent))
	s.commit(put("a", "two", store.Any))
	now := s.commit(put("a", "three", store.Any))
	if err := c.Compact(s.ctx, now); err != nil {
		s.Fatal(err)
	}
	w, err := s.Watch(s.ctx, first)
	if err == nil { // told by the watch itself is as good
		s.drained(w)
		err = w.Err()
	}
	if !fault.Is(err, fault.TooLate) {
		s.Fatalf("a watch of the forgotten past gives %v", err)
	}
	ok := s.watch(now)
	next := s.commit(put("a", "four", store.Any))
	if got := s.next(ok); got.Revision != next {
		s.Fatalf("a watch from the present gives %d, want %d", got.Revision, next)
	}
}

func watchFuture(s *suite) {
	now := s.commit(put("a", "one", store.Absent))
	w, err := s.Watch(s.ctx, now+1000)
	if err == nil {
		w.Stop()
	}
	if !fault.Is(err, fault.TooLate) {
		s.Fatalf("a watch of a revision that never was gives %v", err)
	}
}

// slowReader writes far more than any buffer holds while one watch is not read.
func slowReader(s *suite) {
	const many = 6000
	start := s.commit(put("seed", "x", store.Absent))
	slow, quick := s.watch(start), s.watch(start)
	var wg sync.WaitGroup
	const writers = 16
	// The quick reader is not so quick on a busy host: the writers stay near it, and leave the slow one behind.
	ahead := make(chan struct{}, 1000)
	for i := range writers {
		wg.Go(func() {
			for j := range many / writers {
				select {
				case ahead <- struct{}{}:
				case <-s.ctx.Done():
					return
				}
				s.commit(put(fmt.Sprintf("%d-%d", i, j), "x", store.Any))
			}
		})
	}
	for read := 0; read < many/writers*writers; {
		for range s.next(quick).Events {
			<-ahead
			read++
		}
	}
	wg.Wait()
	got, last := 0, start
	late := time.After(Patience)
	for got < many/writers*writers {
		select {
		case c, ok := <-slow.Changes():
			if !ok {
				if !fault.Is(slow.Err(), fault.TooLate) {
					s.Fatalf("the slow reader was cut off with %v", slow.Err())
				}
				return
			}
			if c.Revision <= last {
				s.Fatalf("revision %d after %d", c.Revision, last)
			}
			got, last = got+len(c.Events), c.Revision
		case <-late:
			s.Fatalf("the slow reader got %d of %d and was not cut off", got, many)
		}
	}
}

func stopWatch(s *suite) {
	now := s.commit(put("a", "one", store.Absent))
	w := s.watch(now)
	w.Stop()
	w.Stop()
	s.drained(w)
	if w.Err() != nil {
		s.Errorf("a stopped watch ends with %v", w.Err())
	}
	ctx, cancel := context.WithCancel(s.ctx)
	w, err := s.Watch(ctx, now)
	if err != nil {
		s.Fatal(err)
	}
	cancel()
	s.drained(w)
	if w.Err() != nil {
		s.Errorf("a watch whose context ended ends with %v", w.Err())
	}
	w.Stop()
}
