package onhost

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
)

// paper is a host on paper.
type paper struct {
	inventory host.Inventory
	profile   host.Profile
	err       error
	looks     int
}

func (p *paper) Inventory() (host.Inventory, error) { return p.inventory, nil }
func (p *paper) Profile(context.Context) (host.Profile, error) {
	p.looks++
	return p.profile, p.err
}

type world struct {
	*testing.T
	db       *store.DB
	hardware *paper
	now      time.Time
	loop     *reconcile.Loop
	ready    bool
	here     error
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{T: t, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), ready: true}
	w.hardware = &paper{inventory: host.Inventory{Threads: 2, MHz: 2600, MemoryMiB: 4096}, profile: host.Profile{Accelerator: host.TCG, QEMUVersion: "7.2.22"}}
	w.db = store.NewDB(memory.New(), resource.NewCatalog(host.Hosts, host.Livenesses))
	w.db.Now = func() time.Time { return w.now }
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = w.db.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	registry := store.NewRegistry()
	self := Self{HostID: "h", Address: "192.0.2.1:7000", TunnelAddress: "192.0.2.1", Version: "v1", Inventoried: func() bool { return w.ready }, Here: func() error { return w.here }}
	w.loop = NewLoop(w.db, self, w.hardware, store.Statuses(registry, host.Hosts, "agent"))
	b := w.db.Begin()
	store.Specs(registry, host.Hosts, "api").Create(b, host.New("h", "one"))
	if err := w.db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) step(id resource.ID) reconcile.Result {
	w.Helper()
	r, err := w.loop.Step(w.Context(), id)
	if err != nil {
		w.Fatal(err)
	}
	return r
}

func (w *world) status() host.Status { return host.Find(w.db.Snapshot(), "h").Status }

func (w *world) resync() {
	w.Helper()
	before := w.db.Revision()
	w.step("h")
	if w.db.Revision() != before {
		w.Error("a second look wrote again")
	}
}

func TestAHostReportsWhatItHasAndWhatWorks(t *testing.T) {
	w := newWorld(t)
	w.step("h")
	got := w.status()
	if got.Address != "192.0.2.1:7000" || got.TunnelAddress != "192.0.2.1" || got.Version != "v1" || got.SeenGeneration != 1 ||
		got.Inventory.MemoryMiB != 4096 || got.Profile.Accelerator != host.TCG || got.Inventoried != "yes" || len(got.Problems) != 0 {
		t.Errorf("got %+v", got)
	}
	w.resync()
	if w.hardware.looks != 1 {
		t.Errorf("probed %d times within a minute", w.hardware.looks)
	}
}

func TestAHostSaysThatItHasNotLookedYet(t *testing.T) {
	w := newWorld(t)
	w.ready = false
	if r := w.step("h"); r.After == 0 || w.status().Inventoried != "" {
		t.Errorf("got %+v, %q", r, w.status().Inventoried)
	}
	w.ready = true
	w.step("h")
	if w.status().Inventoried != "yes" {
		t.Error("the first inventory is not reported")
	}
	w.resync()
}

func TestAMissingQEMUIsAProblemUntilItIsInstalled(t *testing.T) {
	w := newWorld(t)
	w.hardware.err = fault.New(fault.Precondition, "no QEMU; install it")
	if r := w.step("h"); r.After == 0 {
		t.Error("nobody looks again")
	}
	got := w.status().Problems
	if len(got) != 1 || got[0].Kind != "precondition" || !strings.Contains(got[0].Message, "install") {
		t.Fatalf("got %+v", got)
	}
	w.resync()
	w.hardware.err = nil
	w.now = w.now.Add(tryAgain)
	w.step("h")
	if len(w.status().Problems) != 0 {
		t.Errorf("got %+v", w.status().Problems)
	}
	w.resync()
}

func TestOtherHostsAreLeftAlone(t *testing.T) {
	w := newWorld(t)
	before := w.db.Revision()
	w.step("other")
	if w.db.Revision() != before || w.hardware.looks != 0 {
		t.Error("an agent reported another host")
	}
}

func TestAProbeThatIsCalledOffReportsNothing(t *testing.T) {
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.hardware.err = context.Canceled
	if _, err := w.loop.Step(ctx, "h"); err == nil {
		t.Error("no error")
	}
	w.hardware.err = nil
	w.step("h")
	if len(w.status().Problems) != 0 || w.status().Version != "v1" {
		t.Errorf("got %+v", w.status())
	}
}

func TestAHeartbeatIsSentAboutEverySecondWhetherOrNotItArrives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		sent := 0
		Heartbeat(ctx, func(context.Context) error {
			sent++
			if sent%3 == 0 {
				return errors.New("nobody there")
			}
			return nil
		})
		if sent < 54 || sent > 67 {
			t.Errorf("sent %d times in a minute", sent)
		}
	})
}

func TestAServerThatDoesNotAnswerDoesNotHoldTheHeartbeatUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		sent := 0
		Heartbeat(ctx, func(ctx context.Context) error { sent++; <-ctx.Done(); return ctx.Err() })
		if sent < 4 {
			t.Errorf("sent %d times in 20 s", sent)
		}
	})
}

func TestAHostThatHasLostItsAddressSaysSo(t *testing.T) {
	w := newWorld(t)
	w.here = fault.New(fault.Precondition, "this host does not have 192.0.2.1 any more")
	w.step("h")
	got := w.status().Problems
	if len(got) != 1 || got[0].Message != w.here.Error() {
		t.Fatalf("got %+v", got)
	}
	w.here, w.now = nil, w.now.Add(tryAgain)
	w.step("h")
	if len(w.status().Problems) != 0 {
		t.Errorf("got %+v", w.status().Problems)
	}
}
