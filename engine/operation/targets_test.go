package operation_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// another makes a further note.
func (b *bench) another(name string) *note {
	n := &note{}
	n.Name = name
	b.must(func(batch *store.Batch) { b.noteWriter().Create(batch, n) })
	return n
}

func (b *bench) begin(targets ...resource.Ref) error {
	return b.try(func(batch *store.Batch) {
		_, _ = operation.Start(batch, b.specs, operation.Request{Type: b.def.Type, Targets: targets, By: "other"})
	})
}

func TestAnOperationHasAllItsTargetsOrDoesNotBegin(t *testing.T) {
	b := newBench(t, step("one", pass))
	left, right, free := b.another("left"), b.another("right"), b.another("free")
	b.also = []resource.Ref{left.Ref(), right.Ref(), left.Ref()} // one that is named twice is one
	id := b.start()
	err := operation.Free(b.db.Snapshot(), free.Ref(), right.Ref())
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), "note right") || !strings.Contains(err.Error(), string(id)) {
		t.Errorf("a set with one target that is taken is free: %v", err)
	}
	if err := operation.Free(b.db.Snapshot(), free.Ref()); err != nil {
		t.Errorf("what nobody has is not free: %v", err)
	}
	before := b.db.Revision()
	if err := b.begin(free.Ref(), right.Ref()); !fault.Is(err, fault.Exists) {
		t.Errorf("a second operation on one of the targets: %v", err)
	}
	if b.db.Revision() != before || operation.InTheWay(b.db.Snapshot(), free.ID) != nil {
		t.Error("what was refused has left something")
	}
	for _, n := range []*note{b.target, left, right} {
		if o := operation.InTheWay(b.db.Snapshot(), n.ID); o == nil || o.ID != id {
			t.Errorf("note %s: in the way is %v", n.Name, o)
		}
	}
	b.steps(id, 3)
	if err := b.begin(free.Ref(), right.Ref(), left.Ref()); err != nil {
		t.Errorf("after its end the targets are not free: %v", err)
	}
}

func TestOfManyWhoWantOneTargetOneBegins(t *testing.T) {
	b := newBench(t, step("one", pass))
	shared := b.another("shared")
	own := make([]*note, 8)
	for i := range own {
		own[i] = b.another("own-" + string(rune('a'+i)))
	}
	var wg sync.WaitGroup
	errs := make([]error, len(own))
	for i, n := range own {
		targets := []resource.Ref{n.Ref(), shared.Ref()}
		if i%2 == 1 {
			targets = []resource.Ref{shared.Ref(), n.Ref()} // the order does not matter
		}
		wg.Go(func() {
			batch := b.db.Begin()
			_, _ = operation.Start(batch, b.specs, operation.Request{Type: b.def.Type, Targets: targets})
			errs[i] = b.db.Commit(t.Context(), batch)
		})
	}
	wg.Wait()
	won := 0
	for _, err := range errs {
		if err == nil {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d operations have one target: %v", won, errors.Join(errs...))
	}
}

func TestATargetThatIsGoneIsNoTarget(t *testing.T) {
	b := newBench(t, step("one", pass))
	gone := resource.Ref{Kind: "note", ID: resource.NewID()}
	if err := b.begin(b.target.Ref(), gone); !fault.Is(err, fault.Precondition) && !fault.Is(err, fault.NotFound) {
		t.Errorf("an operation on what is not there: %v", err)
	}
	if _, err := operation.Start(b.db.Begin(), b.specs, operation.Request{Type: "x"}); !fault.Is(err, fault.Internal) {
		t.Errorf("an operation on nothing: %v", err)
	}
}

func waits(context.Context, *operation.Run) error { return operation.NotYet(time.Hour, "a copy") }

func TestAnOperationThatMissesItsDeadlineIsUndone(t *testing.T) {
	undone := false
	s := step("copy", waits)
	s.Undo = func(context.Context, *operation.Run) error { undone = true; return nil }
	b := newBench(t, s, step("end", pass))
	b.deadline = b.now.Add(time.Minute)
	id := b.start()
	if r, err := b.steps(id, 2); err != nil || r.After != time.Minute {
		t.Fatalf("it is looked at again after %s, not at its deadline: %v", r.After, err)
	}
	b.now = b.deadline.Add(-time.Millisecond)
	if b.steps(id, 1); b.find(id).Status.Phase != operation.Working {
		t.Fatalf("before its deadline it is %s", b.find(id).Status.Phase)
	}
	b.now = b.deadline
	b.steps(id, 3)
	o := b.find(id)
	if o.Status.Phase != operation.Failed || !undone || len(o.Status.Problems) != 0 {
		t.Fatalf("it is %+v, undone %v", o.Status, undone)
	}
	if done, err := operation.Outcome(o); done || !fault.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "deadline") || !strings.Contains(err.Error(), "step copy") {
		t.Errorf("people are told %v", err)
	}
	if err := operation.Free(b.db.Snapshot(), b.target.Ref()); err != nil {
		t.Error(err)
	}
	before := b.db.Revision()
	if b.steps(id, 2); b.db.Revision() != before {
		t.Error("a second look changes something")
	}
}

func TestAnOperationThatWaitsToBeginMissesItsDeadlineToo(t *testing.T) {
	b := newBench(t, step("one", pass))
	b.deadline = b.now.Add(time.Minute)
	id := b.start()
	b.now = b.now.Add(time.Hour) // no server led for so long
	b.steps(id, 3)
	if o := b.find(id); o.Status.Phase != operation.Failed || len(o.Status.Journal) != 0 {
		t.Errorf("it is %+v", o.Status)
	}
}

func TestPastItsCommitAnOperationGoesOnAndSaysThatItIsLate(t *testing.T) {
	commit := step("switch", pass)
	commit.Commit = true
	var met error = operation.NotYet(time.Hour, "the old host")
	after := step("clear", func(context.Context, *operation.Run) error { return met })
	b := newBench(t, commit, after)
	b.deadline = b.now.Add(time.Minute)
	id := b.start()
	if r, err := b.steps(id, 2); err != nil || r.After != time.Minute || len(b.find(id).Status.Problems) != 0 {
		t.Fatalf("in time: %v, %v, %v", r, err, b.find(id).Status.Problems)
	}
	b.now = b.deadline
	b.steps(id, 1)
	o := b.find(id)
	if p := o.Status.Problems; o.Status.Phase != operation.Working || len(p) != 1 || p[0].Kind != string(fault.TooLate) || !strings.Contains(p[0].Message, "goes on") {
		t.Fatalf("late: %+v", o.Status)
	}
	before := b.db.Revision()
	if r, _ := b.steps(id, 3); b.db.Revision() != before || r.After != time.Hour {
		t.Errorf("a second look changes something, or looks too soon: %s", r.After)
	}
	met = fault.New(fault.Internal, "the old host says no")
	b.steps(id, 1)
	if p := b.find(id).Status.Problems; len(p) != 1 || !strings.Contains(p[0].Message, "says no") || !strings.Contains(p[0].Message, "deadline") {
		t.Errorf("of a failure after the deadline is told %v", p)
	}
	met = nil
	b.steps(id, 2)
	if o := b.find(id); o.Status.Phase != operation.Succeeded {
		t.Errorf("it ends as %+v", o.Status)
	}
}

func TestAStepThatWorksForLongEndsAtTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var ended time.Duration
		begun := time.Now()
		b := newBench(t, step("fetch", func(ctx context.Context, _ *operation.Run) error {
			<-ctx.Done()
			ended = time.Since(begun)
			return fault.New(fault.Invalid, "the content is cut off")
		}))
		b.db.Inline, b.db.Now = false, time.Now
		b.deadline = begun.Add(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		runner := reconcile.NewRunner(b.db, b.runner.Loop())
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.db.Run(ctx) })
		wg.Go(func() { runner.Run(ctx) })
		id := b.start()
		time.Sleep(2 * time.Minute)
		if o := b.find(id); o.Status.Phase != operation.Failed || ended != time.Minute || !strings.Contains(o.Status.Why, "deadline") {
			t.Errorf("it is %+v, its step ended after %s", o.Status, ended)
		}
		cancel()
		wg.Wait()
	})
}
