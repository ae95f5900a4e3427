package operation_test

import (
	"context"
	"errors"
	"slices"
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
	"github.com/virga-cloud/virga/engine/store/memory"
)

type note = resource.Record[struct {
	Text string `json:"text"`
}, struct{}]

var notes = resource.Define("note", "notes", resource.Options[struct {
	Text string `json:"text"`
}, struct{}]{})

type bench struct {
	*testing.T
	db       *store.DB
	now      time.Time
	specs    *store.SpecWriter[operation.Spec, operation.Status]
	statuses *store.StatusWriter[operation.Spec, operation.Status]
	def      operation.Definition
	runner   *operation.Runner
	target   *note
	also     []resource.Ref
	deadline time.Time
}

func step(name string, do func(context.Context, *operation.Run) error) operation.Step {
	return operation.Step{Name: name, Do: do}
}

func pass(context.Context, *operation.Run) error { return nil }

func newBench(t *testing.T, steps ...operation.Step) *bench {
	l := store.NewRegistry()
	b := &bench{
		T: t, now: time.Unix(1_700_000_000, 0), db: store.NewDB(memory.New(), resource.NewCatalog(operation.Operations, notes)),
		specs: store.Specs(l, operation.Operations, "test"), statuses: store.Statuses(l, operation.Operations, "test"),
		def: operation.Definition{Type: "note.write", Steps: steps, Wakes: []resource.Kind{"note"}}, target: &note{},
	}
	b.db.Inline = true
	b.db.Now = func() time.Time { return b.now }
	b.runner = operation.NewRunner(b.db, b.statuses, b.def)
	b.must(func(batch *store.Batch) { b.noteWriter().Create(batch, b.target) })
	return b
}

func (b *bench) noteWriter() *store.SpecWriter[struct {
	Text string `json:"text"`
}, struct{}] {
	return store.Specs(store.NewRegistry(), notes, "test")
}

func (b *bench) try(fill func(batch *store.Batch)) error {
	batch := b.db.Begin()
	fill(batch)
	return b.db.Commit(b.Context(), batch)
}

func (b *bench) must(fill func(batch *store.Batch)) {
	b.Helper()
	if err := b.try(fill); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) start() resource.ID {
	b.Helper()
	var id resource.ID
	b.must(func(batch *store.Batch) {
		o, err := operation.Start(batch, b.specs, operation.Request{Type: b.def.Type, Targets: append([]resource.Ref{b.target.Ref()}, b.also...), By: "somebody", Deadline: b.deadline})
		if err != nil {
			b.Fatal(err)
		}
		id = o.ID
	})
	return id
}

func (b *bench) find(id resource.ID) *operation.Operation {
	return store.Find(b.db.Snapshot(), operation.Operations, id)
}

func (b *bench) steps(id resource.ID, n int) (last reconcile.Result, err error) {
	for range n {
		last, err = b.runner.Step(b.Context(), id)
	}
	return last, err
}

func TestOneOperationAtATimeHasATarget(t *testing.T) {
	b := newBench(t, step("one", pass))
	if err := operation.Free(b.db.Snapshot(), b.target.Ref()); err != nil {
		t.Fatal(err)
	}
	first := b.start()
	err := operation.Free(b.db.Snapshot(), b.target.Ref())
	if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), string(first)) || !strings.Contains(err.Error(), "note.write") {
		t.Errorf("it is free: %v", err)
	}
	err = b.try(func(batch *store.Batch) {
		_, _ = operation.Start(batch, b.specs, operation.Request{Type: b.def.Type, Targets: []resource.Ref{b.target.Ref()}, By: "other"})
	})
	if !fault.Is(err, fault.Exists) {
		t.Errorf("a second operation: %v", err)
	}
	b.steps(first, 3)
	if phase := b.find(first).Status.Phase; phase != operation.Succeeded {
		t.Fatalf("the first is %s", phase)
	}
	b.start()
}

func TestAnUnknownOperationIsLeftAlone(t *testing.T) {
	b := newBench(t, step("one", pass))
	b.def.Type = "note.fold"
	id := b.start()
	b.steps(id, 1)
	before := b.db.Revision()
	if _, err := b.steps(id, 3); err != nil || b.db.Revision() != before {
		t.Errorf("it is touched again: %v", err)
	}
	o := b.find(id)
	if len(o.Status.Problems) != 1 || !strings.Contains(o.Status.Problems[0].Message, "note.fold") || len(o.Status.Journal) != 0 {
		t.Errorf("status %+v", o.Status)
	}
}

func TestAnEndedOperationIsKeptForAWeek(t *testing.T) {
	b := newBench(t, step("one", pass))
	id := b.start()
	b.steps(id, 3)
	b.now = b.now.Add(operation.Kept - time.Hour)
	if r, err := b.steps(id, 1); err != nil || r.After != time.Hour || b.find(id) == nil {
		t.Fatalf("before the week is over: %v, %v", r, err)
	}
	b.now = b.now.Add(time.Hour)
	b.steps(id, 1)
	if b.find(id) != nil {
		t.Fatal("it is kept for ever")
	}
	if entries, _ := store.Held(t.Context(), b.db.Store()); len(entries) != 2 {
		t.Errorf("%d entries are left, want the note and its name", len(entries))
	}
}

func TestADeletedOperationIsUndoneFirst(t *testing.T) {
	undone := false
	s := step("one", pass)
	s.Undo = func(context.Context, *operation.Run) error { undone = true; return nil }
	b := newBench(t, s, step("two", func(context.Context, *operation.Run) error { return operation.NotYet(time.Second, "something") }))
	var told []string
	mark := resource.Ref{Kind: store.NameKind, ID: "undone"}
	b.runner.Undone = func(batch *store.Batch, o *operation.Operation, phase string) {
		told = append(told, phase+", "+o.Status.Why)
		batch.Claim(mark, o.ID)
	}
	id := b.start()
	b.steps(id, 3)
	b.must(func(batch *store.Batch) { b.specs.Delete(batch, b.find(id)) })
	b.steps(id, 6)
	if b.find(id) != nil || !undone {
		t.Errorf("undone %v, there %v", undone, b.find(id))
	}
	if !slices.Equal(told, []string{"cancelled, it was cancelled"}) {
		t.Errorf("told was %q", told)
	}
	if err := b.try(func(batch *store.Batch) { batch.Claim(mark, b.target.ID) }); !fault.Is(err, fault.Exists) {
		t.Errorf("what was written at the end is not there: %v", err)
	}
	b.start()
}

func TestCancelIsRefusedWhenItIsTooLateOrOver(t *testing.T) {
	commit := step("switch", pass)
	commit.Commit = true
	stuck := true
	after := step("clear", func(context.Context, *operation.Run) error {
		if stuck {
			return errors.New("a failure that is final elsewhere")
		}
		return nil
	})
	b := newBench(t, commit, after)
	id := b.start()
	_, err := b.steps(id, 3)
	if err == nil || b.find(id).Status.Phase != operation.Working || b.find(id).Status.Committed != "yes" {
		t.Fatalf("after the commit a failure gives %v, %+v", err, b.find(id).Status)
	}
	if p := b.find(id).Status.Problems; len(p) != 1 || !strings.Contains(p[0].Message, "clear: a failure") {
		t.Errorf("people are told %v", p)
	}
	if err := operation.Cancel(b.db.Begin(), b.specs, b.find(id)); !fault.Is(err, fault.TooLate) {
		t.Errorf("cancel after the commit: %v", err)
	}
	stuck = false
	b.steps(id, 2)
	if o := b.find(id); o.Status.Phase != operation.Succeeded || len(o.Status.Problems) != 0 {
		t.Errorf("ends as %+v", o.Status)
	}
	if err := operation.Cancel(b.db.Begin(), b.specs, b.find(id)); !fault.Is(err, fault.Precondition) {
		t.Errorf("cancel after the end: %v", err)
	}
}

func TestTheCommitAndItsWordInTheJournalAreOne(t *testing.T) {
	var b *bench
	commit := step("switch", func(_ context.Context, r *operation.Run) error {
		n := store.Find(r.DB.Snapshot(), notes, b.target.ID)
		b.noteWriter().Set(r.Batch, n, func(s *struct {
			Text string `json:"text"`
		}) {
			s.Text = "switched"
		})
		return nil
	})
	commit.Commit = true
	b = newBench(t, commit, step("clear", pass))
	id := b.start()
	b.steps(id, 1)
	if o, n := b.find(id), store.Find(b.db.Snapshot(), notes, b.target.ID); o.Revision != n.Revision || o.Status.Committed != "yes" || n.Spec.Text != "switched" {
		t.Errorf("the operation is at revision %d (%s), what it wrote at %d (%s)", o.Revision, o.Status.Committed, n.Revision, n.Spec.Text)
	}
}

func TestProgressIsToldWhileItRuns(t *testing.T) {
	b := newBench(t, step("copy", func(_ context.Context, r *operation.Run) error {
		r.Tell(3, 20, "GiB copied")
		return operation.NotYet(time.Second, "the copy")
	}))
	id := b.start()
	b.steps(id, 1)
	before := b.db.Revision()
	if r, err := b.steps(id, 1); err != nil || r.After != time.Second || b.db.Revision() != before {
		t.Errorf("a waiting step: %v, %v", r, err)
	}
	if p, ok := b.runner.Progress(id); !ok || p.Done != 3 || p.Total != 20 {
		t.Errorf("progress %+v", p)
	}
}

func TestADefinitionWithoutSenseStopsTheProgram(t *testing.T) {
	c := step("a", pass)
	c.Commit = true
	d := step("b", pass)
	d.Commit = true
	for what, steps := range map[string][]operation.Step{
		"no steps": nil, "two commits": {c, d}, "a name twice": {step("a", pass), step("a", pass)}, "no do": {step("a", nil)},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is accepted", what)
				}
			}()
			operation.NewRunner(nil, nil, operation.Definition{Type: "x", Steps: steps})
		}()
	}
}

func TestTheLoopRunsOperationsAndWakesThemWhenTheirTargetChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b *bench
		b = newBench(t, step("wait", func(_ context.Context, r *operation.Run) error {
			if store.Find(r.DB.Snapshot(), notes, b.target.ID).Spec.Text == "" {
				return operation.NotYet(time.Hour, "a text")
			}
			return nil
		}))
		b.db.Inline = false
		b.db.Now = time.Now
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		runner := reconcile.NewRunner(b.db, b.runner.Loop())
		var wg sync.WaitGroup
		wg.Go(func() { _ = b.db.Run(ctx) })
		wg.Go(func() { runner.Run(ctx) })
		id := b.start()
		synctest.Wait()
		if phase := b.find(id).Status.Phase; phase != operation.Working {
			t.Fatalf("it is %s", phase)
		}
		begun := time.Now()
		b.must(func(batch *store.Batch) {
			b.noteWriter().Set(batch, store.Find(b.db.Snapshot(), notes, b.target.ID), func(s *struct {
				Text string `json:"text"`
			}) {
				s.Text = "here"
			})
		})
		synctest.Wait()
		if o := b.find(id); o.Status.Phase != operation.Succeeded || time.Since(begun) > time.Second {
			t.Errorf("it is %s after %s", o.Status.Phase, time.Since(begun))
		}
		cancel()
		wg.Wait()
	})
}
