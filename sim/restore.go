package sim

import (
	"context"
	"fmt"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// backup: keep all records as they are now.
// records restored: bring them back, as another life. Guests that they do not know count as orphans.
// records settled: somebody has looked.
func backup(t *teller, _ args) (err error) {
	t.c.truth.backup, err = store.Held(context.Background(), t.c.truth.memory)
	return err
}

func records(t *teller, a args) error {
	switch a.word(0) {
	case "restored":
		return t.c.restore()
	case "settled":
		t.c.truth.life.Settled += "again "
		return nil
	}
	return fmt.Errorf("records cannot be %q", a.word(0))
}

// restore is done while the servers are down; the daemons begin anew from a list.
func (c *Cluster) restore() error {
	t, running := c.truth, c.server.up()
	c.server.end()
	present, err := store.Held(context.Background(), t.memory)
	if err != nil {
		return err
	}
	kept := map[resource.Ref]bool{}
	var changes []store.Change
	for _, e := range t.backup {
		kept[e.Key] = true
		changes = append(changes, store.Change{Key: e.Key, Op: store.Put, Value: e.Value, Expect: store.Any})
	}
	for _, e := range present {
		if !kept[e.Key] {
			changes = append(changes, store.Change{Key: e.Key, Op: store.Delete, Expect: store.Any})
		}
	}
	t.life = store.Incarnation{ID: t.life.ID + "-next"}
	clear(c.invariants.epochs) // they rise anew from here
	for _, h := range c.hosts {
		guests, err := h.guests.List(context.Background())
		if err != nil {
			return err
		}
		for _, g := range guests {
			_, known := findEntry(t.backup, g.ID)
			c.orphans[g.ID] = c.orphans[g.ID] || !known
		}
	}
	if _, err := t.commit(context.Background(), changes...); err != nil {
		return err
	}
	for _, h := range c.hosts {
		if h.agent.up() {
			h.agent.feed.cutOff()
			h.agent.arrive()
		}
	}
	if running {
		c.server.start()
	}
	return nil
}

func findEntry(entries []store.Entry, id resource.ID) (store.Entry, bool) {
	for _, e := range entries {
		if e.Key.ID == id {
			return e, true
		}
	}
	return store.Entry{}, false
}
