package store

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-memdb"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// row is what the in-memory database holds: one table for all kinds.
type row struct {
	Kind    string
	ID      string
	Name    string // project/name
	Refs    []string
	Object  resource.Object
	KindRef []string // kind + "\x00" + referred id
}

const table = "record"

var schema = &memdb.DBSchema{Tables: map[string]*memdb.TableSchema{table: {
	Name: table,
	Indexes: map[string]*memdb.IndexSchema{
		"id":   {Name: "id", Unique: true, Indexer: &memdb.StringFieldIndex{Field: "ID"}},
		"kind": {Name: "kind", Indexer: &memdb.StringFieldIndex{Field: "Kind"}},
		"name": {Name: "name", Unique: true, Indexer: &memdb.CompoundIndex{Indexes: []memdb.Indexer{
			&memdb.StringFieldIndex{Field: "Kind"}, &memdb.StringFieldIndex{Field: "Name"}}}},
		"ref":     {Name: "ref", AllowMissing: true, Indexer: &memdb.StringSliceFieldIndex{Field: "Refs"}},
		"kindref": {Name: "kindref", AllowMissing: true, Indexer: &memdb.StringSliceFieldIndex{Field: "KindRef"}},
	},
}}}

// Delta is one record that changed: Old or New is nil when it was not there before, or is gone.
type Delta struct{ Old, New resource.Object }

// View is the in-memory picture of all records at one revision, fed by one watch.
type View struct {
	store   Store
	catalog *resource.Catalog
	db      *memdb.MemDB

	mu       sync.Mutex
	revision int64
	moved    chan struct{} // closed and replaced when revision rises
	tell     []func([]Delta)
	unknown  map[resource.Ref]string // records that no loop of this program understands, and why
}

// NewView makes an empty view. Run fills it.
func NewView(s Store, c *resource.Catalog) *View {
	db, err := memdb.NewMemDB(schema)
	if err != nil {
		panic("store: " + err.Error())
	}
	return &View{store: s, catalog: c, db: db, moved: make(chan struct{}), unknown: map[resource.Ref]string{}}
}

// Subscribe calls fn with what each revision changed, in order, after the view shows it. It must
// not block. Subscribe before Run.
func (v *View) Subscribe(fn func([]Delta)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.tell = append(v.tell, fn)
}

// Run keeps the view current until ctx ends. A watch that breaks is begun again, by a full list
// where the past is gone.
func (v *View) Run(ctx context.Context) error {
	listed := false
	for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
		err := error(nil)
		if !listed {
			if err = v.relist(ctx); err == nil {
				listed, pause = true, 50*time.Millisecond
			}
		}
		if err == nil {
			err = v.follow(ctx)
			if fault.Is(err, fault.TooLate) {
				listed = false
			}
		}
		if err != nil && ctx.Err() == nil {
			slog.Warn("the view lost its watch; it begins again", "error", err, "pause", pause)
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
	return ctx.Err()
}

// Sync lists once and then applies nothing further; the simulator and tools use it with Step.
func (v *View) Sync(ctx context.Context) error { return v.relist(ctx) }

func (v *View) relist(ctx context.Context) error {
	entries, revision, err := v.store.List(ctx)
	if err != nil {
		return fault.Wrap(err, "list all records")
	}
	events := make([]Event, 0, len(entries))
	there := make(map[string]bool, len(entries))
	for _, e := range entries {
		events = append(events, Event{Key: e.Key, Value: e.Value})
		there[string(e.Key.ID)] = true
	}
	revisions := make(map[resource.Ref]int64, len(entries))
	for _, e := range entries {
		revisions[e.Key] = e.Revision
	}
	for x := range v.Snapshot().all() {
		if head := x.Head(); !there[string(head.ID)] {
			events = append(events, Event{Key: head.Ref()})
		}
	}
	v.apply(revision, events, func(k resource.Ref) int64 { return revisions[k] })
	return nil
}

func (v *View) follow(ctx context.Context) error {
	w, err := v.store.Watch(ctx, v.Revision())
	if err != nil {
		return fault.Wrap(err, "watch all records")
	}
	defer w.Stop()
	for c := range w.Changes() {
		v.Apply(c)
	}
	if err := w.Err(); err != nil {
		return err
	}
	if ctx.Err() == nil {
		return errors.New("the watch ended")
	}
	return nil
}

// Apply brings one revision's changes into the view. Run calls it; the simulator, which has no
// goroutines, calls it itself.
func (v *View) Apply(c Changes) {
	v.apply(c.Revision, c.Events, func(resource.Ref) int64 { return c.Revision })
}

func (v *View) apply(revision int64, events []Event, revisionOf func(resource.Ref) int64) {
	txn := v.db.Txn(true)
	var deltas []Delta
	for _, e := range events {
		if d, ok := v.applyOne(txn, e, revisionOf(e.Key)); ok {
			deltas = append(deltas, d)
		}
	}
	txn.Commit()
	v.mu.Lock()
	v.revision = max(v.revision, revision)
	close(v.moved)
	v.moved = make(chan struct{})
	tell := slices.Clone(v.tell)
	v.mu.Unlock()
	if len(deltas) == 0 {
		return
	}
	for _, fn := range tell {
		fn(deltas)
	}
}

func (v *View) applyOne(txn *memdb.Txn, e Event, revision int64) (Delta, bool) {
	if e.Key.Kind == NameKind {
		return Delta{}, false
	}
	var d Delta
	raw, _ := txn.First(table, "id", string(e.Key.ID))
	if raw != nil {
		d.Old = raw.(*row).Object
	}
	if e.Value == nil {
		v.forget(e.Key)
		if raw != nil {
			_ = txn.Delete(table, raw)
		}
		return d, raw != nil
	}
	kind, known := v.catalog.Lookup(e.Key.Kind)
	if !known {
		v.remember(e.Key, "this version of virga knows no kind "+string(e.Key.Kind))
		return d, false
	}
	object, err := kind.Decode(e.Value, revision)
	if err != nil {
		v.remember(e.Key, err.Error())
		return d, false
	}
	if d.Old != nil && d.Old.Head().Revision >= revision {
		return d, false
	}
	v.forget(e.Key)
	d.New = object
	if err := txn.Insert(table, newRow(kind, object)); err != nil {
		v.remember(e.Key, err.Error())
		return d, false
	}
	return d, true
}

func newRow(kind resource.Descriptor, x resource.Object) *row {
	head := x.Head()
	r := &row{Kind: string(head.Kind), ID: string(head.ID), Name: head.Project + "/" + head.Name, Object: x}
	for _, ref := range kind.Refs(x) {
		r.Refs = append(r.Refs, string(ref.ID))
		r.KindRef = append(r.KindRef, string(head.Kind)+"\x00"+string(ref.ID))
	}
	return r
}

func (v *View) remember(key resource.Ref, why string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.unknown[key]; !known {
		slog.Error("a record is not understood and left alone", "record", key.String(), "why", why)
	}
	v.unknown[key] = why
}

func (v *View) forget(key resource.Ref) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.unknown, key)
}

// NotUnderstood lists the records that this program cannot read, and why. They are left alone.
func (v *View) NotUnderstood() map[resource.Ref]string {
	v.mu.Lock()
	defer v.mu.Unlock()
	out := make(map[resource.Ref]string, len(v.unknown))
	for k, why := range v.unknown {
		out[k] = why
	}
	return out
}

// Revision is the store's revision that the view shows; 0 before the first list.
func (v *View) Revision() int64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.revision
}

// WaitFor returns when the view shows revision or a later one.
func (v *View) WaitFor(ctx context.Context, revision int64) error {
	for {
		v.mu.Lock()
		there, moved := v.revision, v.moved
		v.mu.Unlock()
		if there >= revision {
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.New(fault.Unavailable, "wait for revision %d (the view shows %d): %w", revision, there, ctx.Err())
		case <-moved:
		}
	}
}
