package storage

import (
	"slices"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// lostWith gives the removed host that alone reached a datastore; empty while another host does, or
// may again. What lies there will never be seen again.
func lostWith(snap *store.Snapshot, d *Datastore) resource.ID {
	if d == nil || len(d.Status.HostIDs) > 0 {
		return ""
	}
	r := store.Find(snap, Backends, d.Spec.BackendID)
	if r == nil || len(r.Spec.HostIDs) == 0 || slices.ContainsFunc(r.Spec.HostIDs, func(id resource.ID) bool { return !host.Removed(snap, id) }) {
		return ""
	}
	return r.Spec.HostIDs[0]
}

// LostWith says of a lost volume where it lay: "lay on datastore local-h2, whose host was declared
// dead".
func LostWith(snap *store.Snapshot, v *Volume) string {
	d := store.Find(snap, Datastores, v.Status.DatastoreID)
	if d == nil {
		return "lay on a datastore that is gone"
	}
	return "lay on datastore " + d.Name + ", whose host " + host.EndOf(snap, lostWith(snap, d))
}

// ownerHostOf chooses the host that looks after something on a datastore.
func ownerHostOf(snap *store.Snapshot, d *Datastore, present resource.ID, using []resource.ID) resource.ID {
	if d == nil {
		return present
	}
	return OwnerHost(present, using, d.Status.HostIDs, func(id resource.ID) host.LifeState { return host.StateOf(snap, id) })
}

// Leave takes a host that is being removed out of the storage backends. One that only this host
// reaches goes with its datastore if nothing lives there; else both stay, and say what was lost.
func (w APIRights) Leave(b *store.Batch, snap *store.Snapshot, id resource.ID) {
	for _, r := range store.Referring(snap, Backends, id) {
		if others := slices.DeleteFunc(slices.Clone(r.Spec.HostIDs), func(h resource.ID) bool { return h == id }); len(others) > 0 {
			w.Backends.Set(b, r, func(s *BackendSpec) { s.HostIDs = others })
			continue
		}
		lives := func(d *Datastore) bool { return len(store.Referring(snap, Volumes, d.ID)) > 0 }
		on := store.Referring(snap, Datastores, r.ID)
		if slices.ContainsFunc(on, lives) {
			continue
		}
		for _, d := range on {
			w.Datastores.Delete(b, d)
		}
		w.Backends.Delete(b, r)
	}
}
