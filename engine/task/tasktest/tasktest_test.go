package tasktest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/engine/task"
)

// The made-up task has a mill grind a sack: the mill works by itself, and puts flour beside it.

type sack = resource.Record[struct{}, struct{}]

var sacks = resource.Define("sack", "sacks", resource.Options[struct{}, struct{}]{})

var grind = task.Type[int]{Name: "sack.grind"}

type mill struct {
	grinds int // of how many turns it has done; -1: it stands
	flour  bool
	hands  int // the memory of an agent
}

func (m *mill) do(_ context.Context, r *task.Run, turns int) error {
	if m.flour {
		m.grinds = -1
		return r.Give("flour")
	}
	switch {
	case m.grinds < 0:
		m.grinds = 0
	case m.grinds >= turns:
		m.flour, m.grinds = true, -1
		return r.Give("flour")
	}
	r.Tell(int64(m.grinds), int64(turns), "ground")
	return task.NotYet(time.Second, "the mill")
}

func (m *mill) stop(context.Context, *task.Run, int) error {
	m.grinds, m.flour = -1, false
	return nil
}

func open(t testing.TB, spoil func(m *mill, d *task.Definition)) *World {
	l, m, s := store.NewRegistry(), &mill{grinds: -1}, &sack{}
	db := store.NewDB(memory.New(), resource.NewCatalog(task.Tasks, sacks))
	db.Inline = true
	b := db.Begin()
	store.Specs(l, sacks, "test").Create(b, s)
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	make := func() task.Definition {
		d := grind.Define(m.do, m.stop)
		if spoil != nil {
			spoil(m, &d)
		}
		return d
	}
	specs, host := store.Specs(l, task.Tasks, "test"), resource.NewID()
	return &World{DB: db, Specs: specs, Statuses: store.Statuses(l, task.Tasks, "test"),
		Definition: make(), Restart: func() task.Definition { m.hands = 0; return make() },
		Start: func(b *store.Batch) (*task.Task, error) {
			return grind.Start(b, specs, task.Request{HostID: host, Target: s.Ref()}, 3)
		},
		Facts: func() string { return fmt.Sprintf("turns %d, flour %v", m.grinds, m.flour) },
		Reached: func() error {
			if !m.flour || m.grinds >= 0 {
				return errors.New("there is no flour, or the mill works still")
			}
			return nil
		},
		Settle: func() {
			if m.grinds >= 0 {
				m.grinds++
			}
		},
	}
}

func TestATaskThatIsRightPasses(t *testing.T) {
	Run(t, func(t testing.TB) *World { return open(t, nil) })
}

func TestTheSuiteCatchesWhatIsBroken(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(m *mill, d *task.Definition)
		in    string // a scenario that must fail
	}{
		"it stops nothing":       {func(_ *mill, d *task.Definition) { d.Stop = nothing }, "CancelledAtDo2"},
		"it leaves what is half": {func(m *mill, d *task.Definition) { d.Stop = func(context.Context, *task.Run) error { return nil } }, "FailsAfterItsEffectAtDo1"},
		"it cannot adopt":        {forgets, "CrashAfterAtDo1"},
		"a stop works once":      {stopsOnce, "CancelledAndStoppedTwiceAtDo1"},
		"it never ends":          {func(_ *mill, d *task.Definition) { d.Do = forever }, "AllGoesWell"},
	} {
		t.Run(name, func(t *testing.T) {
			wrong := strings.Join(Check(t, func(t testing.TB) *World { return open(t, test.spoil) }), "\n")
			if !strings.Contains(wrong, test.in+": ") {
				t.Errorf("%s does not fail; what fails:\n%s", test.in, wrong)
			}
		})
	}
}

func nothing(context.Context, *task.Run) error { return nil }

func forever(context.Context, *task.Run) error { return task.NotYet(time.Second, "ever") }

// forgets knows only in the memory of the agent that it has begun.
func forgets(m *mill, d *task.Definition) {
	do := d.Do
	d.Do = func(ctx context.Context, r *task.Run) error {
		if m.hands == 0 && m.grinds >= 0 {
			return errors.New("somebody else has the mill")
		}
		m.hands = 1
		return do(ctx, r)
	}
}

func stopsOnce(m *mill, d *task.Definition) {
	stop := d.Stop
	d.Stop = func(ctx context.Context, r *task.Run) error {
		if m.grinds < 0 {
			return errors.New("the mill stands already")
		}
		return stop(ctx, r)
	}
}
