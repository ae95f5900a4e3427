package ovn

import (
	"context"
	"log/slog"
	"slices"
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

// Northbound brings the network's records to OVN, reports them as ready, and writes the DNS zones in the same commit. OVN being away is
// reported on the networks and tried again; the records are the truth meanwhile.
type Northbound struct {
	db       *store.DB
	sink     Sink
	w        *network.Writers
	compiler Compiler
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
	if n.sink != nil {
		if err := n.sink.Apply(ctx, n.compiler.Compile(cloud)); err != nil {
			return n.reportTrouble(ctx, cloud, err)
		}
	}
	return n.reportReady(ctx, snap, cloud)
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

func (n *Northbound) reportReady(ctx context.Context, snap *store.Snapshot, c Cloud) error {
	bindings := map[resource.ID][]*network.PortBinding{}
	for _, p := range c.PortBindings {
		bindings[p.Spec.PortID] = append(bindings[p.Spec.PortID], p)
	}
	var reports []func(*store.Batch)
	for _, r := range c.Networks {
		if network.ZoneStale(snap, r) {
			reports = append(reports, func(b *store.Batch) { network.KeepZone(b, snap, n.w, r) })
		}
		if r.Status.Phase != network.Ready || r.Status.SeenGeneration != r.Generation || len(r.Status.Problems) > 0 {
			reports = append(reports, func(b *store.Batch) {
				n.w.Networks.Set(b, r, func(st *network.Status) { st.Phase, st.Observed = network.Ready, seen(r.Generation) })
			})
		}
	}
	for _, r := range c.Subnets {
		if r.Status.Phase != network.Ready || r.Status.SeenGeneration != r.Generation {
			reports = append(reports, func(b *store.Batch) {
				n.w.Subnets.Set(b, r, func(st *network.SubnetStatus) { st.Phase, st.Observed = network.Ready, seen(r.Generation) })
			})
		}
	}
	for _, r := range c.Ports {
		hosts := hostsOf(bindings[r.ID])
		if r.Status.Phase != network.Ready || r.Status.SeenGeneration != r.Generation || !slices.Equal(r.Status.HostIDs, hosts) {
			reports = append(reports, func(b *store.Batch) {
				n.w.Ports.Set(b, r, func(st *network.PortStatus) {
					st.Phase, st.HostIDs, st.Observed = network.Ready, hosts, seen(r.Generation)
				})
			})
		}
	}
	for part := range slices.Chunk(reports, perCommit) {
		b := n.db.Begin()
		for _, report := range part {
			report(b)
		}
		if err := n.db.Commit(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

// hostsOf are the hosts that a port is bound to: two while its VM moves.
func hostsOf(bindings []*network.PortBinding) []resource.ID {
	var out []resource.ID
	for _, b := range bindings {
		out = append(out, b.Spec.HostID)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func seen(generation int64) resource.Observed { return resource.Observed{SeenGeneration: generation} }
