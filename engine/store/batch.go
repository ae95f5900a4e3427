package store

import (
	"bytes"
	"encoding/json"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Batch collects the writes of one commit. Several writes to one record become one change, held
// to the revision that was first read. The first error ends it and is returned by Commit.
type Batch struct {
	now   time.Time
	order []resource.Ref
	work  map[resource.Ref]*work
	extra []Change
	err   error
}

type work struct {
	before, object resource.Object // before: as it was read; nil: it is new
	expect         int64
	value          []byte // of object, as long as it is not changed again
	wider          bool   // more of it may change than the status and the holders
	gone           bool   // it goes whatever its holders
	returned       bool   // it was lost: what it may outlive need not be there
}

// after is the record when the commit is done; nil: it goes.
func (w *work) after() resource.Object {
	if head := w.object.Head(); w.gone || head.Deleting != nil && len(head.Holders) == 0 {
		return nil
	}
	return w.object
}

// NewBatch begins a commit. Now is the time that new records and deletion marks get.
func NewBatch(now time.Time) *Batch {
	return &Batch{now: now.UTC(), work: map[resource.Ref]*work{}}
}

// Empty reports whether there is nothing to commit.
func (b *Batch) Empty() bool { return len(b.order) == 0 && len(b.extra) == 0 && b.err == nil }

// Check holds the commit to a key being as it was read, without changing it.
func (b *Batch) Check(key resource.Ref, expect int64) {
	b.extra = append(b.extra, Change{Key: key, Op: Check, Expect: expect})
}

// InTurn lets those who begin to need a record, or change what depends on all that need it, go one after
// the other: the commit fails if anybody has since the snapshot.
func (b *Batch) InTurn(ref resource.Ref, s *Snapshot) {
	b.extra = append(b.extra, Change{Key: TouchKey(ref), Op: Put, Expect: Any, Since: s.revision})
}

// Claim takes a unique key; the commit fails with fault.Exists when it is taken. What a record alone may
// have as long as it is so is claimed by the Takes of its kind, not by this.
func (b *Batch) Claim(key resource.Ref, by resource.ID) {
	b.extra = append(b.extra, Change{Key: key, Op: Put, Value: owner(by), Expect: Absent})
}

// Unclaim frees a unique key.
func (b *Batch) Unclaim(key resource.Ref) {
	b.extra = append(b.extra, Change{Key: key, Op: Delete, Expect: Any})
}

// Hold adds a holder: the record will not go before it lets go.
func Hold[S, T any](b *Batch, r *resource.Record[S, T], holder string) {
	edit(b, r, func(r *resource.Record[S, T]) {
		if !r.HeldBy(holder) {
			r.Holders = append(slices.Clone(r.Holders), holder)
		}
	})
}

// Release lets go. A record that is being deleted and has no holder left is removed with its name.
func Release[S, T any](b *Batch, r *resource.Record[S, T], holder string) {
	edit(b, r, func(r *resource.Record[S, T]) {
		r.Holders = slices.DeleteFunc(slices.Clone(r.Holders), func(h string) bool { return h == holder })
	})
}

// MarkDeleting asks for deletion. A record without holders goes at once.
func MarkDeleting[S, T any](b *Batch, r *resource.Record[S, T]) {
	edit(b, r, func(r *resource.Record[S, T]) {
		if r.Deleting == nil {
			now := b.now
			r.Deleting = &now
		}
	})
	b.widen(r.Ref())
}

// Changes gives what is to be committed, but for what a DB derives from it.
func (b *Batch) Changes() ([]Change, error) {
	out, err := b.changes()
	if err != nil {
		return nil, err
	}
	return merge(out)
}

func (b *Batch) changes() ([]Change, error) {
	if b.err != nil {
		return nil, b.err
	}
	var out []Change
	for _, ref := range b.order {
		w := b.work[ref]
		name := NameKey(ref.Kind, ref.Project, w.object.Head().Name)
		had := name
		if w.before != nil {
			had = NameKey(ref.Kind, ref.Project, w.before.Head().Name)
		}
		if w.after() == nil {
			if w.expect != Absent {
				out = append(out, Change{Key: ref, Op: Delete, Expect: w.expect}, Change{Key: had, Op: Delete, Expect: Any})
			}
			continue
		}
		if w.value == nil {
			var err error
			if w.value, err = resource.Encode(w.object); err != nil {
				return nil, fault.New(fault.Internal, "encode %s: %w", ref, err)
			}
		}
		out = append(out, Change{Key: ref, Op: Put, Value: w.value, Expect: w.expect, Report: w.expect != Absent && !w.wider})
		if had != name {
			out = append(out, Change{Key: had, Op: Delete, Expect: Any})
		}
		if w.expect == Absent || had != name {
			out = append(out, Change{Key: name, Op: Put, Value: owner(ref.ID), Expect: Absent})
		}
	}
	return append(out, b.extra...), nil
}

// owner is the value of a claim key.
func owner(id resource.ID) []byte {
	value, _ := json.Marshal(id)
	return value
}

// merge makes one change of several that name the same key, where that has a meaning: a check
// of what is written anyway, and a name or claim that passes from one record to another.
func merge(changes []Change) ([]Change, error) {
	at := make(map[resource.Ref]int, len(changes))
	var out []Change
	for _, c := range changes {
		i, twice := at[c.Key]
		if !twice {
			at[c.Key] = len(out)
			out = append(out, c)
			continue
		}
		first := &out[i]
		switch {
		case c.Op == Put && first.Op == Put && c.Expect == first.Expect && bytes.Equal(c.Value, first.Value):
		case c.Op == Check && (c.Expect == first.Expect || c.Expect == Present && first.Expect > 0):
		case first.Op == Check && (c.Expect == first.Expect || first.Expect == Present && c.Expect > 0):
			*first = c
		case c.Op == Check || first.Op == Check:
			return nil, fault.New(fault.Conflict, "%s was read twice and has changed meanwhile; read again", c.Key)
		case first.Op == Delete && c.Op == Put && c.Expect == Absent:
			*first = Change{Key: c.Key, Op: Put, Value: c.Value, Expect: first.Expect}
		case first.Op == Put && first.Expect == Absent && c.Op == Delete && c.Expect == Any:
			first.Expect = Any
		case first.Op == Delete && c.Op == Delete:
		default:
			return nil, fault.New(fault.Internal, "a commit writes %s twice", c.Key)
		}
	}
	return out, nil
}

// widen says that a record which the batch changes is no mere report.
func (b *Batch) widen(ref resource.Ref) {
	if w := b.work[ref]; w != nil {
		w.wider = true
	}
}

func create[S, T any](b *Batch, r *resource.Record[S, T]) {
	if b.err != nil {
		return
	}
	r.Generation, r.Revision, r.ProjectName = 1, 0, ""
	if r.Created.IsZero() {
		r.Created = b.now
	}
	if _, twice := b.work[r.Ref()]; twice {
		b.err = fault.New(fault.Internal, "create %s: the batch has it already", r.Ref())
		return
	}
	b.keep(r.Ref(), &work{object: r, expect: Absent})
}

// edit changes the batch's own copy of a record. What is unchanged is not written.
func edit[S, T any](b *Batch, r *resource.Record[S, T], change func(*resource.Record[S, T])) {
	if b.err != nil {
		return
	}
	if w, ok := b.work[r.Ref()]; ok {
		change(w.object.(*resource.Record[S, T]))
		w.value = nil
		return
	}
	before, err := resource.Encode(r)
	if err != nil {
		b.err = fault.New(fault.Internal, "encode %s: %w", r.Ref(), err)
		return
	}
	mine := new(resource.Record[S, T])
	if err := mine.UnmarshalJSON(before); err != nil {
		b.err = fault.New(fault.Internal, "copy %s: %w", r.Ref(), err)
		return
	}
	change(mine)
	mine.ProjectName = ""
	after, err := resource.Encode(mine)
	if err != nil {
		b.err = fault.New(fault.Internal, "encode %s: %w", r.Ref(), err)
		return
	}
	if !bytes.Equal(before, after) {
		b.keep(r.Ref(), &work{before: r, object: mine, expect: r.Revision, value: after})
	}
}

func (b *Batch) keep(ref resource.Ref, w *work) {
	b.order = append(b.order, ref)
	b.work[ref] = w
}
