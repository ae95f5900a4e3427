package store_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type catSpec struct {
	Colour string      `json:"colour"`
	BoxID  resource.ID `json:"boxID,omitempty"`
	Basket string      `json:"basket,omitempty"`
}

type catStatus struct {
	resource.Observed
	Mood string `json:"mood,omitempty"`
}

type (
	cat = resource.Record[catSpec, catStatus]
	box = resource.Record[struct{}, struct{}]
)

var (
	cats = resource.Define("cat", "cats", resource.Options[catSpec, catStatus]{
		Scope: resource.InProject,
		Needs: func(c *cat) []resource.Need {
			return []resource.Need{{Ref: resource.Ref{Kind: "box", ID: c.Spec.BoxID}}}
		},
		Takes: func(c *cat) []string {
			if c.Spec.Basket == "" {
				return nil
			}
			return []string{"basket:" + c.Spec.Basket}
		},
		Counts: map[string]func(*cat) int64{
			"cats": func(*cat) int64 { return 1 }, "letters": func(c *cat) int64 { return int64(len(c.Spec.Colour)) },
		},
	})
	boxes = resource.Define("box", "boxes", resource.Options[struct{}, struct{}]{Scope: resource.InCloud})
)

// world is a DB over the memory store, without goroutines.
type world struct {
	*testing.T
	memory   *memory.Store
	db       *store.DB
	specs    *store.SpecWriter[catSpec, catStatus]
	statuses *store.StatusWriter[catSpec, catStatus]
}

func newWorld(t *testing.T) *world {
	l := store.NewRegistry()
	w := &world{T: t, memory: memory.New(), specs: store.Specs(l, cats, "test"), statuses: store.Statuses(l, cats, "test")}
	w.db = store.NewDB(w.memory, resource.NewCatalog(cats, boxes))
	w.db.Inline = true
	w.db.Now = func() time.Time { return time.Unix(1_700_000_000, 0) }
	return w
}

func (w *world) try(fill func(b *store.Batch)) error {
	b := w.db.Begin()
	fill(b)
	return w.db.Commit(w.Context(), b)
}

func (w *world) do(fill func(b *store.Batch)) {
	w.Helper()
	if err := w.try(fill); err != nil {
		w.Fatal(err)
	}
}

func (w *world) create(name string, holders ...string) *cat {
	w.Helper()
	c := &cat{Meta: resource.Meta{Name: name, Project: "p"}, Spec: catSpec{Colour: "black"}}
	w.do(func(b *store.Batch) { w.specs.Create(b, c, holders...) })
	return w.find(c.ID)
}

func (w *world) find(id resource.ID) *cat { return store.Find(w.db.Snapshot(), cats, id) }

// keys lists all that the store holds.
func (w *world) keys() map[string]bool {
	w.Helper()
	entries, _, err := w.memory.List(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	out := map[string]bool{}
	for _, e := range entries {
		out[e.Key.String()] = true
	}
	return out
}

func (w *world) raw(kind resource.Kind, id resource.ID, value string) {
	w.Helper()
	c := store.Change{Key: resource.Ref{Kind: kind, Project: "p", ID: id}, Op: store.Put, Value: []byte(value), Expect: store.Any}
	if value == "" {
		c.Op = store.Delete
	}
	if _, err := w.memory.Commit(w.Context(), c); err != nil {
		w.Fatal(err)
	}
}

// follow runs the view in a goroutine until the test ends.
func follow(t *testing.T, v *store.View) {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = v.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}
