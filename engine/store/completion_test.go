package store_test

import (
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// agent is a DB whose commits are completed by a server.
func (w *world) agent() *store.DB {
	db := store.NewDB(w.db.Shared(), w.db.Catalog())
	if err := db.Sync(w.Context()); err != nil {
		w.Fatal(err)
	}
	return db
}

func TestAnAgentThatLetsGoLastGivesBackWhatTheRecordHad(t *testing.T) {
	w := newWorld(t)
	tom := &cat{Meta: resource.Meta{Name: "tom", Project: "p"}, Spec: catSpec{Colour: "black", Basket: "b1"}}
	w.do(func(b *store.Batch) { w.specs.Create(b, tom, "agent") })
	other := &cat{Meta: resource.Meta{Name: "kit", Project: "p"}, Spec: catSpec{Basket: "b1"}}
	if err := w.try(func(b *store.Batch) { w.specs.Create(b, other) }); !fault.Is(err, fault.Exists) {
		t.Fatalf("two cats in one basket: %v", err)
	}
	w.do(func(b *store.Batch) { w.specs.Delete(b, w.find(tom.ID)) })
	agent := w.agent()
	b := store.NewBatch(w.db.Now())
	store.Release(b, w.find(tom.ID), "agent")
	changes, err := b.Changes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := agent.Store().Commit(t.Context(), changes...); err != nil {
		t.Fatal(err)
	}
	if keys := w.keys(); len(keys) != 0 {
		t.Errorf("left behind: %v", keys)
	}
	if marks, _, _ := w.memory.List(t.Context(), store.MarkKind); len(marks) != 0 {
		t.Errorf("left behind: %v", marks)
	}
	w.do(func(b *store.Batch) { w.specs.Create(b, other) })
}

func TestAnAgentMakesNothingThatNeedsWhatIsNotThere(t *testing.T) {
	w := newWorld(t)
	b := store.NewBatch(w.db.Now())
	w.specs.Create(b, &cat{Meta: resource.Meta{Name: "tom", Project: "p"}, Spec: catSpec{BoxID: "gone"}})
	changes, err := b.Changes()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.agent().Store().Commit(t.Context(), changes...); !fault.Is(err, fault.NotFound) {
		t.Errorf("gives %v", err)
	}
}
