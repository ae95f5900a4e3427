package cli

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/virga-cloud/virga/client"
)

// patience are the flags --wait and --timeout.
type patience struct {
	wait  bool
	limit time.Duration
	until string // what is waited for beyond ready; see addWaitFor
}

func addPatience(cmd *cobra.Command, what string) *patience {
	p := &patience{}
	cmd.Flags().BoolVar(&p.wait, "wait", false, "wait until "+what)
	cmd.Flags().DurationVar(&p.limit, "timeout", 10*time.Minute, "how long --wait waits at most")
	return p
}

// progress is one line on a terminal that is written anew.
type progress struct {
	mu    sync.Mutex
	cmd   *cobra.Command
	on    bool
	shown string
}

func newProgress(cmd *cobra.Command) *progress { return &progress{cmd: cmd, on: watched(cmd)} }

func (p *progress) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on || text == p.shown {
		return
	}
	p.shown = text
	text = harmless(oneLine(text))
	if f, ok := p.cmd.ErrOrStderr().(*os.File); ok {
		if width, _, err := term.GetSize(int(f.Fd())); err == nil && width > 1 {
			text = cut(text, width-1)
		}
	}
	fmt.Fprint(p.cmd.ErrOrStderr(), "\r\x1b[K"+text)
}

// end takes the line away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on && p.shown != "" {
		fmt.Fprint(p.cmd.ErrOrStderr(), "\r\x1b[K")
		p.shown = ""
	}
}

// follow shows how a record is doing, until the returned function is called.
func (s *session) follow(cmd *cobra.Command, n *noun, r *record) (end func()) {
	p := newProgress(cmd)
	if !p.on {
		return func() {}
	}
	ctx, cancel := context.WithCancel(cmd.Context())
	var done sync.WaitGroup
	done.Go(func() {
		begin := time.Now()
		for {
			if now, err := s.get(ctx, n, r.Project, r.ID); err == nil {
				p.say(fmt.Sprintf("%s %s: %s (%s)", n.one(), r.Name, s.underWay(ctx, now), age(begin, time.Now())))
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
	})
	return func() { cancel(); done.Wait(); p.end() }
}

// underWay says how a record is, and how far the operation is that works on it.
func (s *session) underWay(ctx context.Context, r *record) string {
	text, id := doing(r, ""), r.text(at(&vmOf.Status.OperationID))
	if id == "" {
		return text
	}
	op, err := s.get(ctx, operations(), r.Project, id)
	if err != nil || op.state() != "running" {
		return text
	}
	return text + strings.TrimPrefix(doing(op, s.howFar(ctx, op)), "running")
}

// doing says in a few words how a record is; far is how far, if somebody knows.
func doing(r *record, far string) string {
	text := r.state()
	if text == "-" {
		text = "accepted, and not looked at yet"
	}
	if r.Deleting != nil && len(r.Holders) > 0 {
		text += ", held by " + strings.Join(r.Holders, ", ")
	}
	if journal := r.list(at(&operationOf.Status.Journal)); len(journal) > 0 {
		last := journal[len(journal)-1]
		text += ", step " + member(last, "step")
		if state := member(last, "state"); state != "started" {
			text += " " + state
		}
	}
	text += far
	if p := r.problems(); len(p) > 0 {
		text += ": " + p[0].Message
	}
	return text
}

// ready waits until a record is as specified, also while its server is started anew.
func (s *session) ready(cmd *cobra.Command, n *noun, r *record, limit time.Duration) (*record, error) {
	defer s.follow(cmd, n, r)()
	err := s.patiently(cmd.Context(), limit, func(step time.Duration) error {
		fresh := &record{}
		err := s.do(cmd.Context(), client.Call{Method: "GET", Path: s.path(n, r.Project, r.ID), Out: fresh,
			Query: url.Values{"wait": {"ready"}, "timeout": {step.String()}}})
		if err == nil {
			r = fresh
		}
		return err
	})
	if client.IsKind(err, "unavailable") {
		// The server speaks of the last portion of the wait; what a person wants is the whole, and why.
		if now, asked := s.get(cmd.Context(), n, r.Project, r.ID); asked == nil {
			err = fail("unavailable", "%s %s is not ready after %s (%s); it goes on: `virga explain %s %s`", n.one(), r.Name, limit, s.underWay(cmd.Context(), now), n.word(), r.Name)
		}
	}
	return r, err
}

// patiently repeats a wait of the server's in portions, until it answers something else than "not yet".
func (s *session) patiently(ctx context.Context, limit time.Duration, ask func(time.Duration) error) error {
	deadline := time.Now().Add(limit)
	for {
		left := time.Until(deadline).Round(time.Millisecond)
		err := ask(max(min(left, time.Minute), 0))
		if !client.IsKind(err, "unavailable") || time.Now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(min(500*time.Millisecond, time.Until(deadline)+time.Millisecond)):
		}
	}
}

// workOf is the noun of a piece of work: an operation or a task.
func workOf(work *record) *noun {
	if work.Kind == "task" {
		return tasks()
	}
	return operations()
}

// ended waits until an operation or a task has ended, and fails if it did.
func (s *session) ended(cmd *cobra.Command, op *record, limit time.Duration) (*record, error) {
	p := newProgress(cmd)
	defer p.end()
	ctx, deadline := cmd.Context(), time.Now().Add(limit)
	what := op.text(at(&operationOf.Spec.Type))
	for {
		fresh, err := s.get(ctx, workOf(op), op.Project, op.ID)
		switch {
		case err == nil:
			op = fresh
			if p.on {
				p.say(what + ": " + doing(op, s.howFar(ctx, op)))
			}
		case !client.IsKind(err, "unavailable"):
			return op, err
		}
		switch op.state() {
		case "succeeded":
			return op, nil
		case "failed", "cancelled":
			kind := op.text(at(&operationOf.Status.WhyKind))
			if kind == "" {
				kind = "precondition"
			}
			return op, fail(kind, "%s %s: %s", what, op.state(), op.text(at(&operationOf.Status.Why)))
		}
		if time.Now().After(deadline) {
			return op, fail("unavailable", "%s has not ended after %s (%s); it goes on: `virga %s show %s`", what, limit, doing(op, s.howFar(ctx, op)), op.Kind, op.Name)
		}
		select {
		case <-ctx.Done():
			return op, ctx.Err()
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// howFar says how far the present step of an operation, or a task, is, if anybody knows.
func (s *session) howFar(ctx context.Context, op *record) string {
	var now struct{ Words string }
	if s.do(ctx, client.Call{Method: "GET", Path: s.path(workOf(op), op.Project, op.ID, "progress"), Out: &now}) != nil || now.Words == "" {
		return ""
	}
	return ", " + now.Words
}
