package operationtest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/operation"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

// The made-up operation moves a ball from a shelf to another: it makes a place on the new shelf,
// waits for a porter to carry a copy there, changes the record in the commit, and clears the old
// shelf. Its effects are in a map.

type ballSpec struct {
	Shelf string `json:"shelf"`
}

type ball = resource.Record[ballSpec, struct{}]

var balls = resource.Define("ball", "balls", resource.Options[ballSpec, struct{}]{})

type move struct {
	To string `json:"to"`
}

type toy struct {
	specs   *store.SpecWriter[ballSpec, struct{}]
	ball    *ball
	shelves map[string]string // shelf -> what lies there
	porter  string            // where he is asked to carry it
}

func (y *toy) definition() operation.Definition {
	return operation.Definition{
		Type: "ball.move", Doc: "Moves a ball.",
		Steps: []operation.Step{
			{Name: "place", Do: y.place, Undo: y.unplace},
			{Name: "carry", Do: y.carry, Undo: y.uncarry},
			{Name: "switch", Do: y.change, Commit: true},
			{Name: "clear", Do: y.clear},
		},
	}
}

func (y *toy) place(_ context.Context, r *operation.Run) error {
	in, err := operation.Input[move](r)
	if err != nil {
		return err
	}
	if y.shelves[in.To] == "" {
		y.shelves[in.To] = "place for " + string(r.Operation.ID)
	}
	return r.Give(in.To)
}

func (y *toy) unplace(_ context.Context, r *operation.Run) error {
	in, err := operation.Input[move](r)
	if err == nil && strings.HasPrefix(y.shelves[in.To], "place") {
		delete(y.shelves, in.To)
	}
	return err
}

func (y *toy) carry(_ context.Context, r *operation.Run) error {
	to, ok, err := operation.Output[string](r, "place")
	if err != nil || !ok {
		return fmt.Errorf("no output of place: %w", err)
	}
	r.Tell(1, 2, "carrying")
	if y.shelves[to] == "ball" {
		y.porter = ""
		return nil
	}
	y.porter = to
	return operation.NotYet(time.Second, "the porter carries it to %s", to)
}

func (y *toy) uncarry(_ context.Context, r *operation.Run) error {
	y.porter = ""
	if to, ok, _ := operation.Output[string](r, "place"); ok && y.shelves[to] == "ball" {
		y.shelves[to] = "place"
	}
	return nil
}

func (y *toy) change(_ context.Context, r *operation.Run) error {
	to, _, err := operation.Output[string](r, "place")
	if err != nil {
		return err
	}
	b, err := store.Need(r.DB.Snapshot(), balls, y.ball.ID)
	if err != nil {
		return err
	}
	y.specs.Set(r.Batch, b, func(s *ballSpec) { s.Shelf = to })
	return nil
}

func (y *toy) clear(context.Context, *operation.Run) error {
	delete(y.shelves, "old")
	return nil
}

func (y *toy) settle() {
	if y.porter != "" {
		y.shelves[y.porter] = "ball"
	}
}

// open makes a world; spoil may break the definition.
func open(t testing.TB, spoil func(y *toy, d *operation.Definition)) *World {
	l := store.NewRegistry()
	y := &toy{specs: store.Specs(l, balls, "test"), shelves: map[string]string{"old": "ball"}, ball: &ball{Spec: ballSpec{Shelf: "old"}}}
	db := store.NewDB(memory.New(), resource.NewCatalog(operation.Operations, balls))
	db.Inline = true
	b := db.Begin()
	other := &ball{Spec: ballSpec{Shelf: "cellar"}}
	y.specs.Create(b, y.ball)
	y.specs.Create(b, other)
	if err := db.Commit(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	def := y.definition()
	if spoil != nil {
		spoil(y, &def)
	}
	now := func() *ball { return store.Find(db.Snapshot(), balls, y.ball.ID) }
	return &World{
		DB: db, Specs: store.Specs(l, operation.Operations, "test"), Statuses: store.Statuses(l, operation.Operations, "test"),
		Definition: def, Target: y.ball.Ref(), Also: []resource.Ref{other.Ref()}, Input: move{To: "new"}, Settle: y.settle,
		Facts: func() string {
			data, _ := json.Marshal(y.shelves)
			return fmt.Sprintf("%s, porter %q, record %s", data, y.porter, now().Spec.Shelf)
		},
		Reached: func() error {
			if len(y.shelves) != 1 || y.shelves["new"] != "ball" || now().Spec.Shelf != "new" {
				return fmt.Errorf("shelves %v, record %s", y.shelves, now().Spec.Shelf)
			}
			return nil
		},
		Invariant: func() error {
			if shelf := now().Spec.Shelf; y.shelves[shelf] != "ball" {
				return fmt.Errorf("the record says %s, where %q lies", shelf, y.shelves[shelf])
			}
			return nil
		},
	}
}

func TestAnOperationThatIsRightPasses(t *testing.T) {
	Run(t, func(t testing.TB) *World { return open(t, nil) })
}

func TestAnOperationWithoutACommitPasses(t *testing.T) {
	Run(t, func(t testing.TB) *World {
		w := open(t, func(_ *toy, d *operation.Definition) { d.Steps = d.Steps[:2] })
		w.Reached = func() error { return nil }
		return w
	})
}

func TestTheSuiteCatchesWhatIsBroken(t *testing.T) {
	for name, test := range map[string]struct {
		spoil func(y *toy, d *operation.Definition)
		in    string // a scenario that must fail
	}{
		"an undo is missing":         {func(_ *toy, d *operation.Definition) { d.Steps[0].Undo = nil }, "carryFailsAfterItsEffect"},
		"an undo does too little":    {func(_ *toy, d *operation.Definition) { d.Steps[1].Undo = nothing }, "switchIsCancelled"},
		"a do cannot be repeated":    {unrepeatable, "EveryDoIsCalledTwice"},
		"an undo cannot be repeated": {undoOnce, "CrashAfterUndoOfplace"},
		"the commit acts outside":    {actsOutside, "switchFailsAfterItsEffect"},
		"it keeps state in memory":   {remembers, "CrashAfterplace"},
		"cleared before the commit":  {clearsEarly, "AllGoesWell"},
		"it never ends":              {neverEnds, "AllGoesWell"},
	} {
		t.Run(name, func(t *testing.T) {
			wrong := strings.Join(Check(t, func(t testing.TB) *World { return open(t, test.spoil) }), "\n")
			if !strings.Contains(wrong, test.in+": ") {
				t.Errorf("%s does not fail; what fails:\n%s", test.in, wrong)
			}
		})
	}
}

func nothing(context.Context, *operation.Run) error { return nil }

func unrepeatable(y *toy, d *operation.Definition) {
	d.Steps[3].Do = func(context.Context, *operation.Run) error {
		if y.shelves["old"] == "" {
			return fault.New(fault.NotFound, "nothing to clear")
		}
		delete(y.shelves, "old")
		return nil
	}
}

func undoOnce(y *toy, d *operation.Definition) {
	d.Steps[0].Undo = func(_ context.Context, r *operation.Run) error {
		if y.shelves["new"] == "" {
			return fault.New(fault.NotFound, "no place to undo")
		}
		return y.unplace(nil, r) //nolint:staticcheck // it does not look at it
	}
}

func actsOutside(y *toy, d *operation.Definition) {
	d.Steps[2].Do = func(ctx context.Context, r *operation.Run) error {
		r.Batch = r.DB.Begin()
		if err := y.change(ctx, r); err != nil {
			return err
		}
		return r.DB.Commit(ctx, r.Batch)
	}
}

func remembers(y *toy, d *operation.Definition) {
	placed := 0
	d.Steps[0].Do = func(ctx context.Context, r *operation.Run) error {
		placed++
		if placed > 1 {
			return fault.New(fault.Internal, "placed twice")
		}
		return y.place(ctx, r)
	}
}

func clearsEarly(_ *toy, d *operation.Definition) {
	d.Steps[2], d.Steps[3] = d.Steps[3], d.Steps[2]
}

func neverEnds(_ *toy, d *operation.Definition) {
	d.Steps[1].Do = func(context.Context, *operation.Run) error { return operation.NotYet(time.Second, "ever") }
}
