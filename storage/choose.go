package storage

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// Policy says how much a datastore may promise.
type Policy struct {
	// OvercommitPercent is how much is promised for 100 MiB of capacity; 0: 200.
	OvercommitPercent int64
	// LeastFreePercent of the capacity must be free for anything new; 0: 5.
	LeastFreePercent int64
}

func (p Policy) orDefault() Policy {
	if p.OvercommitPercent == 0 {
		p.OvercommitPercent = 200
	}
	if p.LeastFreePercent == 0 {
		p.LeastFreePercent = 5
	}
	return p
}

// Admit says why a datastore cannot promise so much more, with numbers; nil: it can. Promised is
// what it has promised already. In MiB.
func (p Policy) Admit(d *Datastore, promised, more int64) error {
	s := d.Status
	if least := s.CapacityMiB * p.LeastFreePercent / 100; s.FreeMiB < least {
		return fault.New(fault.Exhausted, "datastore %s has %d MiB free of %d; nothing new is made below %d %% (%d MiB): free some space, or add a datastore",
			d.Name, s.FreeMiB, s.CapacityMiB, p.LeastFreePercent, least)
	}
	if limit := s.CapacityMiB * p.OvercommitPercent / 100; promised+more > limit {
		return fault.New(fault.Exhausted, "datastore %s has promised %d MiB of %d (%d %% of its %d MiB) and cannot promise %d more: delete volumes, or add a datastore",
			d.Name, promised, limit, p.OvercommitPercent, s.CapacityMiB, more)
	}
	return nil
}

// Fits is Admit without words, for figures that are at hand.
func (p Policy) Fits(capacityMiB, freeMiB, promisedMiB, more int64) bool {
	p = p.orDefault()
	return freeMiB >= capacityMiB*p.LeastFreePercent/100 && promisedMiB+more <= capacityMiB*p.OvercommitPercent/100
}

// Question is what is asked when a volume needs a place.
type Question struct {
	SizeMiB int64
	// DatastoreID is the datastore that it must lie on; empty: any.
	DatastoreID resource.ID
	// HostIDs are the hosts from which it must be reached; none: any.
	HostIDs []resource.ID
	// Needs are what the volume must be able to do there.
	Needs      []Ability
	Datastores []*Datastore
	// PromisedMiB is what a datastore has promised; asked of those only that are within reach.
	PromisedMiB func(resource.ID) int64
	Policy      Policy
}

// Choose picks the datastore for a volume: the requested one, else of the fitting ones one whose volumes can do
// most, else a shared one, else the one with most free space. It fails with the reason for each that was refused.
func Choose(q Question) (*Datastore, error) {
	var fitting []*Datastore
	var reasons []string
	kind := fault.Unavailable
	for _, d := range q.Datastores {
		if q.DatastoreID != "" && d.ID != q.DatastoreID {
			continue
		}
		err := q.fits(d)
		if err == nil {
			fitting = append(fitting, d)
			continue
		}
		if fault.Is(err, fault.Exhausted) {
			kind = fault.Exhausted
		}
		reasons = append(reasons, err.Error())
	}
	if len(fitting) > 0 {
		return slices.MaxFunc(fitting, func(a, b *Datastore) int {
			// Who wants a plain volume names its datastore: the others shall be snapshotted later.
			// A VM whose disks several hosts reach can be moved and survives its host; then the most
			// free space; then the older of equals, so that the answer can be repeated.
			return cmp.Or(cmp.Compare(len(a.Status.Abilities), len(b.Status.Abilities)),
				cmp.Compare(min(len(a.Status.HostIDs), 2), min(len(b.Status.HostIDs), 2)),
				cmp.Compare(a.Status.FreeMiB, b.Status.FreeMiB), cmp.Compare(b.ID, a.ID))
		}), nil
	}
	if len(reasons) == 0 {
		if q.DatastoreID != "" {
			return nil, fault.New(fault.NotFound, "there is no datastore %s", q.DatastoreID)
		}
		return nil, fault.New(fault.Unavailable, "there is no datastore; make one")
	}
	slices.Sort(reasons)
	return nil, fault.New(kind, "no datastore fits: %s", strings.Join(reasons, "; "))
}

func (q Question) fits(d *Datastore) error {
	if d.Deleting != nil {
		return fault.New(fault.Unavailable, "datastore %s is being deleted", d.Name)
	}
	if d.Status.Phase != DatastoreReady {
		return fault.New(fault.Unavailable, "datastore %s is not ready", d.Name)
	}
	for _, id := range q.HostIDs {
		if !slices.Contains(d.Status.HostIDs, id) {
			return fault.New(fault.Unavailable, "datastore %s is not reached by host %s", d.Name, id)
		}
	}
	for _, a := range q.Needs {
		if err := Able(d, a); err != nil {
			return err
		}
	}
	return q.Policy.Admit(d, q.PromisedMiB(d.ID), q.SizeMiB)
}

// inWords says what an ability is needed for.
var inWords = map[Ability]string{CanClone: "start from an image", CanGrow: "grow", CanSnapshot: "keep snapshots"}

// Able says why the volumes of a datastore cannot do something; nil: they can.
func Able(d *Datastore, a Ability) error {
	if slices.Contains(d.Status.Abilities, a) {
		return nil
	}
	return fault.New(fault.Precondition, "volumes on datastore %s cannot %s; use another datastore", d.Name, inWords[a])
}

// OwnerHost picks the host that looks after something on a datastore. The present one stays while
// it may live and reaches it; then one that uses the volume, then any that is alive.
func OwnerHost(present resource.ID, using, reaching []resource.ID, life func(resource.ID) host.LifeState) resource.ID {
	if present != "" && slices.Contains(reaching, present) && life(present) != host.Lost {
		return present
	}
	for _, state := range []host.LifeState{host.Alive, host.Unknown} {
		for _, candidates := range [][]resource.ID{using, reaching} {
			for _, id := range candidates {
				if slices.Contains(reaching, id) && life(id) == state {
					return id
				}
			}
		}
		if present != "" {
			break // moving away is worth it only to a host that is known to live
		}
	}
	return present
}

// NextEpoch gives what is looked after by another host from now on, or was met by a higher epoch on
// the storage, an epoch that is higher than any before it. A record that is made anew for the same
// content gets a higher one too: the store's revision only rises.
func NextEpoch(epoch, highest, revision int64, moved bool) int64 {
	if moved || highest > epoch {
		return max(epoch+1, highest+1, revision)
	}
	return epoch
}

// promise says how much a datastore has promised.
func promise(allocations []*Allocation) map[resource.ID]int64 {
	out := map[resource.ID]int64{}
	for _, a := range allocations {
		out[a.Spec.DatastoreID] += a.Spec.SizeMiB
	}
	return out
}

func countOf(n int, word string) string {
	if n == 1 {
		return "1 " + word
	}
	return fmt.Sprintf("%d %ss", n, word)
}
