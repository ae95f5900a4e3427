package onhost

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// scan looks at a storage backend and reports what is there as a device of this host.
func (a *Agent) scan(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap := a.db.Snapshot()
	r := store.Find(snap, storage.Backends, id)
	if r == nil || r.Deleting != nil || !slices.Contains(r.Spec.HostIDs, a.host) {
		return reconcile.Result{}, nil // the device loop takes the device back
	}
	device := a.mine(snap, id)
	if device == nil {
		// the record first: it is where a failed scan is told
		b := a.db.Begin()
		device = &storage.Device{Spec: storage.DeviceSpec{BackendID: id, Type: r.Spec.Type, HostID: a.host, Path: a.pathOf(r)}}
		device.Name = fmt.Sprintf("%s-%s", r.ID, a.host)
		a.w.Devices.Create(b, device)
		if err := a.db.Commit(ctx, b); err != nil {
			return reconcile.Result{}, fault.Wrap(err, "report storage %s", r.Name)
		}
		device = a.mine(a.db.Snapshot(), id)
	}
	if device == nil || device.Deleting != nil {
		return reconcile.Result{}, nil
	}
	a.looking.Lock() // what is found here must not be left by another before it is written down
	defer a.looking.Unlock()
	var found Found
	driver, met := a.drivers.Of(r.Spec.Type)
	if met == nil {
		found, met = driver.Scan(ctx, a.pathOf(r), device.Spec.Identity == "" && !known(snap, id))
	}
	if met == nil && device.Spec.Identity != "" && found.Identity != device.Spec.Identity {
		met = fault.New(fault.Precondition, "storage %s is another one than before (%s, not %s); is another share mounted? delete the storage backend to use it",
			r.Name, found.Identity, device.Spec.Identity)
	}
	b := a.db.Begin()
	a.w.Devices.Set(b, device, func(s *storage.DeviceSpec) {
		s.Path = a.pathOf(r)
		if met == nil {
			s.Identity = found.Identity
		}
	})
	left := met
	if met == nil {
		at := within{driver, Place{a.pathOf(r), found.Identity}}
		left = errors.Join(a.orphans(ctx, snap, r, at), a.tidy(ctx, at))
	}
	generation := device.Generation
	if met == nil && (device.Spec.Identity != found.Identity || device.Spec.Path != a.pathOf(r)) {
		generation++ // the one that this commit makes
	}
	a.w.DeviceStatus.Set(b, device, func(s *storage.DeviceStatus) {
		s.Observed = a.observed(s.Observed, generation, left)
		if met == nil {
			s.CapacityMiB, s.FreeMiB = found.CapacityMiB, coarse(found.FreeMiB, found.CapacityMiB)
			s.Abilities = AbilitiesOf(driver)
		}
	})
	return reconcile.Result{}, a.commit(ctx, b, met)
}

// known reports whether a datastore on the backend has an identity: then none may be made.
func known(snap *store.Snapshot, backendID resource.ID) bool {
	for _, d := range store.Referring(snap, storage.Datastores, backendID) {
		if d.Status.Identity != "" {
			return true
		}
	}
	return false
}

// coarse rounds free space down, so that a busy disk does not write a record with every look.
func coarse(free, capacity int64) int64 {
	step := max(64, capacity/256)
	if capacity < 8192 {
		step = 16
	}
	return free - free%step
}

func (a *Agent) mine(snap *store.Snapshot, backendID resource.ID) *storage.Device {
	for _, d := range store.Referring(snap, storage.Devices, backendID) {
		if d.Spec.HostID == a.host {
			return d
		}
	}
	return nil
}

// device takes back a device of this host whose backend is gone, or names the host no longer.
// A folder whose backend was deleted is left as it was found, unless something is kept there, or a
// datastore or another device still knows it. The record goes last: it is what says where that is.
func (a *Agent) device(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap := a.db.Snapshot()
	d := store.Find(snap, storage.Devices, id)
	if d == nil || d.Spec.HostID != a.host || d.Deleting != nil {
		return reconcile.Result{}, nil
	}
	r := store.Find(snap, storage.Backends, d.Spec.BackendID)
	if r != nil && r.Deleting == nil && slices.Contains(r.Spec.HostIDs, a.host) {
		return reconcile.Result{}, nil
	}
	if r == nil || r.Deleting != nil {
		if err := a.leave(ctx, d); err != nil {
			return reconcile.Result{}, err
		}
	}
	b := a.db.Begin()
	a.w.Devices.Delete(b, d)
	return reconcile.Result{}, a.db.Commit(ctx, b)
}

// leave takes the identity from a device's folder, where nobody knows it by that any more.
func (a *Agent) leave(ctx context.Context, d *storage.Device) error {
	a.looking.Lock()
	defer a.looking.Unlock()
	snap := a.db.Snapshot()
	id := d.Spec.Identity
	if id == "" || slices.ContainsFunc(store.Every(snap, storage.Datastores), func(on *storage.Datastore) bool { return on.Status.Identity == id }) ||
		slices.ContainsFunc(store.Every(snap, storage.Devices), func(o *storage.Device) bool {
			return o.ID != d.ID && o.Spec.Identity == id && o.Spec.BackendID != d.Spec.BackendID
		}) {
		return nil
	}
	driver, err := a.drivers.Of(d.Spec.Type)
	if err != nil {
		return err
	}
	return a.destroy(func() error { return driver.Leave(ctx, Place{d.Spec.Path, id}) })
}

// tidy removes what was half made by those who died.
func (a *Agent) tidy(ctx context.Context, at within) error {
	t, can := at.Driver.(Tidier)
	if !can || a.known.Doubt() != nil {
		return nil
	}
	n, err := t.Tidy(ctx, at.Place)
	if n > 0 {
		slog.Info("removed what was half made by those who died", "folder", at.Path, "files", n)
	}
	return err
}

// orphans tells of what lies in a place without a record. Only a host that alone reaches a
// datastore sees all records of it; and it tells, it does not remove.
func (a *Agent) orphans(ctx context.Context, snap *store.Snapshot, r *storage.Backend, at within) error {
	var on *storage.Datastore
	for _, d := range store.Referring(snap, storage.Datastores, r.ID) {
		if d.Status.Identity == at.Identity && slices.Equal(d.Status.HostIDs, []resource.ID{a.host}) {
			on = d
		}
	}
	if on == nil {
		return nil
	}
	items, err := at.List(ctx, at.Place)
	if err != nil {
		return err
	}
	allocations := store.Referring(snap, storage.Allocations, on.ID)
	copies := store.Referring(snap, storage.ImageCopies, on.ID)
	return Unclaimed(items, allocations, copies)
}

// Unclaimed says in words which items belong to no record; nil: none. Half made things are left
// out: they may be in the making.
func Unclaimed(items []Item, allocations []*storage.Allocation, copies []*storage.ImageCopy) error {
	claimed := map[string]bool{}
	for _, al := range allocations {
		claimed[AVolume+string(al.Spec.VolumeID)] = true
		if al.Spec.Base != nil {
			claimed[AnImage+al.Spec.Base.Digest] = true
		}
	}
	for _, c := range copies {
		claimed[AnImage+c.Spec.Digest] = true
	}
	var names []string
	for _, i := range items {
		if i.Kind != Leftover && !claimed[i.Kind+i.Name] {
			names = append(names, i.Kind+" "+i.Name)
		}
	}
	if len(names) == 0 {
		return nil
	}
	slices.Sort(names)
	more := ""
	if n := len(names) - 3; n > 0 {
		names, more = names[:3], fmt.Sprintf(" and %d more", n)
	}
	return fault.New(fault.Precondition, "belongs to no record and is left alone: %s%s; remove it by hand, if nobody needs it", fmt.Sprint(names), more)
}
