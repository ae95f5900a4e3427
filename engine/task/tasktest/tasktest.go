// Package tasktest breaks a task at every point where it can break.
//
// At each call of its Do: the agent dies before it, or after its effect; it fails for good; the task is
// cancelled; its target is deleted; the host does not hear its servers when it is cancelled. Every Do and
// every Stop is called twice, and the agent dies in a Stop. After success the goal must be reached; after
// all else the host must be as it was, and nothing may change any more.
package tasktest

import (
	"context"
	"fmt"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/task"
)

// World is a fresh world for one run of the task.
type World struct {
	// DB has the task kind in its catalog. It is made Inline: no goroutine runs its view.
	DB *store.DB
	// Specs and Statuses write tasks.
	Specs    *store.SpecWriter[task.Spec, task.Status]
	Statuses *store.StatusWriter[task.Spec, task.Status]
	// Definition is the task under test. Restart makes it anew after a crash, without the memory of the old
	// agent; nil: it keeps nothing in memory.
	Definition task.Definition
	Restart    func() task.Definition
	// Start puts the task into a batch.
	Start func(*store.Batch) (*task.Task, error)
	// Facts is a picture in words of all that the task may touch. It must be the same at the start and
	// after a task that did not succeed.
	Facts func() string
	// Reached says what is missing from the goal after success.
	Reached func() error
	// Settle lets the world go on while the task waits. nil: it goes on by itself.
	Settle func()
}

// Run runs the suite; open makes a fresh world.
func Run(t *testing.T, open func(t testing.TB) *World) {
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			for _, wrong := range s.play(t, open(t)) {
				t.Error(wrong)
			}
		})
	}
}

// Check runs the suite and gives what is wrong, in words. It is there to test the suite itself.
func Check(t testing.TB, open func(t testing.TB) *World) (out []string) {
	for _, s := range scenarios {
		for _, wrong := range s.play(t, open(t)) {
			out = append(out, s.name+": "+wrong)
		}
	}
	return out
}

// calls are those of the Do at which something happens: the first begins, a later one adopts.
const calls = 3

type scenario struct {
	name string
	do   hook // around each Do; n counts from 0
	stop hook
	ends string // the phase in which it ends; gone: its record goes
	may  bool   // the work may end before it comes to its point
}

type hook func(p *play, n int, call func() error) error

const gone = "gone"

var scenarios = makeScenarios()

func makeScenarios() []scenario {
	out := []scenario{
		{name: "AllGoesWell", ends: task.Succeeded},
		{name: "EveryDoIsCalledTwice", do: twice, ends: task.Succeeded},
		{name: "EveryDoIsOnceUnavailable", do: unavailable, ends: task.Succeeded},
		{name: "CancelledBeforeItBegins", do: nil, ends: task.Cancelled},
	}
	for at := range calls {
		n, may := fmt.Sprint(at+1), at > 0
		add := func(name string, do, stop hook, ends string) {
			out = append(out, scenario{name: name + "AtDo" + n, do: do, stop: stop, ends: ends, may: may})
		}
		add("CrashBefore", only(at, false, crash), nil, task.Succeeded)
		add("CrashAfter", only(at, true, crash), nil, task.Succeeded)
		add("FailsBeforeItsEffect", only(at, false, fail), nil, task.Failed)
		add("FailsAfterItsEffect", only(at, true, fail), nil, task.Failed)
		add("Cancelled", only(at, true, cancel), nil, task.Cancelled)
		add("CancelledAndStoppedTwice", only(at, true, cancel), twice, task.Cancelled)
		add("CancelledAndCrashBeforeStop", only(at, true, cancel), only(0, false, crash), task.Cancelled)
		add("CancelledAndCrashAfterStop", only(at, true, cancel), only(0, true, crash), task.Cancelled)
		add("CancelledAndStopFailsAtFirst", only(at, true, cancel), only(0, false, fail), task.Cancelled)
		add("CancelledInDoubt", only(at, true, doubt), nil, task.Cancelled)
		add("Deleted", only(at, true, remove), nil, gone)
	}
	return out
}

func twice(_ *play, _ int, call func() error) error {
	if err := call(); err != nil && !waits(err) {
		return err
	}
	return call()
}

func waits(err error) bool {
	_, yes := operation.Waits(err)
	return yes
}

func unavailable(p *play, n int, call func() error) error {
	err := call()
	if n%2 == 0 {
		p.hit = true
		return fault.New(fault.Unavailable, "the answer was lost")
	}
	return err
}

// only does something at one call, before it or after its effect.
func only(at int, after bool, what func(p *play) error) hook {
	return func(p *play, n int, call func() error) error {
		if n != at {
			return call()
		}
		var err error
		if after {
			if err = call(); err != nil && !waits(err) {
				return err
			}
		}
		p.hit = true
		if met := what(p); met != nil || after {
			if met != nil {
				err = met
			}
			return err
		}
		return call()
	}
}

type died struct{}

func crash(*play) error { panic(died{}) }

func fail(*play) error { return fault.New(fault.Internal, "a failure that the test made") }

func cancel(p *play) error {
	p.commit(func(b *store.Batch, t *task.Task) error { return task.Cancel(b, p.Specs, t) })
	return nil
}

func doubt(p *play) error {
	p.doubt = fault.New(fault.Unavailable, "no server has answered")
	return cancel(p)
}

func remove(p *play) error {
	p.commit(func(b *store.Batch, t *task.Task) error { p.Specs.Delete(b, t); return nil })
	return nil
}

// play is one run of one scenario.
type play struct {
	*World
	t      testing.TB
	s      scenario
	id     resource.ID
	runner *task.Runner
	doubt  error
	hit    bool
	failed []string

	dos, stops int
}

func (p *play) wrong(format string, args ...any) {
	p.failed = append(p.failed, fmt.Sprintf(format, args...))
}

func (p *play) find() *task.Task { return store.Find(p.DB.Snapshot(), task.Tasks, p.id) }

func (p *play) commit(fill func(*store.Batch, *task.Task) error) {
	b := p.DB.Begin()
	err := fill(b, p.find())
	if err == nil {
		err = p.DB.Commit(p.t.Context(), b)
	}
	if err != nil {
		p.wrong("a request: %v", err)
	}
}

func (p *play) boot(def task.Definition) {
	do, stop := def.Do, def.Stop
	def.Do = func(ctx context.Context, r *task.Run) error {
		p.dos++
		return around(p, p.s.do, p.dos-1, func() error { return do(ctx, r) })
	}
	def.Stop = func(ctx context.Context, r *task.Run) error {
		if p.doubt != nil {
			p.wrong("it is stopped in doubt")
		}
		p.stops++
		return around(p, p.s.stop, p.stops-1, func() error { return stop(ctx, r) })
	}
	known := reconcile.Knowledge{DB: p.DB, Current: func() error { return p.doubt }}
	p.runner = task.NewRunner(known, p.find().Spec.HostID, p.Statuses, def)
}

func around(p *play, h hook, n int, call func() error) error {
	if h == nil {
		return call()
	}
	return h(p, n, call)
}

// step calls the runner; a crash ends the call in the middle, as the death of the agent would.
func (p *play) step() (crashed bool) {
	defer func() {
		if x := recover(); x != nil {
			if _, made := x.(died); !made {
				panic(x)
			}
			crashed = true
		}
	}()
	_, _ = p.runner.Step(p.t.Context(), p.id)
	return false
}

func (s scenario) play(t testing.TB, w *World) []string {
	p := &play{World: w, t: t, s: s}
	w.DB.Inline = true
	if err := w.DB.CatchUp(t.Context()); err != nil {
		return []string{err.Error()}
	}
	start := w.Facts()
	b := w.DB.Begin()
	n, err := w.Start(b)
	if err == nil {
		err = w.DB.Commit(t.Context(), b)
	}
	if err != nil {
		return []string{"start: " + err.Error()}
	}
	p.id = n.ID
	if s.name == "CancelledBeforeItBegins" {
		_ = cancel(p)
	}
	p.boot(w.Definition)
	p.run()
	p.judge(start)
	return p.failed
}

const patience = 2000 // calls until the end

func (p *play) run() {
	for i := range patience {
		n := p.find()
		if n == nil || task.Ended(n) && n.Deleting == nil {
			return
		}
		if p.step() {
			def := p.Definition
			if p.Restart != nil {
				def = p.Restart()
			}
			p.boot(def)
		}
		if p.doubt != nil && i > 20 {
			if n := p.find(); task.Ended(n) {
				p.wrong("in doubt it ends as %s", n.Status.Phase)
			}
			p.doubt = nil
		}
		if p.Settle != nil {
			p.Settle()
		}
		_ = p.DB.CatchUp(p.t.Context())
	}
	p.wrong("it does not end: %+v", p.find().Status)
}

func (p *play) judge(start string) {
	n, ends := p.find(), p.s.ends
	if (p.s.do != nil) && !p.hit && p.s.name != "EveryDoIsCalledTwice" {
		if !p.s.may {
			p.wrong("it never came to the point where it should break")
		}
		return
	}
	phase := gone
	if n != nil {
		phase = n.Status.Phase
	}
	// What comes with the last Do finds the work done.
	late := p.s.may && phase == task.Succeeded && ends == task.Cancelled
	switch {
	case late:
		ends = task.Succeeded
	case phase != ends:
		p.wrong("it ends as %s, want %s: %+v", phase, ends, n)
		return
	}
	if ends == task.Succeeded {
		if err := p.Reached(); err != nil {
			p.wrong("the goal is not reached: %v", err)
		}
	} else if now := p.Facts(); now != start && !(ends == gone && p.Reached() == nil && p.stops == 0) {
		p.wrong("something is left: the host was\n%s\nand is\n%s", start, now)
	}
	before, facts := p.DB.Revision(), p.Facts()
	if p.step() || p.DB.Revision() != before || p.Facts() != facts {
		p.wrong("after its end something changes still")
	}
}
