package store

import (
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// Returner puts back records that the store has lost. It writes both halves, once, and of no record that is there.
type Returner struct{}

// Returns hands out the right to put lost records back.
func Returns(l *Registry, writer string) *Returner {
	l.give("lost record", "whole", writer)
	return &Returner{}
}

// Return adds a record as it was, with its id, status and holders. What it needs and may outlive (Following) need not
// be there any more.
func (*Returner) Return(b *Batch, x resource.Object) {
	if b.err != nil {
		return
	}
	head := x.Head()
	if _, twice := b.work[head.Ref()]; twice {
		b.err = fault.New(fault.Internal, "return %s: the batch has it already", head.Ref())
		return
	}
	head.Revision, head.ProjectName = 0, ""
	b.keep(head.Ref(), &work{object: x, expect: Absent, returned: true})
}
