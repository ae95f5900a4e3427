package task_test

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/engine/store/remote"
	"github.com/virga-cloud/virga/engine/task"
)

type note = resource.Record[struct{}, struct{}]

var (
	notes  = resource.Define("note", "notes", resource.Options[struct{}, struct{}]{})
	hosts  = resource.Define("host", "hosts", resource.Options[struct{}, struct{}]{Scope: resource.InCloud})
	copies = task.Type[string]{Name: "note.copy", Limit: 2}
)

// bench is a server and a host; what a Do answers is said by the test.
type bench struct {
	*testing.T
	db         *store.DB
	now        time.Time
	doubt      error
	specs      *store.SpecWriter[task.Spec, task.Status]
	noteSpecs  *store.SpecWriter[struct{}, struct{}]
	hostSpecs  *store.SpecWriter[struct{}, struct{}]
	host       *note
	target     *note
	runner     *task.Runner
	controller *task.Controller
	answer     func(input string, r *task.Run) error
	stopped    []string
}

func newBench(t *testing.T) *bench {
	l := store.NewRegistry()
	b := &bench{T: t, now: time.Unix(1_700_000_000, 0), db: store.NewDB(memory.New(), resource.NewCatalog(task.Tasks, notes, hosts)),
		specs: store.Specs(l, task.Tasks, "servers"), noteSpecs: store.Specs(l, notes, "test"), hostSpecs: store.Specs(l, hosts, "test"),
		host: &note{}, target: &note{}, answer: func(string, *task.Run) error { return task.NotYet(time.Second, "it") }}
	b.db.Inline, b.db.Now = true, func() time.Time { return b.now }
	def := copies.Define(func(_ context.Context, r *task.Run, input string) error { return b.answer(input, r) },
		func(_ context.Context, _ *task.Run, input string) error {
			b.stopped = append(b.stopped, input)
			return nil
		})
	b.controller = task.NewController(b.db, b.specs)
	b.must(func(batch *store.Batch) { b.noteSpecs.Create(batch, b.target); b.hostSpecs.Create(batch, b.host) })
	known := reconcile.Knowledge{DB: b.db, Current: func() error { return b.doubt }}
	b.runner = task.NewRunner(known, b.host.ID, store.Statuses(l, task.Tasks, "agent"), def)
	return b
}

func (b *bench) must(fill func(batch *store.Batch)) {
	b.Helper()
	batch := b.db.Begin()
	fill(batch)
	if err := b.db.Commit(b.Context(), batch); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) start(input string) resource.ID {
	b.Helper()
	var n *task.Task
	b.must(func(batch *store.Batch) {
		var err error
		if n, err = copies.Start(batch, b.specs, task.Request{HostID: b.host.ID, Target: b.target.Ref(), By: "somebody"}, input); err != nil {
			b.Fatal(err)
		}
	})
	return n.ID
}

func (b *bench) find(id resource.ID) *task.Task { return store.Find(b.db.Snapshot(), task.Tasks, id) }

func (b *bench) phase(id resource.ID) string {
	if t := b.find(id); t != nil {
		return t.Status.Phase
	}
	return "gone"
}

func (b *bench) step(ids ...resource.ID) (last reconcile.Result, err error) {
	for _, id := range ids {
		last, err = b.runner.Step(b.Context(), id)
	}
	return last, err
}

// rests fails when a further look changes something.
func (b *bench) rests(ids ...resource.ID) {
	b.Helper()
	before := b.db.Revision()
	for _, id := range ids {
		_, _ = b.runner.Step(b.Context(), id)
		_, _ = b.controller.Step(b.Context(), id)
	}
	if b.db.Revision() != before {
		b.Error("a second look changes something")
	}
}

func TestATaskWorksAndGivesItsOutput(t *testing.T) {
	b := newBench(t)
	b.answer = func(_ string, r *task.Run) error {
		r.Tell(3, 20, "copied 3 of 20 GiB")
		return task.NotYet(time.Second, "it")
	}
	id := b.start("a")
	if r, err := b.step(id); err != nil || r.After != time.Second || b.phase(id) != task.Running {
		t.Fatalf("it is %s: %v, %v", b.phase(id), r, err)
	}
	if p, known := b.runner.Progress(id); !known || p.Words != "copied 3 of 20 GiB" {
		t.Errorf("progress %+v", p)
	}
	b.rests(id)
	b.answer = func(_ string, r *task.Run) error { return r.Give(7) }
	b.step(id, id)
	n, err := task.Output[int](b.find(id))
	if done, failed := task.Outcome(b.find(id)); !done || failed != nil || err != nil || n != 7 {
		t.Errorf("it gave %d: %v, %v, %v", n, done, failed, err)
	}
	if _, known := b.runner.Progress(id); known {
		t.Error("progress of an ended task is kept")
	}
	b.rests(id)
}

func TestOfATypeSoManyWorkAtOnceAndTheOldestIsNext(t *testing.T) {
	b := newBench(t)
	ids := []resource.ID{b.start("a"), b.start("b"), b.start("c"), b.start("d")}
	newest := slices.Clone(ids)
	slices.Reverse(newest) // in whatever order they are looked at
	b.step(newest...)
	want := []string{task.Running, task.Running, task.Pending, task.Pending}
	for i, id := range ids {
		if b.phase(id) != want[i] {
			t.Errorf("task %d is %s, want %s", i, b.phase(id), want[i])
		}
	}
	b.rests(ids...)
	woken := b.runner.Loop().Also[task.Tasks.Kind]
	if len(woken(b.find(ids[0]))) != 0 {
		t.Error("a task that works wakes others")
	}
	b.answer = func(input string, _ *task.Run) error {
		if input == "b" {
			return nil
		}
		return task.NotYet(time.Second, "it")
	}
	b.step(ids[1])
	if got := woken(b.find(ids[1])); !slices.Equal(sorted(got), ids[2:]) {
		t.Errorf("its end wakes %v, want those that wait", got)
	}
	b.step(ids[3], ids[2], ids[3])
	if b.phase(ids[2]) != task.Running || b.phase(ids[3]) != task.Pending {
		t.Errorf("the next is %s, the one after it %s", b.phase(ids[2]), b.phase(ids[3]))
	}
}

func sorted(ids []resource.ID) []resource.ID { slices.Sort(ids); return ids }

func TestAFailureIsFinalOnlyWhenNothingCanMendIt(t *testing.T) {
	b := newBench(t)
	id := b.start("a")
	b.answer = func(string, *task.Run) error { return fault.New(fault.Unavailable, "the share is not mounted") }
	if _, err := b.step(id); !fault.Is(err, fault.Unavailable) || b.phase(id) != task.Running {
		t.Fatalf("it is %s: %v", b.phase(id), err)
	}
	if p := b.find(id).Status.Problems; len(p) != 1 || !strings.Contains(p[0].Message, "mounted") {
		t.Errorf("people are told %v", p)
	}
	b.rests(id)
	b.answer = func(string, *task.Run) error { return fault.New(fault.Invalid, "what came is cut off") }
	b.step(id)
	done, err := task.Outcome(b.find(id))
	if done || !fault.Is(err, fault.Invalid) || !slices.Equal(b.stopped, []string{"a"}) {
		t.Errorf("it ended with %v, stopped %v", err, b.stopped)
	}
	b.rests(id)
}

func TestACancelledTaskIsStoppedFirst(t *testing.T) {
	b := newBench(t)
	id := b.start("a")
	b.step(id)
	b.must(func(batch *store.Batch) { _ = task.Cancel(batch, b.specs, b.find(id)) })
	b.doubt = fault.New(fault.Unavailable, "no server has answered")
	if _, err := b.step(id); !fault.Is(err, fault.Unavailable) || len(b.stopped) != 0 || task.Ended(b.find(id)) {
		t.Fatalf("in doubt it is %s, stopped %v: %v", b.phase(id), b.stopped, err)
	}
	b.doubt = nil
	b.step(id)
	if b.phase(id) != task.Cancelled || len(b.stopped) != 1 {
		t.Errorf("it is %s, stopped %v", b.phase(id), b.stopped)
	}
	if err := task.Cancel(b.db.Begin(), b.specs, b.find(id)); !fault.Is(err, fault.Precondition) {
		t.Errorf("cancelled twice: %v", err)
	}
	b.rests(id)
}

func TestATaskGoesWithItsTarget(t *testing.T) {
	b := newBench(t)
	id := b.start("a")
	b.step(id)
	if w := task.Working(b.db.Snapshot(), b.target.ID); len(w) != 1 || w[0].ID != id {
		t.Fatalf("on the target work %v", w)
	}
	b.must(func(batch *store.Batch) {
		store.Hold(batch, store.Find(b.db.Snapshot(), notes, b.target.ID), "whoever looks after it")
	})
	target := store.Find(b.db.Snapshot(), notes, b.target.ID)
	b.must(func(batch *store.Batch) { b.noteSpecs.Delete(batch, target) })
	target = store.Find(b.db.Snapshot(), notes, b.target.ID)
	if woken := b.controller.Loop().Also["note"](target); !slices.Equal(woken, []resource.ID{id}) {
		t.Errorf("the end of the target wakes %v", woken)
	}
	if _, err := b.controller.Step(t.Context(), id); err != nil || b.find(id).Deleting == nil || len(b.stopped) != 0 {
		t.Fatalf("the servers: %v, %+v", err, b.find(id))
	}
	b.step(id)
	if b.phase(id) != "gone" || len(b.stopped) != 1 || len(task.Working(b.db.Snapshot(), b.target.ID)) != 0 {
		t.Errorf("it is %s, stopped %v", b.phase(id), b.stopped)
	}
	b.rests(id)
}

func TestATaskOfARemovedHostGoes(t *testing.T) {
	b := newBench(t)
	id := b.start("a")
	b.step(id)
	b.must(func(batch *store.Batch) { b.hostSpecs.Delete(batch, store.Find(b.db.Snapshot(), hosts, b.host.ID)) })
	_, err := b.controller.Step(t.Context(), id)
	if err != nil || b.phase(id) != "gone" {
		t.Errorf("it is %s: %v", b.phase(id), err)
	}
}

func TestAnEndedTaskIsKeptForADay(t *testing.T) {
	b := newBench(t)
	b.answer = func(string, *task.Run) error { return nil }
	id := b.start("a")
	b.step(id)
	b.now = b.now.Add(task.Kept - time.Hour)
	if r, err := b.controller.Step(t.Context(), id); err != nil || r.After != time.Hour || b.phase(id) != task.Succeeded {
		t.Fatalf("before the day is over: %s, %v, %v", b.phase(id), r, err)
	}
	b.now = b.now.Add(time.Hour)
	_, _ = b.controller.Step(t.Context(), id)
	b.step(id)
	if b.phase(id) != "gone" || len(b.stopped) != 0 {
		t.Errorf("it is %s, stopped %v", b.phase(id), b.stopped)
	}
}

func TestATaskOfAnotherVersionIsLeftAlone(t *testing.T) {
	b := newBench(t)
	var n *task.Task
	b.must(func(batch *store.Batch) {
		n, _ = task.Type[string]{Name: "note.fold"}.Start(batch, b.specs, task.Request{HostID: b.host.ID, Target: b.target.Ref()}, "a")
	})
	_, err := b.step(n.ID)
	if p := b.find(n.ID).Status.Problems; err != nil || len(p) != 1 || !strings.Contains(p[0].Message, "note.fold") || task.Ended(b.find(n.ID)) {
		t.Errorf("it is %+v: %v", b.find(n.ID).Status, err)
	}
	b.rests(n.ID)
}

func TestAnotherHostsTaskIsNotTouched(t *testing.T) {
	b := newBench(t)
	other := &note{}
	b.must(func(batch *store.Batch) { b.hostSpecs.Create(batch, other) })
	b.host = other
	id := b.start("a")
	if _, err := b.step(id); err != nil || b.phase(id) != "" {
		t.Errorf("it is %s: %v", b.phase(id), err)
	}
}

func TestADefinitionWithoutSenseStopsTheProgram(t *testing.T) {
	nothing := func(context.Context, *task.Run) error { return nil }
	for what, defs := range map[string][]task.Definition{
		"no do":     {{Type: "a", Limit: 1, Stop: nothing}},
		"no stop":   {{Type: "a", Limit: 1, Do: nothing}},
		"no limit":  {{Type: "a", Do: nothing, Stop: nothing}},
		"the twice": {{Type: "a", Limit: 1, Do: nothing, Stop: nothing}, {Type: "a", Limit: 1, Do: nothing, Stop: nothing}},
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s is accepted", what)
				}
			}()
			task.NewRunner(reconcile.Knowledge{}, "", nil, defs...)
		}()
	}
}

// However they are looked at: never more than may, nobody overtaken, and room is never left over.
func TestTheTurnIsFair(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limit := rapid.IntRange(1, 4).Draw(t, "limit")
		var all []*task.Task
		for range rapid.IntRange(1, 10).Draw(t, "tasks") {
			n := &task.Task{Spec: task.Spec{Type: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "type")}}
			n.ID = resource.NewID()
			all = append(all, n)
		}
		for range 30 {
			x := rapid.SampledFrom(all).Draw(t, "looked at")
			if x.Status.Phase == task.Running && rapid.Bool().Draw(t, "ends") {
				x.Status.Phase = task.Succeeded
			} else if x.Status.Phase == "" && task.Turn(all, x, limit) {
				x.Status.Phase = task.Running
				for _, o := range all {
					if o.Spec.Type == x.Spec.Type && o.Status.Phase == "" && cmp.Less(o.ID, x.ID) && !task.Turn(all, o, limit) {
						t.Fatal("a younger one has taken the place of an older one")
					}
				}
			}
			running, waiting, may := map[string]int{}, map[string]int{}, map[string]int{}
			for _, o := range all {
				switch {
				case o.Status.Phase == task.Running:
					running[o.Spec.Type]++
				case o.Status.Phase == "":
					waiting[o.Spec.Type]++
					if task.Turn(all, o, limit) {
						may[o.Spec.Type]++
					}
				}
			}
			for _, kind := range []string{"a", "b"} {
				if running[kind] > limit || may[kind] != min(waiting[kind], limit-running[kind]) {
					t.Fatalf("of type %s %d run, %d wait and %d of them may begin; at most %d run", kind, running[kind], waiting[kind], may[kind], limit)
				}
			}
		}
	})
}

// The servers let an agent let go of a record for a holder of its own name alone: a task that it may not let go of is
// never gone.
func TestAnAgentMayLetGoOfItsTasks(t *testing.T) {
	if task.Holder != remote.AgentHolder {
		t.Errorf("tasks are held by %q, and agents let go for %q", task.Holder, remote.AgentHolder)
	}
}
