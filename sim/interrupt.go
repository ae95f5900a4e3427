package sim

// interruption strikes when a daemon has done so many effects since the interruption was set.
type interruption struct {
	daemon string
	at     int // the effect at which it strikes; 0: never, only count
	crash  bool
	lines  []line // what happens then, after the crash if there is one

	counted       int
	struck, ready bool
	over          bool // nothing is counted any more
	teller        *teller
}

// effect is called at each effect of each daemon.
func (i *interruption) effect(p *daemon) {
	if i.over || p.name != i.daemon {
		return
	}
	i.counted++
	if i.struck || i.counted != i.at {
		return
	}
	i.struck, i.ready = true, true
	if i.crash {
		p.c.trace.add("  interrupted at effect %d", i.at)
		panic(crashNow{p})
	}
}

// strike does the rest, between two steps.
func (i *interruption) strike() {
	if !i.ready {
		return
	}
	i.ready = false
	for _, l := range i.lines {
		i.teller.tell(l)
	}
}

// answerLost says whether the answer to a commit that has happened gets lost on its way.
func (c *Cluster) answerLost(p *daemon) bool {
	return c.loss > 0 && p != &c.server.daemon && c.rng.IntN(c.loss) == 0
}
