// Package reconcile runs loops: make reality equal to a record, one step at a time.
//
// A Loop is given an id. It reads all it needs from a snapshot, makes one step, reports, and
// returns. It is called again when the record changes, when a record that refers to it changes, when
// another change concerns it (Loop.Also), when it asked to be (Result.After), and on a timer for all records. A
// failure is tried again with growing pauses. After a crash it simply looks again.
//
// The same id is never in work twice at once. Who drives: Run with goroutines and the real
// clock in a daemon; the simulator calls Next and Step itself, in virtual time.
package reconcile

import (
	"context"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Result of a step.
type Result struct {
	// After asks to be called again after this time, if nothing calls earlier. 0: no preference.
	After time.Duration
}

// Loop is a reconciler for one kind.
type Loop struct {
	// Name for logs: "compute/vm".
	Name string
	// Kind is what it is called for.
	Kind resource.Kind
	// Also maps a change of a record of another kind to ids of Kind, beyond the references that
	// the record itself names. It must not block.
	Also map[resource.Kind]func(resource.Object) []resource.ID
	// Gather says how long a change may wait for others that come with it, so that many of them are one
	// step and one commit: figures that nobody acts on. Nil: none waits.
	Gather func(store.Delta) time.Duration
	// Resync is how often all records are looked at; 0 means every 5 minutes, negative never.
	Resync time.Duration
	// Workers is how many ids may be in work at once; 0 means 1.
	Workers int
	// Step makes one step. An error is logged and tried again.
	Step func(ctx context.Context, id resource.ID) (Result, error)
}

// Wait is how long a change waits for others.
func (l *Loop) Wait(d store.Delta) time.Duration {
	if l.Gather == nil {
		return 0
	}
	return l.Gather(d)
}

// Affected lists the ids of the loop's kind that a change concerns: the record itself, and what
// its old and new form refer to.
func (l *Loop) Affected(c *resource.Catalog, d store.Delta) []resource.ID {
	var out []resource.ID
	for _, x := range []resource.Object{d.Old, d.New} {
		if x == nil {
			continue
		}
		head := x.Head()
		if head.Kind == l.Kind {
			out = append(out, head.ID)
		}
		kind, _ := c.Lookup(head.Kind)
		for _, ref := range kind.Refs(x) {
			if ref.Kind == l.Kind {
				out = append(out, ref.ID)
			}
		}
		if also := l.Also[head.Kind]; also != nil {
			out = append(out, also(x)...)
		}
	}
	return out
}
