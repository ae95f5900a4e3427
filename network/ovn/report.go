package ovn

import (
	"context"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
)

// reports remembers of which owners nothing was left to report. Their facts hold the statuses too, so that an
// owner whose facts are the same needs no second look.
type reports struct {
	done   map[*Owned]bool
	looked time.Time // when all were last looked at
}

// open gives the owners that have to be looked at: those with other facts, and now and then all of them.
func (r *reports) open(now time.Time, all []*Owned) []*Owned {
	if now.Sub(r.looked) >= relook {
		r.looked, r.done = now, nil
	}
	return slices.DeleteFunc(slices.Clone(all), func(o *Owned) bool { return r.done[o] })
}

// close remembers that the owners need no look until they change.
func (r *reports) close(all []*Owned) {
	r.done = make(map[*Owned]bool, len(all))
	for _, o := range all {
		r.done[o] = true
	}
}

func (n *Northbound) reportReady(ctx context.Context, snap *store.Snapshot, c Cloud, want []*Owned) error {
	var writes []func(*store.Batch)
	for _, o := range n.reports.open(n.db.Now(), want) {
		if o.facts.network != nil {
			writes = append(writes, n.report(snap, o.facts)...)
		}
	}
	for _, g := range c.Groups {
		if g.Status.Phase != network.Ready || g.Status.SeenGeneration != g.Generation {
			writes = append(writes, func(b *store.Batch) {
				n.w.Groups.Set(b, g, func(st *network.SecurityGroupStatus) { st.Phase, st.Observed = network.Ready, seen(g.Generation) })
			})
		}
	}
	for part := range slices.Chunk(writes, perCommit) {
		b := n.db.Begin()
		for _, write := range part {
			write(b)
		}
		if err := n.db.Commit(ctx, b); err != nil {
			return err
		}
	}
	n.reports.close(want) // what was written makes other facts, which are looked at once more
	return nil
}

// report lists what has to be written of one network, now that OVN has its rows.
func (n *Northbound) report(snap *store.Snapshot, f facts) (writes []func(*store.Batch)) {
	write := func(w func(*store.Batch)) { writes = append(writes, w) }
	if r := f.network; network.ZoneStale(snap, r) {
		write(func(b *store.Batch) { network.KeepZone(b, snap, n.w, r) })
	}
	if r := f.network; r.Status.Phase != network.Ready || r.Status.SeenGeneration != r.Generation || len(r.Status.Problems) > 0 {
		write(func(b *store.Batch) {
			n.w.Networks.Set(b, r, func(st *network.Status) { st.Phase, st.Observed = network.Ready, seen(r.Generation) })
		})
	}
	for _, r := range f.subnets {
		if r.Status.Phase != network.Ready || r.Status.SeenGeneration != r.Generation {
			write(func(b *store.Batch) {
				n.w.Subnets.Set(b, r, func(st *network.SubnetStatus) { st.Phase, st.Observed = network.Ready, seen(r.Generation) })
			})
		}
	}
	bindings := map[resource.ID][]*network.PortBinding{}
	for _, p := range f.bound {
		bindings[p.Spec.PortID] = append(bindings[p.Spec.PortID], p)
	}
	for _, r := range f.ports {
		hosts := hostsOf(bindings[r.ID])
		if r.Status.Phase != network.Ready || r.Status.SeenGeneration != r.Generation || !slices.Equal(r.Status.HostIDs, hosts) {
			write(func(b *store.Batch) {
				n.w.Ports.Set(b, r, func(st *network.PortStatus) {
					st.Phase, st.HostIDs, st.Observed = network.Ready, hosts, seen(r.Generation)
				})
			})
		}
	}
	return writes
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
