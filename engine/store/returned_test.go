package store_test

import (
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
)

type pageSpec struct{ Book, Author resource.ID }

type page = resource.Record[pageSpec, struct{}]

var pages = resource.Define("page", "pages", resource.Options[pageSpec, struct{}]{
	Scope: resource.InProject,
	Needs: func(p *page) []resource.Need {
		return []resource.Need{{Ref: resource.Ref{Kind: "page", ID: p.Spec.Book}}, {Ref: resource.Ref{Kind: "page", ID: p.Spec.Author}, Tie: resource.Following}}
	},
})

func TestALostRecordComesBackAsItWas(t *testing.T) {
	db := store.NewDB(memory.New(), resource.NewCatalog(pages))
	db.Inline = true
	back := store.Returns(store.NewRegistry(), "test")
	was := func() *page {
		return &page{Meta: resource.Meta{Kind: "page", ID: "p1", Name: "one", Project: "x", Generation: 9, Revision: 77, Holders: []string{"reader"}}}
	}
	try := func(fill func(*store.Batch)) error {
		b := db.Begin()
		fill(b)
		return db.Commit(t.Context(), b)
	}
	lacks := was()
	lacks.Spec.Book = "none"
	if err := try(func(b *store.Batch) { back.Return(b, lacks) }); !fault.Is(err, fault.NotFound) {
		t.Errorf("without what it needs: %v", err)
	}
	outlives := was()
	outlives.Spec.Author = "gone"
	if err := try(func(b *store.Batch) { back.Return(b, outlives) }); err != nil {
		t.Fatalf("without what it may outlive: %v", err)
	}
	x := store.Find(db.Snapshot(), pages, "p1")
	if x == nil || x.Generation != 9 || !x.HeldBy("reader") || x.Spec.Author != "gone" || x.Revision == 77 {
		t.Errorf("it is %+v", x)
	}
	if err := try(func(b *store.Batch) { back.Return(b, was()) }); !fault.Is(err, fault.Exists) && !fault.Is(err, fault.Conflict) {
		t.Errorf("of a record that is there: %v", err)
	}
	if err := try(func(b *store.Batch) { back.Return(b, was()); back.Return(b, was()) }); !fault.Is(err, fault.Internal) {
		t.Errorf("twice in a batch: %v", err)
	}
}

func TestTheRightToReturnRecordsIsGivenOnce(t *testing.T) {
	l := store.NewRegistry()
	store.Returns(l, "api")
	store.Returns(l, "another")
	if l.Err() == nil {
		t.Error("it was given twice")
	}
}
