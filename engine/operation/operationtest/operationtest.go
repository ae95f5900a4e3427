// Package operationtest breaks an operation at every point where it can break.
//
// For every step of a definition: the Do fails for good before or after its effect; the process
// dies before the Do, after its effect and before the journal knows, and in the undo; every Do
// and Undo is called twice; somebody cancels; its deadline comes. Before the commit the world must be as it was at
// the start, from the commit on the goal must be reached, and nothing may be left claimed.
package operationtest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// World is a fresh world for one run of the operation.
type World struct {
	// DB has the operation kind in its catalog. It is made Inline: no goroutine runs its view.
	DB *store.DB
	// Specs and Statuses write operations.
	Specs    *store.SpecWriter[operation.Spec, operation.Status]
	Statuses *store.StatusWriter[operation.Spec, operation.Status]
	// Definition is the operation under test.
	Definition operation.Definition
	// Restart makes the definition anew after a crash, without the memory of the old process.
	// nil: the definition keeps nothing in memory.
	Restart func() operation.Definition
	// Target, Also and Input are what it is started with.
	Target resource.Ref
	Also   []resource.Ref
	Input  any
	// Facts is a picture in words of all that the operation may touch. It must be the same at the
	// start and after everything was undone.
	Facts func() string
	// Reached says what is missing from the goal after success.
	Reached func() error
	// Invariant says what is wrong at a moment in between. nil: nothing can be.
	Invariant func() error
	// Settle lets everybody else act while a step waits. nil: there is nobody else.
	Settle func()
}

// Run runs the suite; open makes a fresh world.
func Run(t *testing.T, open func(t testing.TB) *World) {
	for _, s := range scenarios(open(t).Definition) {
		t.Run(s.name, func(t *testing.T) {
			for _, wrong := range s.play(t, open(t)) {
				t.Error(wrong)
			}
		})
	}
}

// Check runs the suite and gives what is wrong, in words. It is there to test the suite itself.
func Check(t testing.TB, open func(t testing.TB) *World) []string {
	var out []string
	for _, s := range scenarios(open(t).Definition) {
		for _, wrong := range s.play(t, open(t)) {
			out = append(out, s.name+": "+wrong)
		}
	}
	return out
}

// scenario is one way in which it breaks. The hooks stand around the calls of the definition;
// call makes the real one.
type scenario struct {
	name string
	do   hook
	undo hook
	ends string // the phase in which it must end
	due  bool   // it has a deadline
}

// count is the hook's own; a hook that counts nothing has not come to its point.
type hook func(p *play, count *int, step operation.Step, r *operation.Run, call func() error) error

func scenarios(def operation.Definition) []scenario {
	commit := len(def.Steps)
	for i, s := range def.Steps {
		if s.Commit {
			commit = i
		}
	}
	out := []scenario{
		{name: "AllGoesWell", ends: operation.Succeeded},
		{name: "EveryDoIsCalledTwice", do: twice, ends: operation.Succeeded},
		{name: "EveryDoIsOnceUnavailable", do: onceUnavailable(), ends: operation.Succeeded},
	}
	for i, s := range def.Steps {
		turned, cancelled := operation.Failed, operation.Cancelled
		if i > commit {
			turned, cancelled = operation.Succeeded, operation.Succeeded
		}
		overdue := operation.Succeeded
		if i < commit {
			overdue = operation.Failed
		}
		if i < len(def.Steps)-1 || i >= commit { // of the last step it is open which comes first
			out = append(out, scenario{name: "DeadlineComesAt" + s.Name, do: dues(s.Name), ends: overdue, due: true})
		}
		out = append(out,
			scenario{name: s.Name + "FailsBeforeItsEffect", do: fails(s.Name, false, i > commit), ends: turned},
			scenario{name: s.Name + "FailsAfterItsEffect", do: fails(s.Name, true, i > commit), ends: turned},
			scenario{name: s.Name + "IsCancelled", do: cancels(s.Name, i > commit), ends: cancelled},
			scenario{name: "CrashBefore" + s.Name, do: crashes(s.Name, false, false), ends: operation.Succeeded},
			scenario{name: "CrashAfter" + s.Name, do: crashes(s.Name, true, false), ends: operation.Succeeded},
			scenario{name: "CrashWhenDone" + s.Name, do: crashes(s.Name, true, true), ends: operation.Succeeded},
		)
	}
	last := min(commit, len(def.Steps)-1)
	broken := fails(def.Steps[last].Name, true, false)
	out = append(out, scenario{name: "EveryUndoIsCalledTwice", do: broken, undo: twice, ends: operation.Failed})
	for _, s := range def.Steps[:last+1] {
		if s.Undo == nil {
			continue
		}
		out = append(out,
			scenario{name: "CrashBeforeUndoOf" + s.Name, do: broken, undo: crashes(s.Name, false, false), ends: operation.Failed},
			scenario{name: "CrashAfterUndoOf" + s.Name, do: broken, undo: crashes(s.Name, true, false), ends: operation.Failed},
			scenario{name: "UndoOf" + s.Name + "FailsAtFirst", do: broken, undo: fails(s.Name, false, true), ends: operation.Failed},
		)
	}
	return out
}

var errInjected = fault.New(fault.Internal, "a failure that the test made")

// fails lets a step fail for good; where there is no way back it gets better after three times.
func fails(name string, after, recovers bool) hook {
	return func(p *play, count *int, s operation.Step, _ *operation.Run, call func() error) error {
		if s.Name != name || recovers && *count >= 3 {
			return call()
		}
		if after {
			if err := call(); err != nil {
				return err
			}
		}
		*count++
		return errInjected
	}
}

func twice(_ *play, count *int, _ operation.Step, r *operation.Run, call func() error) error {
	if err := call(); err != nil {
		return err
	}
	*count++
	if r.Batch != nil { // what the first call put into it was never committed
		r.Batch = r.DB.Begin()
	}
	return call()
}

func onceUnavailable() hook {
	return func(p *play, count *int, s operation.Step, _ *operation.Run, call func() error) error {
		if p.seen[s.Name] {
			return call()
		}
		p.seen[s.Name] = true
		*count++
		if err := call(); err != nil {
			return err
		}
		return fault.New(fault.Unavailable, "the answer was lost")
	}
}

type crash struct{}

// crashes ends the process at the step: before the call, after it, or after it came to its end.
func crashes(name string, after, whenDone bool) hook {
	return func(p *play, count *int, s operation.Step, _ *operation.Run, call func() error) error {
		if s.Name != name || *count > 0 {
			return call()
		}
		if after {
			if err := call(); err != nil && whenDone {
				return err
			}
		}
		*count++
		panic(crash{})
	}
}

func cancels(name string, tooLate bool) hook {
	return func(p *play, count *int, s operation.Step, r *operation.Run, call func() error) error {
		if s.Name != name || *count > 0 {
			return call()
		}
		*count++
		b := p.DB.Begin()
		err := operation.Cancel(b, p.Specs, store.Find(p.DB.Snapshot(), operation.Operations, r.Operation.ID))
		if tooLate != fault.Is(err, fault.TooLate) {
			p.wrong("cancel gives %v", err)
		}
		if err == nil {
			err = p.DB.Commit(p.t.Context(), b)
		}
		if err != nil && !tooLate {
			p.wrong("cancel: %v", err)
		}
		return call()
	}
}

// soon is how far away a deadline is: nothing that a clock tells besides may come with it.
const soon = time.Second

// dues lets the deadline come while a step works.
func dues(name string) hook {
	return func(p *play, count *int, s operation.Step, r *operation.Run, call func() error) error {
		if s.Name == name && *count == 0 {
			*count++
			now := p.DB.Now
			p.DB.Now = func() time.Time { return now().Add(soon) }
		}
		return call()
	}
}

func (s scenario) play(t testing.TB, w *World) []string {
	p := &play{World: w, t: t, scenario: s, seen: map[string]bool{}}
	w.DB.Inline = true
	if err := w.DB.CatchUp(t.Context()); err != nil {
		return []string{err.Error()}
	}
	start := w.Facts()
	b := w.DB.Begin()
	q := operation.Request{Type: w.Definition.Type, Targets: append([]resource.Ref{w.Target}, w.Also...), Input: w.Input, By: "test"}
	if s.due {
		q.Deadline = w.DB.Now().Add(soon)
	}
	o, err := operation.Start(b, w.Specs, q)
	if err == nil {
		err = w.DB.Commit(t.Context(), b)
	}
	if err != nil {
		return []string{"start: " + err.Error()}
	}
	p.id = o.ID
	p.boot(w.Definition)
	p.run()
	p.judge(start)
	return p.failures
}

var errCrashed = errors.New("the process died")

// describe is what a play says of an operation.
func describe(o *operation.Operation) string {
	return fmt.Sprintf("%s (%s)", o.Status.Phase, o.Status.Why)
}
