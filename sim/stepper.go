package sim

import (
	"context"
	"time"
)

// candidate is something that can be done now.
type candidate struct {
	name string
	do   func()
}

const hotLoop = 200_000 // steps within one minute of virtual time that mean a loop without rest

// Step does one thing that is due, in an order that the seed decides. When nothing is due, time
// moves on to what is due next, but not beyond the limit; then it is false.
func (c *Cluster) Step(limit time.Time) bool {
	for {
		due, next := c.agenda()
		if len(due) == 0 {
			if next.IsZero() || next.After(limit) {
				c.now = limit
				return false
			}
			c.now = next
			continue
		}
		if !c.now.Before(limit) {
			return false
		}
		chosen := due[c.rng.IntN(len(due))]
		c.now = c.now.Add(c.between(50*time.Microsecond, 500*time.Microsecond)) // work takes time
		chosen.do()
		c.steps++
		for _, i := range c.interrupts {
			i.strike()
		}
		c.judge()
		return true
	}
}

// agenda lists what is due, and when the next thing is.
func (c *Cluster) agenda() (due []candidate, next time.Time) {
	at := func(when time.Time, name string, do func()) {
		switch {
		case !when.After(c.now):
			due = append(due, candidate{name, do})
		case next.IsZero() || when.Before(next):
			next = when
		}
	}
	for i, p := range c.plans {
		at(p.at, "plan", func() {
			c.plans = append(c.plans[:i:i], c.plans[i+1:]...)
			c.touched = true
			p.do()
		})
	}
	for _, p := range c.daemons() {
		if !p.up() {
			continue
		}
		if when, ok := p.feed.due(); ok {
			at(when, "feed", p.arrive)
		}
		for _, ch := range p.chores {
			at(ch.at, ch.name, func() { p.run(ch) })
		}
		for _, w := range p.works {
			at(w.again, "resync", func() { w.addAll(p) })
			if when, ok := w.due(); ok {
				at(when, w.loop.Name, func() {
					if id, _, ok := w.queue.Next(c.now); ok {
						p.step(w, id)
					}
				})
			}
		}
	}
	return due, next
}

// due looks at when the queue gives the next id. Nothing is ever in work between two steps.
func (w *work) due() (time.Time, bool) {
	_, again, _ := w.queue.Next(time.Time{})
	return again, !again.IsZero()
}

// arrive hands over what has come to the daemon.
func (p *daemon) arrive() {
	p.feed.release(func(t told) bool { return !t.at.After(p.c.now) })
	_ = p.guarded(func() error {
		if err := p.db.CatchUp(context.Background()); err != nil {
			p.feed.watch = nil // connect tries again
		}
		return nil
	})
}

func (p *daemon) run(ch *chore) {
	ch.at = p.c.now.Add(1000 * time.Hour)
	_ = p.guarded(func() error {
		again := ch.do(context.Background())
		ch.by(p.c.now.Add(max(time.Millisecond, again)))
		return nil
	})
}

// Advance lets time pass.
func (c *Cluster) Advance(d time.Duration) {
	limit, begun, from := c.now.Add(d), c.steps, c.now
	for c.Step(limit) {
		if c.steps-begun > hotLoop {
			if c.now.Sub(from) < time.Minute {
				c.fail("no rest: %d steps within %s", hotLoop, c.now.Sub(from))
			}
			begun, from = c.steps, c.now
		}
	}
}

// Until lets time pass until a condition holds, looking after each step.
func (c *Cluster) Until(limit time.Duration, holds func() bool) bool {
	end := c.now.Add(limit)
	for !holds() {
		if !c.Step(end) {
			return holds()
		}
	}
	return true
}
