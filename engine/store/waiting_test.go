package store_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/store"
)

func woken(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestWhoWaitsForARecordIsWokenByItsChangeAlone(t *testing.T) {
	w := newWorld(t)
	a, b := w.create("a"), w.create("b")
	first, leave := w.db.Changed(a.ID)
	defer leave()
	second, leaveSecond := w.db.Changed(b.ID)
	w.do(func(batch *store.Batch) { w.specs.Set(batch, b, func(s *catSpec) { s.Colour = "red" }) })
	if woken(first) || !woken(second) {
		t.Errorf("b changed: who waits for a is woken: %v, for b: %v", woken(first), woken(second))
	}
	leaveSecond()
	w.do(func(batch *store.Batch) { w.specs.Delete(batch, w.find(a.ID)) })
	if !woken(first) {
		t.Error("a is gone, and who waits for it sleeps on")
	}
	if n := w.db.Waiting(); n != 0 {
		t.Errorf("%d are still noted as waiting", n)
	}
}

func TestWhoLeavesWaitsForNothing(t *testing.T) {
	w := newWorld(t)
	a := w.create("a")
	_, leave := w.db.Changed(a.ID)
	other, leaveOther := w.db.Changed(a.ID)
	leave()
	if n := w.db.Waiting(); n != 1 {
		t.Errorf("%d wait, not the one that stayed", n)
	}
	w.do(func(batch *store.Batch) { w.specs.Delete(batch, w.find(a.ID)) })
	if !woken(other) {
		t.Error("who stayed is not woken")
	}
	leave()
	leaveOther()
}

func TestWhoWaitsForARevisionIsWokenByItAndByNoEarlierOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.create("a")
		now := w.db.Revision()
		var done []int64
		for _, wanted := range []int64{now + 1, now + 2} {
			go func() {
				if err := w.db.WaitFor(t.Context(), wanted); err != nil {
					t.Error(err)
				}
				done = append(done, wanted)
			}()
		}
		synctest.Wait()
		w.create("b")
		synctest.Wait()
		if len(done) != 1 || done[0] != now+1 {
			t.Errorf("at revision %d there came %v", now+1, done)
		}
		w.create("c")
		synctest.Wait()
		if len(done) != 2 {
			t.Errorf("at revision %d there came %v", now+2, done)
		}
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := w.db.WaitFor(short, now+100); !fault.Is(err, fault.Unavailable) || w.db.Waiting() != 0 {
			t.Errorf("a wait that is too long gives %v and leaves %d", err, w.db.Waiting())
		}
	})
}
