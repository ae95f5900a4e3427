package onhost

import (
	"context"
	"log/slog"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/network"
)

// Sweep removes ports and services whose record is surely gone. Not seen is not the same as not
// there: without a view it does nothing, and of each candidate it asks the store itself.
func Sweep(ctx context.Context, db *store.DB, sw Switch, responders ...Responder) error {
	if db.Revision() == 0 {
		return nil
	}
	ports, err := sw.ListPorts(ctx)
	if err != nil {
		return err
	}
	for _, p := range ports {
		if !surelyGone(ctx, db, network.PortBindings.Kind, p.PortBindingID) {
			continue
		}
		slog.Warn("a tap without a port binding is removed", "portbinding", p.PortBindingID, "device", p.Device)
		if err := sw.RemovePort(ctx, p.PortBindingID); err != nil {
			return err
		}
	}
	zones, err := sw.ListServices(ctx)
	if err != nil {
		return err
	}
	for _, id := range zones {
		if !surelyGone(ctx, db, network.DNSZones.Kind, id) {
			continue
		}
		for _, r := range responders {
			r.Remove(id)
		}
		if err := sw.RemoveService(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// surelyGone: the view has no such record, nor has the store, whichever project it was in. The
// store keeps records under their project, which what lies on the host does not tell: so all of
// the kind are listed.
func surelyGone(ctx context.Context, db *store.DB, kind resource.Kind, id resource.ID) bool {
	if db.Snapshot().Lookup(id) != nil {
		return false
	}
	entries, _, err := db.Store().List(ctx, kind)
	if err != nil {
		return false
	}
	for _, e := range entries {
		if e.Key.ID == id {
			return false
		}
	}
	return true
}
