package sim

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/part"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/remote"
)

// daemon is a process: its view, its loops and what they wait for. All of it dies with the daemon.
type daemon struct {
	c    *Cluster
	name string
	// unreachable says why the servers cannot be spoken to; empty: they can.
	unreachable func() string

	feed    *feed
	strange resource.Kind // a kind that the servers write in a form that it cannot read; empty: none
	db      *store.DB
	works   []*work
	chores  []*chore
	effects int
}

// work is a loop with its queue.
type work struct {
	loop  *reconcile.Loop
	queue *reconcile.Queue
	again time.Time // the next look at everything
}

// chore is what a daemon does beside its loops: one of its parts', or what the simulator does for it.
type chore struct {
	part.Chore
	name string
	at   time.Time
	do   func(ctx context.Context) (again time.Duration)
}

// by makes the chore due at a time, if it is not due before.
func (ch *chore) by(at time.Time) {
	if at.Before(ch.at) {
		ch.at = at
	}
}

// crashNow is thrown by an effect at which the daemon dies.
type crashNow struct{ p *daemon }

// begin makes the daemon's memory anew; loops are added before connect.
func (p *daemon) begin(scope remote.Scope, lag func() time.Duration) {
	p.feed = &feed{c: p.c, p: p, scope: scope, lag: lag, up: true}
	p.db = store.NewDB(p.feed, kinds)
	p.db.Inline, p.db.Now = true, p.c.Now
	p.works, p.chores = nil, nil
	p.db.Subscribe(p.changed)
}

// end throws it away.
func (p *daemon) end() {
	if p.feed != nil {
		p.feed.up = false
		p.feed.pending, p.feed.watch = nil, nil
	}
	p.works, p.chores = nil, nil
}

func (p *daemon) up() bool { return p.feed != nil && p.feed.up }

// runs takes what the parts bring.
func (p *daemon) runs(parts []part.Part) {
	for _, one := range parts {
		for _, l := range one.Loops {
			p.works = append(p.works, &work{loop: l, queue: reconcile.NewQueue(), again: p.c.now.Add(resyncOf(l))})
		}
		for _, c := range one.Chores {
			p.takes(c)
		}
	}
}

// takes does a chore as part.Runner does, in virtual time.
func (p *daemon) takes(c part.Chore) {
	failures := 0
	ch := p.chore(c.Name, time.Second, func(ctx context.Context) time.Duration {
		if p.db.Revision() == 0 {
			return time.Second
		}
		failures++
		if c.Do(ctx) == nil {
			failures = 0
		}
		return c.Pause(failures)
	})
	ch.Chore = c
}

// Names lists what runs on the server and on each host, to be compared with the real daemon.
func (c *Cluster) Names() (server, host []string) {
	names := func(p *daemon) (out []string) {
		for _, w := range p.works {
			out = append(out, w.loop.Name)
		}
		for _, ch := range p.chores {
			if ch.Do != nil {
				out = append(out, ch.Name)
			}
		}
		return out
	}
	return names(&c.server.daemon), names(&c.hosts[0].agent.daemon)
}

func resyncOf(l *reconcile.Loop) time.Duration {
	switch {
	case l.Resync == 0:
		return 5 * time.Minute
	case l.Resync < 0:
		return 1000 * time.Hour
	}
	return l.Resync
}

func (p *daemon) chore(name string, first time.Duration, do func(context.Context) time.Duration) *chore {
	ch := &chore{name: name, at: p.c.now.Add(first), do: do}
	p.chores = append(p.chores, ch)
	return ch
}

// connect lists and begins to watch; it is tried again until the servers answer.
func (p *daemon) connect() {
	p.chore("connect", 0, func(ctx context.Context) time.Duration {
		if p.feed.watch == nil {
			_ = p.db.CatchUp(ctx) // tried again
		}
		return time.Second
	})
}

func (p *daemon) changed(deltas []store.Delta) {
	for _, w := range p.works {
		for _, d := range deltas {
			for _, id := range w.loop.Affected(kinds, d) {
				if id != "" {
					w.queue.Add(id, p.c.now.Add(w.loop.Wait(d)+p.c.between(0, 3*time.Millisecond)))
				}
			}
		}
	}
	for _, ch := range p.chores {
		for _, d := range deltas {
			x := d.New
			if x == nil {
				x = d.Old
			}
			if ch.Woken(x.Head().Kind) {
				ch.by(p.c.now.Add(ch.Together))
			}
		}
	}
}

// wake makes one record due at once: a driver saw something. A daemon that is down hears nothing.
func (p *daemon) wake(kind resource.Kind, id resource.ID) {
	for _, w := range p.works {
		if w.loop.Kind == kind {
			w.queue.Add(id, p.c.now.Add(p.c.between(0, 3*time.Millisecond)))
		}
	}
}

// lookAtAll makes every record due in every loop.
func (p *daemon) lookAtAll() {
	for _, w := range p.works {
		w.addAll(p)
	}
}

func (w *work) addAll(p *daemon) {
	for x := range p.db.Snapshot().OfKind(w.loop.Kind) {
		w.queue.Add(x.Head().ID, p.c.now)
	}
	w.again = p.c.now.Add(resyncOf(w.loop))
}

// effect counts something that has been done, and ends the daemon there if that is planned.
func (p *daemon) effect(what string) {
	p.effects++
	p.c.touched = true
	p.c.trace.add("    %s effect %d: %s", p.name, p.effects, what)
	for _, i := range p.c.interrupts {
		i.effect(p)
	}
}

// guarded runs fn as this daemon. A crash ends the daemon, a panic is a bug that is found.
func (p *daemon) guarded(fn func() error) (err error) {
	defer func() {
		switch thrown := recover().(type) {
		case nil:
		case crashNow:
			p.c.crashed(thrown.p)
			err = errCrashed
		case failure:
			panic(thrown)
		default:
			p.c.fail("%s: a step panicked: %v\n%s", p.name, thrown, debug.Stack())
		}
	}()
	return fn()
}

var errCrashed = errors.New("the daemon crashed")

// step makes one step of one loop.
func (p *daemon) step(w *work, id resource.ID) {
	c := p.c
	var r reconcile.Result
	err := p.guarded(func() (err error) {
		r, err = w.loop.Step(context.Background(), id)
		return err
	})
	if errors.Is(err, errCrashed) {
		return
	}
	pause := w.queue.Done(id, r, err, c.now)
	c.trace.add("%-10s %s %s %s %s %s", c.sinceStart().Round(time.Millisecond), p.name, w.loop.Name, c.trace.id(id), fault.KindOf(err), pause)
	if err != nil && fault.Is(err, fault.Internal) {
		c.fail("%s, loop %s, id %s: %v", p.name, w.loop.Name, id, err)
	}
}
