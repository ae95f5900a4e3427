package network

import (
	"cmp"
	"context"
	"maps"
	"reflect"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// NewNetworkLoop gives every network its outside address. When the network is deleted and its last
// subnet is gone, it removes that and the DNS zone, which KeepZone made.
func NewNetworkLoop(db *store.DB, w *Writers) *reconcile.Loop {
	return &reconcile.Loop{
		Name: "network/network", Kind: Networks.Kind,
		Step: func(ctx context.Context, id resource.ID) (reconcile.Result, error) {
			s := db.Snapshot()
			n := store.Find(s, Networks, id)
			if n == nil {
				return reconcile.Result{}, nil
			}
			b := db.Begin()
			if n.Deleting != nil {
				removeNetwork(b, s, w, n)
			} else if err := keepNetwork(b, s, w, n); err != nil {
				return reconcile.Result{}, err
			}
			return reconcile.Result{}, db.Commit(ctx, b)
		},
	}
}

func keepNetwork(b *store.Batch, s *store.Snapshot, w *Writers, n *Network) error {
	switch {
	case n.Spec.Outside == NAT && n.Status.OutsideAddress == "":
		address, err := chooseOutside(s)
		if err != nil {
			return fault.Wrap(err, "network %s", n.Name)
		}
		w.Networks.Set(b, n, func(st *Status) { st.OutsideAddress = address })
	case n.Spec.Outside != NAT && n.Status.OutsideAddress != "":
		w.Networks.Set(b, n, func(st *Status) { st.OutsideAddress = "" })
	}
	return nil
}

// KeepZone keeps the DNS zone of a network; ZoneStale says whether there is anything to write. It goes into the commit that reports the network's ports: the same changes move both.
func KeepZone(b *store.Batch, s *store.Snapshot, w *Writers, n *Network) {
	want := zoneOf(s, n)
	if z := zoneIn(s, n.ID); z == nil {
		w.DNSZones.Create(b, &DNSZone{Meta: resource.Meta{Name: string(n.ID), Project: n.Project}, Spec: want})
	} else {
		w.DNSZones.Set(b, z, func(spec *DNSZoneSpec) { *spec = want })
	}
}

// ZoneStale reports whether the DNS zone of a network has to be written.
func ZoneStale(s *store.Snapshot, n *Network) bool {
	if n.Deleting != nil {
		return false
	}
	z := zoneIn(s, n.ID)
	return z == nil || !reflect.DeepEqual(z.Spec, zoneOf(s, n))
}

func removeNetwork(b *store.Batch, s *store.Snapshot, w *Writers, n *Network) {
	if len(store.Referring(s, Subnets, n.ID)) > 0 || !n.HeldBy(Holder) {
		return // the last subnet's going calls us again
	}
	if z := zoneIn(s, n.ID); z != nil {
		w.DNSZones.Delete(b, z)
	}
	store.Release(b, n, Holder)
}

func zoneIn(s *store.Snapshot, networkID resource.ID) *DNSZone {
	for _, z := range store.Referring(s, DNSZones, networkID) {
		if z.Deleting == nil {
			return z
		}
	}
	return nil
}

// zoneOf says what the hosts need to know of a network.
func zoneOf(s *store.Snapshot, n *Network) DNSZoneSpec {
	z := DNSZoneSpec{
		NetworkID: n.ID, Domain: n.Spec.Domain,
		ServiceMAC: ServiceMAC(n.ID), ServicePortID: ServicePortID(n.ID),
	}
	hosts := map[resource.ID]bool{}
	for _, binding := range store.Referring(s, PortBindings, n.ID) {
		hosts[binding.Spec.HostID] = true
	}
	z.HostIDs = sorted(hosts)
	for _, port := range store.Referring(s, Ports, n.ID) {
		if port.Spec.Hostname != "" && port.Deleting == nil {
			z.Hosts = append(z.Hosts, DNSZoneHost{Name: port.Spec.Hostname, Address: port.Status.Address})
		}
	}
	for _, subnet := range store.Referring(s, Subnets, n.ID) {
		if cidr := withBits(subnet.Spec.Service, subnet.Spec.CIDR); cidr != "" {
			z.Subnets = append(z.Subnets, DNSZoneSubnet{Service: cidr, DNS: subnet.Spec.DNS})
		}
	}
	slices.SortFunc(z.Subnets, func(a, b DNSZoneSubnet) int { return cmp.Compare(a.Service, b.Service) })
	return z
}

func sorted[K ~string](set map[K]bool) []K {
	if len(set) == 0 {
		return nil
	}
	return slices.Sorted(maps.Keys(set))
}
