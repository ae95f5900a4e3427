package storage

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// backend keeps a storage backend's list of devices, and what is wrong with them.
func (c *Controller) backend(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap := c.db.Snapshot()
	r := store.Find(snap, Backends, id)
	if r == nil {
		return reconcile.Result{}, nil
	}
	b := c.db.Begin()
	on := store.Referring(snap, Datastores, id)
	kind, message := "", ""
	switch {
	case r.Deleting != nil && len(on) == 0:
		store.Release(b, r, Holder)
		return reconcile.Result{}, c.db.Commit(ctx, b)
	case r.Deleting != nil:
		kind, message = string(fault.Precondition), "waits for "+countOf(len(on), "datastore")+" on it to be deleted"
	default:
		store.Hold(b, r, Holder)
	}
	var devices []resource.ID
	found := store.Referring(snap, Devices, id)
	for _, d := range found {
		if d.Spec.Identity != "" {
			devices = append(devices, d.ID)
		} else if len(d.Status.Problems) > 0 && message == "" && slices.Contains(r.Spec.HostIDs, d.Spec.HostID) {
			kind, message = d.Status.Problems[0].Kind, "host "+host.NameOf(snap, d.Spec.HostID)+": "+d.Status.Problems[0].Message
		}
	}
	c.w.Backends.Set(b, r, func(s *BackendStatus) {
		s.Observed = c.observed(s.Observed, r.Generation, kind, message)
		s.DeviceIDs, s.PendingHostIDs = sorted(devices), pending(r, found)
	})
	return reconcile.Result{}, c.db.Commit(ctx, b)
}

// pending are the specified hosts that have said neither what they found nor why they found nothing.
func pending(r *Backend, devices []*Device) []resource.ID {
	var out []resource.ID
	for _, id := range r.Spec.HostIDs {
		if !slices.ContainsFunc(devices, func(d *Device) bool {
			return d.Spec.HostID == id && d.Deleting == nil && (d.Spec.Identity != "" || len(d.Status.Problems) > 0)
		}) {
			out = append(out, id)
		}
	}
	return sorted(out)
}

// datastore binds a datastore to the devices that hosts have found for it.
func (c *Controller) datastore(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap := c.db.Snapshot()
	d := store.Find(snap, Datastores, id)
	if d == nil {
		return reconcile.Result{}, nil
	}
	allocations, copies := store.Referring(snap, Allocations, id), store.Referring(snap, ImageCopies, id)
	b := c.db.Begin()
	if d.Deleting != nil && len(allocations) == 0 && len(copies) == 0 {
		store.Release(b, d, Holder)
		return reconcile.Result{}, c.db.Commit(ctx, b)
	}
	if d.Deleting == nil {
		store.Hold(b, d, Holder)
	}
	r, devices := store.Find(snap, Backends, d.Spec.BackendID), store.Referring(snap, Devices, d.Spec.BackendID)
	life := func(id resource.ID) host.LifeState { return host.StateOf(snap, id) }
	bound := Bind(d.Status.Identity, devices, life)
	if d.Deleting != nil {
		bound.kind, bound.why = fault.Precondition, fmt.Sprintf("waits for %s and %s on it to be deleted", countOf(len(allocations), "volume"), countOf(len(copies), "image"))
	} else if gone := lostWith(snap, d); gone != "" {
		bound.kind, bound.why = fault.Precondition, fmt.Sprintf("only %s reached it, and what lay on it is lost; delete the volumes on it, then virga datastore delete %s", host.Fate(snap, gone), d.Name)
	} else if r == nil {
		bound.kind, bound.why = fault.NotFound, fmt.Sprintf("there is no storage backend %s", d.Spec.BackendID)
	} else if !bound.Ready && slices.ContainsFunc(pending(r, devices), func(id resource.ID) bool { return life(id) != host.Lost }) {
		bound.phase, bound.kind, bound.why = DatastoreStarting, "", "" // to be young is no problem
	}
	c.w.Datastores.Set(b, d, func(s *DatastoreStatus) {
		s.Observed = c.observed(s.Observed, d.Generation, string(bound.kind), bound.why)
		s.Identity, s.HostIDs, s.Phase = bound.Identity, bound.HostIDs, bound.phase
		if bound.Ready {
			s.CapacityMiB, s.FreeMiB, s.Abilities = bound.CapacityMiB, bound.FreeMiB, bound.Abilities
		}
		s.PromisedMiB = promise(allocations)[id]
	})
	return reconcile.Result{}, c.db.Commit(ctx, b)
}

// Binding is what a datastore is bound to.
type Binding struct {
	Identity             string
	HostIDs              []resource.ID
	Ready                bool
	CapacityMiB, FreeMiB int64
	Abilities            []Ability
	phase                string
	kind                 fault.Kind
	why                  string
}

// Bind finds the devices of a datastore. The first device that is found gives it its identity for
// ever; a device with another identity is another folder at the same path and is left out.
func Bind(identity string, devices []*Device, life func(resource.ID) host.LifeState) Binding {
	out, met := Binding{Identity: identity, phase: DatastoreUnreachable}, resource.Problem{Kind: string(fault.Unavailable)}
	devices = slices.Clone(devices)
	slices.SortFunc(devices, func(a, b *Device) int { return cmp.Compare(a.ID, b.ID) })
	for _, d := range devices {
		if out.Identity == "" {
			out.Identity = d.Spec.Identity
		}
		if d.Spec.Identity == "" && d.Deleting == nil && len(d.Status.Problems) > 0 && met.Message == "" && life(d.Spec.HostID) != host.Lost {
			met = d.Status.Problems[0]
		}
		if d.Spec.Identity == "" || d.Deleting != nil {
			continue
		}
		if d.Spec.Identity != out.Identity {
			out.kind, out.why = fault.Precondition, fmt.Sprintf("host %s has another folder at %s; mount the share there, or take the host from the storage backend", d.Spec.HostID, d.Spec.Path)
			continue
		}
		out.HostIDs = append(out.HostIDs, d.Spec.HostID)
		if life(d.Spec.HostID) == host.Lost {
			continue
		}
		if !out.Ready {
			out.Abilities = slices.Clone(d.Status.Abilities)
		}
		// A volume may be looked after by any of its hosts, so that what one of them cannot do is not promised.
		out.Abilities = slices.DeleteFunc(out.Abilities, func(a Ability) bool { return !slices.Contains(d.Status.Abilities, a) })
		if !out.Ready || d.Status.FreeMiB < out.FreeMiB {
			out.CapacityMiB, out.FreeMiB = d.Status.CapacityMiB, d.Status.FreeMiB
		}
		out.Ready, out.phase = true, DatastoreReady
	}
	out.HostIDs = sorted(out.HostIDs)
	if !out.Ready && out.why == "" {
		out.kind, out.why = fault.Kind(met.Kind), "no living host has found it"
		if met.Message != "" {
			out.why += ": " + met.Message
		}
	}
	return out
}

// unusedFor is how long content that no volume is backed by stays on a datastore.
const unusedFor = 10 * time.Minute

// imageCopy keeps a copy's owner host, and deletes a copy that nobody has needed for a while. How
// long is known to this process only; after a restart the time begins anew.
func (c *Controller) imageCopy(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	snap := c.db.Snapshot()
	copied := store.Find(snap, ImageCopies, id)
	if copied == nil {
		c.forget(id)
		return reconcile.Result{}, nil
	}
	b := c.db.Begin()
	d := store.Find(snap, Datastores, copied.Spec.DatastoreID)
	c.w.ImageCopies.Set(b, copied, func(s *ImageCopySpec) {
		hostID := ownerHostOf(snap, d, s.OwnerHostID, nil)
		s.Epoch = NextEpoch(s.Epoch, copied.Status.HighestEpoch, c.db.Revision(), s.OwnerHostID != hostID)
		s.OwnerHostID = hostID
	})
	var again time.Duration
	switch {
	case lostWith(snap, d) != "":
		c.forget(id)
		c.w.ImageCopies.Delete(b, copied)
		store.Release(b, copied, AgentHolder) // its owner host was removed, and its file is out of reach for ever
	case copied.Deleting != nil:
	case needed(snap, copied):
		c.forget(id)
	case d != nil && d.Deleting != nil:
		c.w.ImageCopies.Delete(b, copied)
	default:
		if again = c.stillKept(id); again <= 0 {
			// an allocation that is made at this moment changes the copy's label, and wins
			c.w.ImageCopies.Delete(b, copied)
		}
	}
	return reconcile.Result{After: max(0, again)}, c.db.Commit(ctx, b)
}

func needed(snap *store.Snapshot, copied *ImageCopy) bool {
	return slices.ContainsFunc(store.Referring(snap, Allocations, copied.Spec.DatastoreID), func(a *Allocation) bool {
		return a.Spec.Base != nil && a.Spec.Base.Digest == copied.Spec.Digest
	})
}

// stillKept says for how long an unused copy stays.
func (c *Controller) stillKept(id resource.ID) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	since, known := c.unused[id]
	if !known {
		since = c.db.Now()
		c.unused[id] = since
	}
	return unusedFor - c.db.Now().Sub(since)
}

func (c *Controller) forget(id resource.ID) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.unused, id)
}
