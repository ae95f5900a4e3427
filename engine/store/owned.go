package store

import (
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// DeleteOwned marks what was made for a record and goes with it for deletion, in the same commit,
// and what was made for that in turn. It is the one place where an owner takes along what it owns;
// each goes when its own last holder has let go.
func DeleteOwned(b *Batch, s *Snapshot, owner resource.ID) {
	for x := range s.Mentioning(owner) {
		if x.Head().OwnedBy(owner) {
			b.markDeleting(x)
			DeleteOwned(b, s, x.Head().ID)
		}
	}
}

// markDeleting is MarkDeleting of a record of any kind.
func (b *Batch) markDeleting(x resource.Object) {
	if b.err != nil || x.Head().Deleting != nil {
		return
	}
	now := b.now
	if w, ok := b.work[x.Head().Ref()]; ok {
		if head := w.object.Head(); head.Deleting == nil {
			head.Deleting, w.value = &now, nil
		}
		return
	}
	mine, err := resource.CopyOf(x)
	if err != nil {
		b.err = fault.New(fault.Internal, "copy %s: %w", x.Head().Ref(), err)
		return
	}
	mine.Head().Deleting = &now
	b.keep(x.Head().Ref(), &work{before: x, object: mine, expect: x.Head().Revision})
}
