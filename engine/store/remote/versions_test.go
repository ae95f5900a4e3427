package remote

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

// Version N knows a kind, fields and words that version N-1 does not: guests can float, and have lamps.
type (
	oldSpec struct {
		HostID resource.ID `json:"hostID,omitempty"`
		Power  string      `json:"power,omitempty" enum:"on,off"`
	}
	oldStatus struct {
		Phase string `json:"phase,omitempty" enum:"up,down"`
	}
	newSpec struct {
		HostID resource.ID `json:"hostID,omitempty"`
		Power  string      `json:"power,omitempty" enum:"on,off,floating"`
		Tint   string      `json:"tint,omitempty"`
	}
	newStatus struct {
		Phase  string `json:"phase,omitempty" enum:"up,down,afloat"`
		Height int    `json:"height,omitempty"`
	}
	oldGuest = resource.Record[oldSpec, oldStatus]
	newGuest = resource.Record[newSpec, newStatus]
)

var (
	oldHosts  = version[oldSpec, oldStatus]("host", resource.NamedHost, func(r *oldGuest) resource.ID { return "" })
	oldGuests = version[oldSpec, oldStatus]("guest", resource.NamedHost, func(r *oldGuest) resource.ID { return r.Spec.HostID })
	newHosts  = version[newSpec, newStatus]("host", resource.NamedHost, func(r *newGuest) resource.ID { return "" })
	newGuests = version[newSpec, newStatus]("guest", resource.NamedHost, func(r *newGuest) resource.ID { return r.Spec.HostID })
	newLamps  = version[newSpec, newStatus]("lamp", resource.NamedHost, func(r *newGuest) resource.ID { return r.Spec.HostID })
	newRules  = version[newSpec, newStatus]("rule", resource.EveryHost, func(r *newGuest) resource.ID { return r.Spec.HostID })
	newVaults = version[newSpec, newStatus]("vault", resource.NoHost, func(r *newGuest) resource.ID { return r.Spec.HostID })

	before = resource.NewCatalog(oldHosts, oldGuests)
	now    = resource.NewCatalog(newHosts, newGuests, newLamps, newRules, newVaults)
)

func version[S, T any](kind resource.Kind, reach resource.Reach, host func(*resource.Record[S, T]) resource.ID) *resource.Type[S, T] {
	return resource.Define(kind, string(kind)+"s", resource.Options[S, T]{Reach: reach, Refs: func(r *resource.Record[S, T]) []resource.Ref {
		return []resource.Ref{{Kind: "host", ID: host(r)}}
	}})
}

// versions is one store, a server of each version that works on it, and the agent of host h1 of some version.
type versions struct {
	*testing.T
	truth    store.Store
	old, new *store.DB
}

func newVersions(t *testing.T) *versions {
	truth := memory.New()
	v := &versions{T: t, truth: truth, old: store.NewDB(truth, before), new: store.NewDB(truth, now)}
	v.old.Inline, v.new.Inline = true, true
	for _, id := range []resource.ID{"h1", "h2"} {
		v.create(newHosts, &newGuest{Meta: resource.Meta{ID: id}})
	}
	return v
}

func (v *versions) create(kind *resource.Type[newSpec, newStatus], r *newGuest, holders ...string) *newGuest {
	v.Helper()
	b := v.new.Begin()
	store.Specs(store.NewRegistry(), kind, "test").Create(b, r, holders...)
	v.must(v.new.Commit(v.Context(), b))
	return r
}

func (v *versions) must(err error) {
	v.Helper()
	if err != nil {
		v.Fatal(err)
	}
}

// agent is one whose server and whose own program are of some version.
func (v *versions) agent(server *store.DB, own *resource.Catalog) *store.DB {
	v.Helper()
	v.must(server.CatchUp(v.Context()))
	a := store.NewDB(serve(v.T, Handler(server.Store(), func(*http.Request) (Scope, error) {
		return HostScope(server.Catalog(), "h1", server.View), nil
	})), own)
	v.must(a.Sync(v.Context()))
	return a
}

// commit sends what a batch holds, as the agent does, and shows what came of it.
func (v *versions) commit(a *store.DB, b *store.Batch) {
	v.Helper()
	changes, err := b.Changes()
	v.must(err)
	_, err = a.Store().Commit(v.Context(), changes...)
	v.must(err)
	v.must(a.Sync(v.Context()))
}

// stored is a field of what is in the store, by its path.
func (v *versions) stored(ref resource.Ref, path string) any {
	v.Helper()
	e, err := v.truth.Get(v.Context(), ref)
	v.must(err)
	var at any
	v.must(json.Unmarshal(e.Value, &at))
	for _, field := range strings.Split(path, ".") {
		fields, _ := at.(map[string]any)
		at = fields[field]
	}
	return at
}

func (v *versions) expect(ref resource.Ref, want map[string]any) {
	v.Helper()
	for path, value := range want {
		if got := v.stored(ref, path); got != value {
			v.Errorf("%s is %v, not %v", path, got, value)
		}
	}
}

func reportPhase(b *store.Batch, r *oldGuest, phase string) {
	store.Statuses(store.NewRegistry(), oldGuests, "agent").Set(b, r, func(s *oldStatus) { s.Phase = phase })
}

func TestOldAgentReportsToANewServerAndLosesNoField(t *testing.T) {
	v := newVersions(t)
	g := v.create(newGuests, &newGuest{Spec: newSpec{HostID: "h1", Power: "on", Tint: "red"}, Status: newStatus{Height: 7}}, "agent", "compute")
	a := v.agent(v.new, before)
	b := a.Begin()
	mine := store.Find(a.Snapshot(), oldGuests, g.ID)
	reportPhase(b, mine, "up")
	store.Release(b, mine, "agent")
	v.commit(a, b)
	v.expect(g.Ref(), map[string]any{"spec.tint": "red", "status.height": 7.0, "status.phase": "up", "spec.power": "on"})
	if got := v.stored(g.Ref(), "holders"); len(got.([]any)) != 1 {
		t.Errorf("it is held by %v", got)
	}
}

func TestOldAgentKeepsTheLastRecordThatItUnderstood(t *testing.T) {
	v := newVersions(t)
	g := v.create(newGuests, &newGuest{Spec: newSpec{HostID: "h1", Power: "on"}})
	lamp := v.create(newLamps, &newGuest{Spec: newSpec{HostID: "h1"}})
	a := v.agent(v.new, before)
	b := v.new.Begin()
	store.Specs(store.NewRegistry(), newGuests, "test").Set(b, store.Find(v.new.Snapshot(), newGuests, g.ID), func(s *newSpec) { s.Power = "floating" })
	v.must(v.new.Commit(t.Context(), b))
	var told []store.Delta
	a.Subscribe(func(d []store.Delta) { told = append(told, d...) })
	v.must(a.Sync(t.Context()))
	if mine := store.Find(a.Snapshot(), oldGuests, g.ID); mine == nil || mine.Spec.Power != "on" || len(told) != 0 {
		t.Errorf("it has %+v and was told %v", mine, told)
	}
	if a.Understands(g.ID) || a.Understands(lamp.ID) || !a.Understands("h1") {
		t.Errorf("not understood are %v", a.NotUnderstood())
	}
}

func TestNewAgentUnderAnOldServerSeesAllThatIsItsHosts(t *testing.T) {
	v := newVersions(t)
	floating := v.create(newGuests, &newGuest{Meta: resource.Meta{ID: "g1"}, Spec: newSpec{HostID: "h1", Power: "floating", Tint: "red"}})
	v.create(newGuests, &newGuest{Meta: resource.Meta{ID: "g2"}, Spec: newSpec{HostID: "h2", Power: "floating"}})
	v.create(newLamps, &newGuest{Meta: resource.Meta{ID: "l1"}, Spec: newSpec{HostID: "h1"}})
	v.create(newLamps, &newGuest{Meta: resource.Meta{ID: "l2"}, Spec: newSpec{HostID: "h2"}})
	v.create(newRules, &newGuest{Meta: resource.Meta{ID: "r"}})
	v.create(newVaults, &newGuest{Meta: resource.Meta{ID: "s"}, Spec: newSpec{HostID: "h1"}})
	a := v.agent(v.old, now)
	if got := ids(t, a.Store()); got != "guest g1, host h1, lamp l1, rule r" {
		t.Errorf("it sees %s", got)
	}
	if g := store.Find(a.Snapshot(), newGuests, floating.ID); g == nil || g.Spec.Tint != "red" || g.Spec.Power != "floating" {
		t.Errorf("the guest is %+v", g)
	}
}

func TestNewAgentReportsToAnOldServerWhatThatDoesNotKnow(t *testing.T) {
	v := newVersions(t)
	g := v.create(newGuests, &newGuest{Spec: newSpec{HostID: "h1", Power: "on"}})
	lamp := v.create(newLamps, &newGuest{Spec: newSpec{HostID: "h1", Tint: "blue"}}, "agent")
	a := v.agent(v.old, now)
	b := a.Begin()
	for _, kind := range []*resource.Type[newSpec, newStatus]{newGuests, newLamps} {
		for _, r := range store.Every(a.Snapshot(), kind) {
			store.Statuses(store.NewRegistry(), kind, "agent").Set(b, r, func(s *newStatus) { s.Phase, s.Height = "afloat", 9 })
		}
	}
	v.commit(a, b)
	for _, ref := range []resource.Ref{g.Ref(), lamp.Ref()} {
		v.expect(ref, map[string]any{"status.phase": "afloat", "status.height": 9.0})
	}
	v.must(v.old.CatchUp(t.Context()))
	if mine := store.Find(v.old.Snapshot(), oldGuests, g.ID); mine == nil || mine.Status.Phase != "" || v.old.Understands(g.ID) {
		t.Errorf("the old server shows %+v", mine)
	}
}

func TestOldServerChangesASpecAndLosesNoField(t *testing.T) {
	v := newVersions(t)
	g := v.create(newGuests, &newGuest{Spec: newSpec{HostID: "h1", Power: "on", Tint: "red"}, Status: newStatus{Phase: "up", Height: 2}})
	v.must(v.old.CatchUp(t.Context()))
	b := v.old.Begin()
	store.Specs(store.NewRegistry(), oldGuests, "test").Set(b, store.Find(v.old.Snapshot(), oldGuests, g.ID), func(s *oldSpec) { s.Power, s.HostID = "off", "h2" })
	v.must(v.old.Commit(t.Context(), b))
	v.expect(g.Ref(), map[string]any{"spec.tint": "red", "status.height": 2.0, "spec.power": "off"})
	if got := v.stored(g.Ref(), "hosts").([]any); len(got) != 1 || got[0] != "h2" {
		t.Errorf("it goes to %v", got)
	}
}

// TestWatchFromAnOldServerRemovesNothingThatItDoesNotUnderstand: the watch and the list agree.
func TestWatchFromAnOldServerRemovesNothingThatItDoesNotUnderstand(t *testing.T) {
	v := newVersions(t)
	g := v.create(newGuests, &newGuest{Spec: newSpec{HostID: "h1", Power: "on"}})
	a := v.agent(v.old, now)
	w, err := a.Store().Watch(t.Context(), v.new.Revision())
	v.must(err)
	defer w.Stop()
	b := v.new.Begin()
	store.Specs(store.NewRegistry(), newGuests, "test").Set(b, store.Find(v.new.Snapshot(), newGuests, g.ID), func(s *newSpec) { s.Power = "floating" })
	v.must(v.new.Commit(t.Context(), b))
	if c := <-w.Changes(); len(c.Events) != 1 || c.Events[0].Value == nil || c.Events[0].Old == nil {
		t.Errorf("it tells %+v", c)
	}
}
