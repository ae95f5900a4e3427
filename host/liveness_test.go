package host

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

// world is a store with one host in it, and a clock.
type world struct {
	*testing.T
	db    *store.DB
	specs *store.SpecWriter[Spec, Status]
	life  *LivenessLoop
	loop  *reconcile.Loop
	now   time.Time
	told  []string

	removals *store.SpecWriter[RemovalSpec, RemovalStatus]
	removal  *RemovalLoop
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldWith(t, resource.NewCatalog(Hosts, Livenesses), memory.New())
}

func newWorldWith(t *testing.T, kinds *resource.Catalog, s store.Store) *world {
	t.Helper()
	registry := store.NewRegistry()
	w := &world{T: t, now: noon, specs: store.Specs(registry, Hosts, "api"), removals: store.Specs(registry, Removals, "api")}
	w.db = store.NewDB(s, kinds)
	w.db.Now = func() time.Time { return w.now }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = w.db.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	w.life = &LivenessLoop{DB: w.db, Specs: store.Specs(registry, Livenesses, "liveness"), Statuses: store.Statuses(registry, Livenesses, "liveness"),
		Note: func(_ *store.Batch, _ *Host, _, reason, _ string) { w.told = append(w.told, reason) }}
	w.removal = &RemovalLoop{DB: w.db, Statuses: store.Statuses(registry, Removals, "removal")}
	w.restart()
	b := w.db.Begin()
	w.specs.Create(b, New("h", "one"))
	w.commit(b)
	return w
}

// restart makes a server that has had no heartbeat yet.
func (w *world) restart() {
	w.life.Listener = NewListener(0, w.now)
	w.loop = w.life.Loop()
}

func (w *world) commit(b *store.Batch) {
	w.Helper()
	if err := w.db.Commit(w.Context(), b); err != nil {
		w.Fatal(err)
	}
}

func (w *world) step() reconcile.Result {
	w.Helper()
	r, err := w.loop.Step(w.Context(), "h")
	if err != nil {
		w.Fatal(err)
	}
	return r
}

// pass lets time go by, with a step each second and, if the host lives, a heartbeat before it.
func (w *world) pass(d time.Duration, lives bool) LifeState {
	w.Helper()
	for range int(d / time.Second) {
		w.now = w.now.Add(time.Second)
		if lives {
			w.life.Listener.Heartbeat("h", w.now)
		}
		w.step()
	}
	return StateOf(w.db.Snapshot(), "h")
}

// resync looks once more; nothing may change.
func (w *world) resync() {
	w.Helper()
	before := w.db.Revision()
	w.step()
	if after := w.db.Revision(); after != before {
		w.Errorf("a second look wrote: revision %d, then %d", before, after)
	}
}

func TestTheLifeOfAHostIsUnknownThenAliveThenLostThenAlive(t *testing.T) {
	w := newWorld(t)
	w.step()
	if got := StateOf(w.db.Snapshot(), "h"); got != Unknown {
		t.Fatalf("at first %s", got)
	}
	if got := w.pass(3*time.Second, true); got != Alive {
		t.Errorf("heard: %s", got)
	}
	before := w.db.Revision()
	if got := w.pass(5*time.Second, true); got != Alive || w.db.Revision() != before {
		t.Errorf("%s, and heartbeats were written to the store", got)
	}
	if got := w.pass(9*time.Second, false); got != Alive {
		t.Errorf("silent for 9 s: %s", got)
	}
	if got := w.pass(time.Second, false); got != Lost {
		t.Errorf("silent for 10 s: %s", got)
	}
	if got := w.pass(time.Second, true); got != Alive {
		t.Errorf("after a heartbeat: %s", got)
	}
	if want := []string{"lost", "heartbeat-restored"}; !slices.Equal(w.told, want) {
		t.Errorf("told %v, want %v", w.told, want)
	}
	w.resync()
}

func TestANewServerLosesNoHostBeforeItHasListenedForAGrace(t *testing.T) {
	w := newWorld(t)
	w.pass(20*time.Second, true)
	w.now = w.now.Add(time.Hour)
	w.restart()
	w.step()
	if got := w.pass(2*time.Second, false); got != Alive {
		t.Errorf("soon after a restart: %s, a flicker", got)
	}
	if got := w.pass(7*time.Second, false); got != Unknown {
		t.Errorf("9 s after a restart: %s", got)
	}
	if got := w.pass(time.Second, false); got != Lost {
		t.Errorf("10 s after a restart: %s", got)
	}
	w.restart()
	w.step()
	if got := StateOf(w.db.Snapshot(), "h"); got != Unknown {
		t.Errorf("what was lost before a restart is %s; nobody has listened since", got)
	}
	w.resync()
}

func TestAJumpOfTheClockChangesNoState(t *testing.T) {
	w := newWorld(t)
	w.pass(3*time.Second, true)
	for _, jump := range []time.Duration{24 * time.Hour, -48 * time.Hour} {
		w.now = w.now.Add(jump)
		w.step()
		if got := StateOf(w.db.Snapshot(), "h"); got != Alive {
			t.Errorf("after a jump of %v: %s", jump, got)
		}
	}
	if len(w.told) != 0 {
		t.Errorf("told %v", w.told)
	}
	w.resync()
}

func TestTheLifeGoesWithItsHost(t *testing.T) {
	w := newWorld(t)
	w.step()
	b := w.db.Begin()
	w.specs.Delete(b, Find(w.db.Snapshot(), "h"))
	w.commit(b)
	if Find(w.db.Snapshot(), "h") == nil {
		t.Fatal("the host went before its life")
	}
	w.step()
	if s := w.db.Snapshot(); Find(s, "h") != nil || len(store.Every(s, Livenesses)) != 0 {
		t.Error("something is left")
	}
	w.resync()
}

func TestASpecIsCheckedFieldByField(t *testing.T) {
	good := Spec{}
	Default(&good)
	if wrong := Check(&good); len(wrong) != 0 || good.Mode != Active || good.MemoryOvercommitPercent != 0 {
		t.Errorf("the defaults: %+v, %v", good, wrong)
	}
	for field, bad := range map[string]Spec{
		"spec.mode":                    {Mode: "asleep"},
		"spec.zone":                    {Zone: "Zone A"},
		"spec.cpuOvercommitPercent":    {CPUOvercommitPercent: 5},
		"spec.memoryOvercommitPercent": {MemoryOvercommitPercent: -1},
	} {
		Default(&bad)
		if wrong := Check(&bad); len(wrong) != 1 || wrong[0].Field != field {
			t.Errorf("%s: got %v", field, wrong)
		}
	}
	if !fault.Is(fault.Fields("x", Check(&Spec{})), fault.Invalid) {
		t.Error("an empty spec is well")
	}
}
