package operationtest

import (
	"context"
	"fmt"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

const patience = 500 // calls until the end

// play is one run of one scenario.
type play struct {
	*World
	t        testing.TB
	scenario scenario
	id       resource.ID
	runner   *operation.Runner
	failures []string

	doCount, undoCount int             // the hooks'
	seen               map[string]bool // onceUnavailable's
}

func (p *play) wrong(format string, args ...any) {
	p.failures = append(p.failures, fmt.Sprintf(format, args...))
}

// boot starts a process that knows nothing but the store.
func (p *play) boot(def operation.Definition) {
	steps := make([]operation.Step, len(def.Steps))
	for i, s := range def.Steps {
		wrapped := s
		wrapped.Do = p.around(p.scenario.do, &p.doCount, s, s.Do)
		if s.Undo != nil {
			wrapped.Undo = p.around(p.scenario.undo, &p.undoCount, s, s.Undo)
		}
		steps[i] = wrapped
	}
	def.Steps = steps
	p.runner = operation.NewRunner(p.DB, p.Statuses, def)
}

func (p *play) around(h hook, count *int, s operation.Step, real func(context.Context, *operation.Run) error) func(context.Context, *operation.Run) error {
	if h == nil {
		return real
	}
	return func(ctx context.Context, r *operation.Run) error {
		return h(p, count, s, r, func() error { return real(ctx, r) })
	}
}

func (p *play) run() {
	for range patience {
		o := store.Find(p.DB.Snapshot(), operation.Operations, p.id)
		if o == nil || operation.Ended(o) {
			return
		}
		result, err := p.step()
		if p.Invariant != nil {
			if wrong := p.Invariant(); wrong != nil {
				p.wrong("in between, at %s: %v", describe(o), wrong)
				return
			}
		}
		if err == errCrashed { //nolint:errorlint // it is never wrapped
			def := p.Definition
			if p.Restart != nil {
				def = p.Restart()
			}
			p.boot(def)
		}
		if p.Settle != nil && (err != nil || result.After > 0) {
			p.Settle()
			_ = p.DB.CatchUp(p.t.Context())
		}
	}
	p.wrong("it does not end")
}

// step calls the runner; a crash ends the call in the middle, as the death of the process would.
func (p *play) step() (result reconcile.Result, err error) {
	defer func() {
		if x := recover(); x != nil {
			if _, made := x.(crash); !made {
				panic(x)
			}
			err = errCrashed
		}
	}()
	return p.runner.Step(p.t.Context(), p.id)
}

func (p *play) judge(start string) {
	o := store.Find(p.DB.Snapshot(), operation.Operations, p.id)
	if o == nil {
		p.wrong("the operation is gone")
		return
	}
	if p.scenario.do != nil && p.doCount == 0 || p.scenario.undo != nil && p.undoCount == 0 {
		p.wrong("it ends as %s and never came to the point where it should break", describe(o))
		return
	}
	if o.Status.Phase != p.scenario.ends {
		p.wrong("it ends as %s, want %s", describe(o), p.scenario.ends)
		return
	}
	if p.scenario.ends == operation.Succeeded {
		if err := p.Reached(); err != nil {
			p.wrong("the goal is not reached: %v", err)
		}
	} else if now := p.Facts(); now != start {
		p.wrong("it is not undone: the world was\n%s\nand is\n%s", start, now)
	}
	for _, t := range o.Spec.Targets() {
		if _, err := p.DB.Store().Get(p.t.Context(), operation.TargetKey(t.ID)); !fault.Is(err, fault.NotFound) {
			p.wrong("target %s is still claimed: %v", t, err)
		}
	}
	before, facts := p.DB.Revision(), p.Facts()
	if _, err := p.step(); err != nil || p.DB.Revision() != before || p.Facts() != facts {
		p.wrong("after its end something changes still: %v", err)
	}
}
