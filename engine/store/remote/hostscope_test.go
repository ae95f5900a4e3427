package remote

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

type spec struct {
	HostID resource.ID `json:"hostID,omitempty"`
	Size   int         `json:"size"`
}

type status struct {
	Seen string `json:"seen,omitempty"`
}

type rec = resource.Record[spec, status]

func define(kind resource.Kind, reach resource.Reach, hostMakes bool) *resource.Type[spec, status] {
	return resource.Define(kind, string(kind)+"s", resource.Options[spec, status]{
		Reach: reach, HostMakes: hostMakes,
		Refs: func(r *rec) []resource.Ref { return []resource.Ref{{Kind: "host", ID: r.Spec.HostID}} },
	})
}

var (
	hosts   = define("host", resource.NamedHost, false)
	guests  = define("guest", resource.NamedHost, false)
	shared  = define("shared", resource.EveryHost, false)
	secrets = define("secret", resource.NoHost, false)
	found   = define("found", resource.NamedHost, true)
	told    = define("told", resource.NoHost, true)
	catalog = resource.NewCatalog(hosts, guests, shared, secrets, found, told)
)

// cloud is a server with two hosts; h1 and h2 are their agents' stores.
type cloud struct {
	*testing.T
	server *store.DB
	h1, h2 store.Store
}

func newCloud(t *testing.T) *cloud {
	c := &cloud{T: t, server: store.NewDB(memory.New(), catalog)}
	c.server.Inline = true
	c.record(hosts, &rec{Meta: resource.Meta{ID: "h1"}})
	c.record(hosts, &rec{Meta: resource.Meta{ID: "h2"}})
	c.h1, c.h2 = c.agent("h1"), c.agent("h2")
	return c
}

func (c *cloud) agent(host resource.ID) store.Store {
	return serve(c.T, Handler(c.server.Store(), func(*http.Request) (Scope, error) {
		return HostScope(catalog, host, c.server.View), nil
	}))
}

// record stores a record as the server's loops do and gives it as it is then.
func (c *cloud) record(kind *resource.Type[spec, status], r *rec, holders ...string) *rec {
	c.Helper()
	b := c.server.Begin()
	store.Specs(store.NewRegistry(), kind, "server").Create(b, r, holders...)
	if err := c.server.Commit(c.Context(), b); err != nil {
		c.Fatal(err)
	}
	return store.Find(c.server.Snapshot(), kind, r.ID)
}

func (c *cloud) guest(host resource.ID, holders ...string) *rec {
	c.Helper()
	return c.record(guests, &rec{Spec: spec{HostID: host, Size: 3}}, holders...)
}

func (c *cloud) deleting(r *rec) *rec {
	c.Helper()
	b := c.server.Begin()
	store.MarkDeleting(b, r)
	if err := c.server.Commit(c.Context(), b); err != nil {
		c.Fatal(err)
	}
	return store.Find(c.server.Snapshot(), guests, r.ID)
}

// change is a put of a changed copy of a record.
func change(r *rec, edit func(r *rec)) store.Change {
	mine := resource.Copy(r)
	edit(mine)
	value, _ := json.Marshal(mine)
	return store.Change{Key: r.Ref(), Op: store.Put, Value: value, Expect: r.Revision}
}

// report is a change of the status and the holders.
func report(r *rec, edit func(r *rec)) store.Change {
	c := change(r, edit)
	c.Report = true
	return c
}

func ids(t *testing.T, s store.Store) string {
	t.Helper()
	entries, _, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, string(e.Key.Kind)+" "+string(e.Key.ID))
	}
	return strings.Join(out, ", ")
}

func TestAnAgentSeesWhatConcernsItsHost(t *testing.T) {
	c := newCloud(t)
	c.record(guests, &rec{Meta: resource.Meta{ID: "g1"}, Spec: spec{HostID: "h1"}})
	g2 := c.record(guests, &rec{Meta: resource.Meta{ID: "g2"}, Spec: spec{HostID: "h2"}})
	c.record(shared, &rec{Meta: resource.Meta{ID: "s"}})
	c.record(secrets, &rec{Meta: resource.Meta{ID: "x"}, Spec: spec{HostID: "h1"}})
	if got := ids(t, c.h1); got != "guest g1, host h1, shared s" {
		t.Errorf("host 1 sees %s", got)
	}
	if _, err := c.h1.Get(t.Context(), g2.Ref()); !fault.Is(err, fault.NotFound) {
		t.Errorf("another host's guest: %v", err)
	}
}

func TestARecordThatMovesAwayIsToldAsRemoved(t *testing.T) {
	c := newCloud(t)
	w1, err := c.h1.Watch(t.Context(), c.server.Revision())
	if err != nil {
		t.Fatal(err)
	}
	defer w1.Stop()
	w2, err := c.h2.Watch(t.Context(), c.server.Revision())
	if err != nil {
		t.Fatal(err)
	}
	defer w2.Stop()
	g := c.guest("h1")
	if _, err := c.server.Store().Commit(t.Context(), change(g, func(r *rec) { r.Spec.HostID = "h2" })); err != nil {
		t.Fatal(err)
	}
	next := func(w store.Watch) store.Changes {
		t.Helper()
		select {
		case x := <-w.Changes():
			return x
		case <-time.After(10 * time.Second):
			t.Fatal("nothing comes")
			return store.Changes{}
		}
	}
	if x := next(w1); len(x.Events) != 1 || x.Events[0].Value == nil {
		t.Errorf("host 1 hears of the creation: %+v", x)
	}
	if x := next(w1); len(x.Events) != 1 || x.Events[0].Value != nil || x.Events[0].Key != g.Ref() {
		t.Errorf("host 1 hears of the move: %+v", x)
	}
	if x := next(w2); len(x.Events) != 0 || x.Revision == 0 {
		t.Errorf("host 2 hears of another's guest: %+v", x)
	}
	if x := next(w2); len(x.Events) != 1 || x.Events[0].Value == nil || x.Events[0].Old != nil {
		t.Errorf("host 2 hears of the arrival: %+v", x)
	}
}

func TestAnAgentReportsAndLetsGo(t *testing.T) {
	c := newCloud(t)
	g := c.guest("h1", "agent", "agent:disk", "compute")
	revision, err := c.h1.Commit(t.Context(), report(g, func(r *rec) { r.Status.Seen = "running"; r.Holders = []string{"compute", "agent"} }))
	if err != nil {
		t.Fatal(err)
	}
	if e, _ := c.h1.Get(t.Context(), g.Ref()); e.Revision != revision || !strings.Contains(string(e.Value), "running") {
		t.Errorf("it is %s", e.Value)
	}
}

// forgedName is the name key of a record.
func forgedName(r *rec) resource.Ref { return store.NameKey(r.Kind, r.Project, r.Name) }

func forgedRecord(kind resource.Kind, host resource.ID) *rec {
	return &rec{Meta: resource.Meta{Kind: kind, ID: "new", Name: "new"}, Spec: spec{HostID: host}}
}

func forgedCreation(r *rec, owner string) []store.Change {
	return []store.Change{change(r, func(*rec) {}), {Key: forgedName(r), Op: store.Put, Value: []byte(owner)}}
}

// forbidden makes changes that the agent of host h1, whose guest is given, may not commit.
var forbidden = map[string]func(c *cloud, g *rec) []store.Change{
	"change the spec": func(c *cloud, g *rec) []store.Change {
		return []store.Change{change(g, func(r *rec) { r.Spec.Size++ })}
	},
	"raise the generation": func(c *cloud, g *rec) []store.Change {
		return []store.Change{change(g, func(r *rec) { r.Generation++ })}
	},
	"change a label": func(c *cloud, g *rec) []store.Change {
		return []store.Change{change(g, func(r *rec) { r.Labels = map[string]string{"a": "b"} })}
	},
	"change the name": func(c *cloud, g *rec) []store.Change {
		return []store.Change{change(g, func(r *rec) { r.Name = "other" })}
	},
	"mark for deletion": func(c *cloud, g *rec) []store.Change {
		return []store.Change{change(g, func(r *rec) { now := time.Now(); r.Deleting = &now })}
	},
	"unmark a deletion": func(c *cloud, g *rec) []store.Change {
		return []store.Change{change(c.deleting(g), func(r *rec) { r.Deleting = nil })}
	},
	"add a holder": func(c *cloud, g *rec) []store.Change {
		return []store.Change{report(g, func(r *rec) { r.Holders = append(r.Holders, "agent:more") })}
	},
	"let go for another holder": func(c *cloud, g *rec) []store.Change {
		return []store.Change{report(g, func(r *rec) { r.Holders = []string{"agent"} })}
	},
	"remove what is not being deleted": func(c *cloud, g *rec) []store.Change {
		return []store.Change{{Key: g.Ref(), Op: store.Delete, Expect: g.Revision}}
	},
	"remove what another holder holds": func(c *cloud, g *rec) []store.Change {
		return []store.Change{{Key: g.Ref(), Op: store.Delete, Expect: c.deleting(g).Revision}}
	},
	"write to another host's guest": func(c *cloud, _ *rec) []store.Change {
		return []store.Change{report(c.guest("h2"), func(r *rec) { r.Status.Seen = "mine" })}
	},
	"check another host's guest": func(c *cloud, _ *rec) []store.Change {
		g := c.guest("h2")
		return []store.Change{{Key: g.Ref(), Op: store.Check, Expect: g.Revision}}
	},
	"write to what agents never see": func(c *cloud, _ *rec) []store.Change {
		return []store.Change{report(c.record(secrets, &rec{Spec: spec{HostID: "h1"}}), func(r *rec) { r.Status.Seen = "x" })}
	},
	"make a guest":                  func(*cloud, *rec) []store.Change { return forgedCreation(forgedRecord("guest", "h1"), `"new"`) },
	"make a find of another host":   func(*cloud, *rec) []store.Change { return forgedCreation(forgedRecord("found", "h2"), `"new"`) },
	"make a find with a false name": func(*cloud, *rec) []store.Change { return forgedCreation(forgedRecord("found", "h1"), `"other"`) },
	"take over another host's find": func(c *cloud, _ *rec) []store.Change {
		return []store.Change{change(c.record(found, &rec{Spec: spec{HostID: "h2"}}), func(r *rec) { r.Spec.HostID = "h1" })}
	},
	"rename a find": func(c *cloud, _ *rec) []store.Change {
		return []store.Change{change(c.record(found, &rec{Spec: spec{HostID: "h1"}}), func(r *rec) { r.Name = "x" })}
	},
	"claim a name": func(*cloud, *rec) []store.Change {
		return []store.Change{{Key: store.ClaimKey("", "leader:brain"), Op: store.Put, Value: []byte(`"h1"`)}}
	},
	"free a name": func(c *cloud, g *rec) []store.Change {
		return []store.Change{{Key: forgedName(g), Op: store.Delete, Expect: store.Any}}
	},
	"free another's name with its own": func(c *cloud, g *rec) []store.Change {
		f := c.record(found, &rec{Spec: spec{HostID: "h1"}})
		return []store.Change{{Key: f.Ref(), Op: store.Delete, Expect: f.Revision}, {Key: forgedName(g), Op: store.Delete, Expect: store.Any}}
	},
	"write a record that calls itself another": func(c *cloud, g *rec) []store.Change {
		x := change(g, func(r *rec) { r.Status.Seen = "x" })
		x.Key = c.guest("h1").Ref()
		return []store.Change{x}
	},
	"write a kind that nobody knows": func(*cloud, *rec) []store.Change {
		return []store.Change{{Key: resource.Ref{Kind: "unknown", ID: "x"}, Op: store.Put, Value: []byte("{}")}}
	},
	"report a status that is none": func(_ *cloud, g *rec) []store.Change {
		return []store.Change{{Key: g.Ref(), Op: store.Put, Value: []byte(`{"status":[7]}`), Expect: g.Revision, Report: true}}
	},
	"report with another change of the status": func(_ *cloud, g *rec) []store.Change {
		return []store.Change{change(g, func(r *rec) { r.Status.Seen = "not as a report" })}
	},
	"write what is no JSON": func(_ *cloud, g *rec) []store.Change {
		return []store.Change{{Key: g.Ref(), Op: store.Put, Value: []byte("no"), Expect: g.Revision}}
	},
	"slip a spec in beside a status": func(c *cloud, g *rec) []store.Change {
		h := c.guest("h1")
		return []store.Change{change(g, func(r *rec) { r.Status.Seen = "ok" }), change(h, func(r *rec) { r.Spec.Size = 9 })}
	},
}

func TestWhatAnAgentMayNot(t *testing.T) {
	for what, act := range forbidden {
		t.Run(strings.ReplaceAll(what, " ", ""), func(t *testing.T) {
			c := newCloud(t)
			g := c.guest("h1", "agent", "compute")
			changes := act(c, g)
			before := c.server.Revision()
			_, err := c.h1.Commit(t.Context(), changes...)
			if !fault.Is(err, fault.Denied) {
				t.Errorf("an agent may %s: %v", what, err)
			}
			if after, _ := c.server.Store().Commit(t.Context()); after != before {
				t.Error("something was written")
			}
		})
	}
}

func TestAnAgentMakesChangesAndRemovesItsOwnFinds(t *testing.T) {
	c := newCloud(t)
	agent := store.NewDB(c.h1, catalog)
	agent.Now = c.server.Now
	l := store.NewRegistry()
	specs, tellers := store.Specs(l, found, "agent"), store.Specs(l, told, "agent")
	commit := func(fill func(b *store.Batch)) {
		t.Helper()
		b := agent.Begin()
		fill(b)
		changes, err := b.Changes()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.h1.Commit(t.Context(), changes...); err != nil {
			t.Fatal(err)
		}
		if err := agent.Sync(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	disk := &rec{Meta: resource.Meta{Name: "disk"}, Spec: spec{HostID: "h1"}}
	commit(func(b *store.Batch) {
		specs.Create(b, disk)
		tellers.Create(b, &rec{Spec: spec{HostID: "h1"}}) // it cannot even see it afterwards
	})
	commit(func(b *store.Batch) {
		specs.Set(b, store.Find(agent.Snapshot(), found, disk.ID), func(s *spec) { s.Size = 7 })
	})
	commit(func(b *store.Batch) { specs.Delete(b, store.Find(agent.Snapshot(), found, disk.ID)) })
	if store.Find(agent.Snapshot(), found, disk.ID) != nil {
		t.Error("it is still there")
	}
	if err := c.server.CatchUp(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := store.Every(c.server.Snapshot(), told); len(got) != 1 {
		t.Errorf("%d were told", len(got))
	}
	commit(func(b *store.Batch) {
		specs.Create(b, &rec{Meta: resource.Meta{Name: "disk"}, Spec: spec{HostID: "h1"}})
	})
}

func TestTheLastAgentToLetGoRemovesTheRecord(t *testing.T) {
	c := newCloud(t)
	g := c.deleting(c.guest("h1", "agent"))
	b := store.NewBatch(time.Now())
	store.Release(b, g, "agent")
	changes, err := b.Changes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.h1.Commit(t.Context(), changes...); err != nil {
		t.Fatal(err)
	}
	if _, err := c.server.Store().Get(t.Context(), g.Ref()); !fault.Is(err, fault.NotFound) {
		t.Errorf("it is still there: %v", err)
	}
	if _, err := c.server.Store().Get(t.Context(), store.NameKey(g.Kind, g.Project, g.Name)); !fault.Is(err, fault.NotFound) {
		t.Errorf("its name is still taken: %v", err)
	}
}

func TestAHostThatWasRemovedCommitsNothing(t *testing.T) {
	c := newCloud(t)
	g := c.guest("h1")
	b := c.server.Begin()
	store.MarkDeleting(b, store.Find(c.server.Snapshot(), hosts, "h1"))
	if err := c.server.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	_, err := c.h1.Commit(t.Context(), report(g, func(r *rec) { r.Status.Seen = "x" }))
	if !fault.Is(err, fault.Denied) {
		t.Errorf("gives %v", err)
	}
}

func TestAnOldPictureConflictsThroughTheScopeToo(t *testing.T) {
	c := newCloud(t)
	g := c.guest("h1")
	first := report(g, func(r *rec) { r.Status.Seen = "one" })
	if _, err := c.h1.Commit(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	if _, err := c.h1.Commit(t.Context(), first); !fault.Is(err, fault.Conflict) {
		t.Errorf("gives %v", err)
	}
	guess := report(g, func(r *rec) { r.Status.Seen = "two" })
	guess.Expect = c.server.Revision() + 50
	if _, err := c.h1.Commit(t.Context(), guess); !fault.Is(err, fault.Conflict) {
		t.Errorf("a guess at a revision to come gives %v", err)
	}
}
