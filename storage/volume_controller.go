package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// volume gives a volume its place, keeps it, and takes it away.
func (c *Controller) volume(ctx context.Context, id resource.ID) (reconcile.Result, error) {
	unfit := false
	c.waits(id, true) // before the picture is taken: what changes after it calls this step again
	defer func() { c.waits(id, unfit) }()
	snap := c.db.Snapshot()
	v := store.Find(snap, Volumes, id)
	if v == nil {
		return reconcile.Result{}, nil
	}
	attachments := store.Referring(snap, Attachments, id)
	var allocation *Allocation
	for _, a := range store.Referring(snap, Allocations, id) {
		allocation = a
	}
	b := c.db.Begin()
	switch {
	case v.Deleting != nil:
		c.removeVolume(b, snap, v, attachments, allocation)
	case allocation == nil:
		var waits bool
		if waits, unfit = c.placeVolume(b, snap, v, hostsOf(attachments)); waits {
			return reconcile.Result{After: time.Second}, c.db.Commit(ctx, b)
		}
	default:
		c.keepVolume(b, snap, v, allocation, hostsOf(attachments))
	}
	return reconcile.Result{}, c.db.Commit(ctx, b)
}

// hostsOf are the hosts that use a volume, those that may still do included.
func hostsOf(attachments []*Attachment) []resource.ID {
	var out []resource.ID
	for _, a := range attachments {
		out = append(out, a.Spec.HostID)
	}
	return sorted(out)
}

// removeVolume waits for the users, then for the space to be given back, then lets go.
func (c *Controller) removeVolume(b *store.Batch, snap *store.Snapshot, v *Volume, attachments []*Attachment, allocation *Allocation) {
	why := ""
	for _, s := range store.Referring(snap, VolumeSnapshots, v.ID) {
		store.Release(b, s, Holder) // they are being deleted too, or the volume could not be
	}
	switch {
	case len(attachments) > 0:
		why = "waits for " + countOf(len(attachments), "attachment") + " to be closed"
	case allocation != nil:
		d := store.Find(snap, Datastores, allocation.Spec.DatastoreID)
		c.w.Allocations.Set(b, allocation, func(s *AllocationSpec) { c.ownAllocation(s, allocation, ownerHostOf(snap, d, s.OwnerHostID, nil)) })
		c.w.Allocations.Delete(b, allocation)
		if lostWith(snap, d) != "" {
			store.Release(b, allocation, AgentHolder) // its owner host was removed, and its file is out of reach for ever
		} else if len(allocation.Status.Problems) > 0 {
			why = "remove it: " + allocation.Status.Problems[0].Message
		}
	default:
		store.Release(b, v, Holder)
		return
	}
	c.w.Volumes.Set(b, v, func(s *VolumeStatus) {
		s.Phase = VolumeDeleting
		s.Observed = c.observed(s.Observed, v.Generation, kindIf(fault.Unavailable, why), why)
	})
}

func kindIf(kind fault.Kind, message string) string {
	if message == "" {
		return ""
	}
	return string(kind)
}

// placeVolume chooses a datastore, and makes the allocation and, where it is missing, the copy of
// the content that it is backed by, in one commit. It waits for its VM to be placed; unfit: no datastore will do now.
func (c *Controller) placeVolume(b *store.Batch, snap *store.Snapshot, v *Volume, using []resource.ID) (waits, unfit bool) {
	store.Hold(b, v, Holder)
	if v.Owner != nil && v.Status.Phase == "" && v.Young(c.db.Now()) && len(using) == 0 && v.Spec.DatastoreID == "" {
		return true, false // it is placed with its VM, in a moment
	}
	if v.Spec.DatastoreID == "" && len(using) == 0 {
		c.w.Volumes.Set(b, v, func(s *VolumeStatus) {
			*s = VolumeStatus{Observed: c.observed(s.Observed, v.Generation, "", ""), Phase: VolumeUnbound}
		})
		return false, false
	}
	d, err := Choose(Question{SizeMiB: v.Spec.SizeMiB, DatastoreID: v.Spec.DatastoreID, HostIDs: using, Needs: needs(&v.Spec),
		Datastores: store.Every(snap, Datastores), PromisedMiB: promisedOn(snap), Policy: c.policy})
	if err != nil {
		c.w.Volumes.Set(b, v, func(s *VolumeStatus) {
			s.Observed = c.observed(s.Observed, v.Generation, string(fault.KindOf(err)), err.Error())
			s.Phase = VolumeUnbound
		})
		return false, true
	}
	if v.Spec.Base != nil && copyGoes(snap, d, v.Spec.Base.Digest) {
		c.w.Volumes.Set(b, v, func(s *VolumeStatus) {
			s.Observed = c.observed(s.Observed, v.Generation, string(fault.Unavailable), "the copy of its image on datastore "+d.Name+" is being removed, and is fetched again")
			s.Phase = VolumeUnbound
		})
		return true, false
	}
	life := func(id resource.ID) host.LifeState { return host.StateOf(snap, id) }
	layers := NewChain()
	a := &Allocation{Spec: AllocationSpec{Layers: layers.Layers, ActiveLayer: layers.Active, VolumeID: v.ID, DatastoreID: d.ID, BackendID: d.Spec.BackendID,
		OwnerHostID: OwnerHost("", using, d.Status.HostIDs, life), Epoch: c.db.Revision(), HostIDs: using, SizeMiB: v.Spec.SizeMiB, Base: v.Spec.Base}}
	a.ID, a.Project, a.Name = resource.NewID(), v.Project, string(v.ID) // named so: one for each volume
	c.w.Allocations.Create(b, a, AgentHolder)
	if v.Spec.Base != nil {
		c.needCopy(b, snap, d, v.Spec.Base.Digest, a)
	}
	c.w.Volumes.Set(b, v, func(s *VolumeStatus) {
		s.Observed = c.observed(s.Observed, v.Generation, "", "")
		s.Phase, s.DatastoreID, s.AllocationID = VolumeCreating, d.ID, a.ID
		s.Layers, s.ActiveLayer = layers.Layers, layers.Active
	})
	return false, false
}

// copyGoes reports whether content is being removed from a datastore. A volume that was made from it meanwhile, on
// a host that does not know of that, would keep it there, half removed.
func copyGoes(snap *store.Snapshot, d *Datastore, digest string) bool {
	return slices.ContainsFunc(store.Referring(snap, ImageCopies, d.ID), func(have *ImageCopy) bool {
		return have.Spec.Digest == digest && have.Deleting != nil
	})
}

// needs are what a volume must be able to do from its first day. That it can grow shows when it shall.
func needs(s *VolumeSpec) []Ability {
	if s.Base != nil {
		return []Ability{CanClone}
	}
	return nil
}

// promisedOn adds up what a datastore has promised, from the allocations on it alone.
func promisedOn(snap *store.Snapshot) func(resource.ID) int64 {
	return func(id resource.ID) int64 { return promise(store.Referring(snap, Allocations, id))[id] }
}

// needCopy makes sure that content is, or will be, on a datastore. A copy that is there is touched,
// so that a deletion that was decided on an older picture fails.
func (c *Controller) needCopy(b *store.Batch, snap *store.Snapshot, d *Datastore, digest string, a *Allocation) {
	for _, have := range store.Referring(snap, ImageCopies, d.ID) {
		if have.Spec.Digest == digest {
			if have.Deleting == nil {
				c.w.ImageCopies.Label(b, have, map[string]string{"last-user": string(a.ID)})
			}
			return // one that is being deleted is made again when it is gone
		}
	}
	n := &ImageCopy{Spec: ImageCopySpec{Digest: digest, DatastoreID: d.ID, BackendID: d.Spec.BackendID, OwnerHostID: a.Spec.OwnerHostID, Epoch: c.db.Revision()}}
	n.Name = strings.TrimPrefix(digest, "sha256:")[:16] + "-" + string(d.ID)
	c.w.ImageCopies.Create(b, n, AgentHolder)
}

// keepVolume follows what changes while a volume has its place.
func (c *Controller) keepVolume(b *store.Batch, snap *store.Snapshot, v *Volume, a *Allocation, using []resource.ID) {
	store.Hold(b, v, Holder)
	d := store.Find(snap, Datastores, a.Spec.DatastoreID)
	var refused error
	size := a.Spec.SizeMiB
	if more := v.Spec.SizeMiB - size; more > 0 && d != nil {
		if refused = c.policy.Admit(d, promisedOn(snap)(d.ID), more); refused == nil {
			size = v.Spec.SizeMiB
		}
	}
	lost := lostWith(snap, d) != ""
	if a.Spec.Base != nil && d != nil && !lost && !hasCopy(snap, a) { // also of one that came back without it
		c.needCopy(b, snap, d, a.Spec.Base.Digest, a)
	}
	chain, reverted := c.layers(b, snap, v, a, using)
	c.w.Allocations.Set(b, a, func(s *AllocationSpec) {
		s.HostIDs, s.SizeMiB, s.Layers, s.ActiveLayer = using, size, chain.Layers, chain.Active
		if len(using) == 0 {
			s.HostIDs = nil
		}
		c.ownAllocation(s, a, ownerHostOf(snap, d, s.OwnerHostID, using))
	})
	c.w.Volumes.Set(b, v, func(s *VolumeStatus) {
		s.DatastoreID, s.AllocationID, s.SizeMiB, s.UsedMiB = a.Spec.DatastoreID, a.ID, a.Status.SizeMiB, a.Status.UsedMiB
		s.Layers, s.ActiveLayer = layersOf(chain, a), chain.Active
		s.RevertToken = reverted
		s.Phase = phaseOf(a)
		kind, message := problemOf(snap, a, d, using)
		switch {
		case lost:
			s.Phase = VolumeLost
			kind, message = string(fault.Precondition), "it "+LostWith(snap, v)+"; delete it, or the VM that it belongs to"
		case revertTrouble(snap, v, reverted) != "":
			kind, message = string(fault.NotFound), revertTrouble(snap, v, reverted)
		case refused != nil:
			kind, message = string(fault.KindOf(refused)), "grow it: "+refused.Error()
		case message == "" && a.Status.Phase == Ready && a.Status.SizeMiB < size:
			kind, message = string(fault.Unavailable), growing(a, size, len(using) > 0)
		}
		s.Observed = c.observed(s.Observed, v.Generation, kind, message)
	})
}

// ownAllocation makes a host the one that looks after an allocation.
func (c *Controller) ownAllocation(s *AllocationSpec, a *Allocation, hostID resource.ID) {
	s.Epoch = NextEpoch(s.Epoch, a.Status.HighestEpoch, c.db.Revision(), s.OwnerHostID != hostID)
	s.OwnerHostID = hostID
}

// growing says who makes a volume as large as specified.
func growing(a *Allocation, size int64, inUse bool) string {
	who := "it grows at once"
	if inUse {
		who = "the VM that has it open grows it as soon as it runs and its host is reachable"
	}
	return fmt.Sprintf("it has %d MiB of %d: %s", a.Status.SizeMiB, size, who)
}

func hasCopy(snap *store.Snapshot, a *Allocation) bool {
	return slices.ContainsFunc(store.Referring(snap, ImageCopies, a.Spec.DatastoreID), func(have *ImageCopy) bool {
		return have.Spec.Digest == a.Spec.Base.Digest
	})
}

// phaseOf translates: an allocation in the making is a volume in the making.
func phaseOf(a *Allocation) string {
	switch a.Status.Phase {
	case Ready:
		return VolumeReady
	case Failed:
		return VolumeFailed
	}
	return VolumeCreating
}

// problemOf says what keeps a volume from being as specified: what its owner host met, what the copy
// of its base met, or a user who cannot reach it.
func problemOf(snap *store.Snapshot, a *Allocation, d *Datastore, using []resource.ID) (kind, message string) {
	if a.Spec.Base != nil && a.Status.Phase != Ready {
		for _, have := range store.Referring(snap, ImageCopies, a.Spec.DatastoreID) {
			if have.Spec.Digest == a.Spec.Base.Digest && len(have.Status.Problems) > 0 {
				return have.Status.Problems[0].Kind, "its image: " + have.Status.Problems[0].Message
			}
		}
	}
	if len(a.Status.Problems) > 0 {
		return a.Status.Problems[0].Kind, a.Status.Problems[0].Message
	}
	if d == nil {
		return string(fault.NotFound), "its datastore is gone"
	}
	for _, id := range using {
		if !slices.Contains(d.Status.HostIDs, id) {
			return string(fault.Unavailable), "the host that is to use it does not reach datastore " + d.Name + "; virga datastore show " + d.Name + " says which do"
		}
	}
	return "", ""
}
