package onhost

import (
	"context"
	"slices"

	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
)

// NewDNSZoneLoop keeps DNS and metadata in every network that has a port binding on this host.
func NewDNSZoneLoop(db *store.DB, hostID resource.ID, sw Switch, responders ...Responder) *reconcile.Loop {
	return &reconcile.Loop{
		Name: "network/dnszone", Kind: network.DNSZones.Kind,
		Also: map[resource.Kind]func(resource.Object) []resource.ID{network.PortBindings.Kind: func(x resource.Object) []resource.ID {
			var out []resource.ID
			for _, z := range store.Referring(db.Snapshot(), network.DNSZones, x.(*network.PortBinding).Spec.NetworkID) {
				out = append(out, z.ID)
			}
			return out
		}},
		Step: func(ctx context.Context, id resource.ID) (reconcile.Result, error) {
			s := db.Snapshot()
			z := store.Find(s, network.DNSZones, id)
			if z == nil || z.Deleting != nil || !slices.Contains(z.Spec.HostIDs, hostID) {
				for _, r := range responders {
					r.Remove(id) // before the sockets' namespace goes
				}
				return reconcile.Result{}, sw.RemoveService(ctx, id)
			}
			place, err := sw.EnsureService(ctx, serviceOf(z))
			if err != nil {
				return reconcile.Result{}, err
			}
			desired := DesiredState{DNSZone: z, Residents: residents(store.Referring(s, network.PortBindings, z.Spec.NetworkID), hostID)}
			for _, r := range responders {
				if err := r.Ensure(ctx, place, desired); err != nil {
					return reconcile.Result{}, err
				}
			}
			return reconcile.Result{}, nil
		},
	}
}

func serviceOf(z *network.DNSZone) Service {
	out := Service{DNSZoneID: z.ID, PortID: z.Spec.ServicePortID, MAC: z.Spec.ServiceMAC}
	for _, subnet := range z.Spec.Subnets {
		out.Addresses = append(out.Addresses, subnet.Service)
	}
	out.Addresses = append(out.Addresses, network.MetadataAddress+"/32")
	return out
}

// residents says who has which address on this host. Of two port bindings with one address, the higher
// epoch is the VM.
func residents(bindings []*network.PortBinding, hostID resource.ID) map[string]Resident {
	out, epochs := map[string]Resident{}, map[string]int64{}
	for _, p := range bindings {
		if p.Spec.HostID == hostID && p.Spec.Epoch >= epochs[p.Spec.Address] {
			out[p.Spec.Address] = Resident{InstanceID: p.Spec.InstanceID, MAC: p.Spec.MAC}
			epochs[p.Spec.Address] = p.Spec.Epoch
		}
	}
	return out
}
