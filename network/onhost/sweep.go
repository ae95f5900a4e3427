package onhost

import (
	"context"
	"errors"

	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network"
)

// Sweep removes ports and services whose record is surely gone.
func Sweep(ctx context.Context, known reconcile.Knowledge, sw Switch, responders ...Responder) error {
	ports := reconcile.Pruner{Name: "tap", Kind: network.PortBindings.Kind, Remove: sw.RemovePort,
		List: func(ctx context.Context) ([]resource.ID, error) {
			here, err := sw.ListPorts(ctx)
			var out []resource.ID
			for _, p := range here {
				out = append(out, p.PortBindingID)
			}
			return out, err
		}}
	services := reconcile.Pruner{Name: "service of a network", Kind: network.DNSZones.Kind, List: sw.ListServices,
		Remove: func(ctx context.Context, id resource.ID) error {
			for _, r := range responders {
				r.Remove(id)
			}
			return sw.RemoveService(ctx, id)
		}}
	return errors.Join(ports.Sweep(ctx, known), services.Sweep(ctx, known))
}
