package network

import (
	"cmp"
	"context"
	"net/netip"
	"time"

	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// NewPortLoop lets a deleted port go when no port binding refers to it, and frees its addresses in the
// same commit: they are never free while a tap may still answer to them.
func NewPortLoop(db *store.DB, _ *Writers) *reconcile.Loop {
	return &reconcile.Loop{
		Name: "network/port", Kind: Ports.Kind, Workers: 4,
		Step: func(ctx context.Context, id resource.ID) (reconcile.Result, error) {
			s := db.Snapshot()
			port := store.Find(s, Ports, id)
			if port == nil || port.Deleting == nil || !port.HeldBy(Holder) || len(store.Referring(s, PortBindings, id)) > 0 {
				return reconcile.Result{}, nil
			}
			b := db.Begin()
			store.Release(b, port, Holder)
			return reconcile.Result{}, db.Commit(ctx, b)
		},
	}
}

// NewSubnetLoop counts a subnet's free addresses, and lets it go when its last port is gone.
func NewSubnetLoop(db *store.DB, w *Writers) *reconcile.Loop {
	return &reconcile.Loop{
		Name: "network/subnet", Kind: Subnets.Kind, Gather: gathered,
		Step: func(ctx context.Context, id resource.ID) (reconcile.Result, error) {
			s := db.Snapshot()
			subnet := store.Find(s, Subnets, id)
			if subnet == nil {
				return reconcile.Result{}, nil
			}
			ports := int64(len(store.Referring(s, Ports, id)))
			b := db.Begin()
			if p, err := netip.ParsePrefix(subnet.Spec.CIDR); err == nil {
				w.Subnets.Set(b, subnet, func(st *SubnetStatus) { st.FreeAddresses = max(0, capacity(p)-ports) })
			}
			if subnet.Deleting != nil && ports == 0 {
				store.Release(b, subnet, Holder)
			}
			return reconcile.Result{}, db.Commit(ctx, b)
		},
	}
}

// figures is how long the count of free addresses may be behind: the ports of many VMs that are made
// at once are counted once.
const figures = 2 * time.Second

func gathered(d store.Delta) time.Duration {
	if x := cmp.Or(d.New, d.Old); x.Head().Kind == Ports.Kind {
		return figures
	}
	return 0
}

// withBits writes an address of a range with the range's length: 10.0.0.2/24.
func withBits(address, cidr string) string {
	a, err := netip.ParseAddr(address)
	p, errP := netip.ParsePrefix(cidr)
	if err != nil || errP != nil {
		return ""
	}
	return netip.PrefixFrom(a, p.Bits()).String()
}
