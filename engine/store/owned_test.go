package store_test

import (
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

func (w *world) createOwned(name string, owner *cat, holders ...string) *cat {
	w.Helper()
	ref := owner.Ref()
	c := &cat{Meta: resource.Meta{Name: name, Project: "p", Owner: &ref}}
	w.do(func(b *store.Batch) { w.specs.Create(b, c, holders...) })
	return w.find(c.ID)
}

func TestOwnerTakesAlongWhatItOwnsAndNothingElse(t *testing.T) {
	w := newWorld(t)
	mother := w.create("mother", "nurse")
	kitten := w.createOwned("kitten", mother)
	held := w.createOwned("held", mother, "vet")
	grand := w.createOwned("grand", held, "vet")
	other := w.create("other")
	before := w.db.Revision()
	w.do(func(b *store.Batch) {
		w.specs.Delete(b, mother)
		w.statuses.Set(b, held, func(s *catStatus) { s.Mood = "sad" }) // written in the same commit
		store.DeleteOwned(b, w.db.Snapshot(), mother.ID)
	})
	if w.db.Revision() != before+1 {
		t.Error("owner and owned are not deleted in one commit")
	}
	if w.find(kitten.ID) != nil {
		t.Error("what nobody holds is still there")
	}
	if got := w.find(held.ID); got == nil || got.Deleting == nil || got.Status.Mood != "sad" || held.Deleting != nil {
		t.Errorf("what is held is %+v", got)
	}
	if got := w.find(grand.ID); got == nil || got.Deleting == nil {
		t.Errorf("what is owned by the owned is %+v", got)
	}
	if got := w.find(other.ID); got == nil || got.Deleting != nil {
		t.Error("a stranger went along")
	}
	marked := w.db.Revision()
	w.do(func(b *store.Batch) { store.DeleteOwned(b, w.db.Snapshot(), mother.ID) })
	if w.db.Revision() != marked {
		t.Error("a second look writes again")
	}
}

func TestOwnedRecordIsFoundByItsOwner(t *testing.T) {
	w := newWorld(t)
	mother := w.create("mother")
	kitten := w.createOwned("kitten", mother)
	found := store.Referring(w.db.Snapshot(), cats, mother.ID)
	if len(found) != 1 || found[0].ID != kitten.ID || !found[0].OwnedBy(mother.ID) {
		t.Errorf("found %v", found)
	}
}
