package ovn

import (
	"context"
	"log/slog"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
)

const (
	together  = 10 * time.Millisecond // changes within this time go in one transaction
	perCommit = 50                    // statuses written in one commit
	relook    = time.Minute           // a look without a reason, should somebody else have written
)

// Sink takes the rows of the whole cloud, by owner: OVN's database. The simulator has none.
type Sink interface {
	Apply(ctx context.Context, want []*Owned) error
}

// Northbound brings the network's records to OVN, reports them as ready, and writes the DNS zones in the same
// commit. OVN being away is reported on the networks and tried again; the records are the truth meanwhile.
type Northbound struct {
	db       *store.DB
	sink     Sink
	w        *network.Writers
	compiler Compiler
	reports  reports
}

// NewNorthbound makes it; its chore calls Step.
func NewNorthbound(db *store.DB, sink Sink, w *network.Writers) *Northbound {
	return &Northbound{db: db, sink: sink, w: w}
}

// Step compiles what has changed, sends the difference, and reports.
func (n *Northbound) Step(ctx context.Context) error {
	if err := n.db.Confirm(ctx); err != nil {
		return err // no commit guards OVN's rows: another server may write them by now
	}
	snap := n.db.Snapshot()
	cloud := Read(snap)
	want := n.compiler.Compile(cloud)
	if n.sink != nil {
		if err := n.sink.Apply(ctx, want); err != nil {
			return n.reportTrouble(ctx, cloud, err)
		}
	}
	return n.reportReady(ctx, snap, cloud, want)
}

func (n *Northbound) reportTrouble(ctx context.Context, c Cloud, trouble error) error {
	now := n.db.Now()
	b := n.db.Begin()
	for i, record := range c.Networks {
		if i == perCommit {
			break // the others say the same
		}
		n.w.Networks.Set(b, record, func(st *network.Status) {
			st.Problems = resource.SetProblem(st.Problems, string(fault.KindOf(trouble)), trouble.Error(), now)
		})
	}
	if err := n.db.Commit(ctx, b); err != nil {
		slog.Debug("the trouble of the virtual network could not be reported", "error", err)
	}
	return trouble
}
