// Package part is what a domain brings to a role: a server, or a host.
//
// Each domain has a file part.go. It lists the domain's nouns, takes the rights to write them out of
// the registry, and makes a Part of its loops, chores, operations and routes. Package wiring lists the
// parts; the daemon and the simulator both run that list, so that what is simulated is what ships.
package part

import (
	"context"
	"time"

	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/task"
)

// Part is what one domain brings.
type Part struct {
	// Loops keep records true. A server's loops run while it leads.
	Loops []*reconcile.Loop
	// Chores are done by the clock, beside the loops.
	Chores []Chore
	// Operations can be started; a server's runner runs them while it leads.
	Operations []operation.Definition
	// Tasks can be done; a host's runner does them.
	Tasks []task.Definition
	// Routes offers the nouns; every server does, whether it leads or not. Nil: none.
	Routes func(*httpapi.API)
}

// Chore is work that no single record asks for: a sweep, or a compilation of all records into one
// picture. It is not done before the records are here, and never twice at once.
type Chore struct {
	// Name for logs: "network/onhost/sweep".
	Name string
	// Every is how long after the last time it is done again, without a reason.
	Every time.Duration
	// Wakes are kinds whose changes make it due.
	Wakes []resource.Kind
	// Together is how long a change waits for others that may come with it.
	Together time.Duration
	// Do does it. A failure is tried again with growing pauses.
	Do func(context.Context) error
}

// Woken reports whether a change of a record makes the chore due.
func (c *Chore) Woken(kind resource.Kind) bool {
	for _, k := range c.Wakes {
		if k == kind {
			return true
		}
	}
	return false
}

const (
	firstPause = 50 * time.Millisecond
	longPause  = 2 * time.Second
)

// Pause is how long the chore rests after it failed so many times in a row; none: until it is due.
func (c *Chore) Pause(failures int) time.Duration {
	if failures == 0 {
		return c.Every
	}
	return min(firstPause<<min(failures-1, 8), longPause, c.Every)
}

// Rest is how long a chore rests that has just been done, whatever changes: one that looks at all records
// takes the longer the more there are, and is given a quarter of one processor at most.
func Rest(took time.Duration) time.Duration { return min(3*took, longPause) }
