package storage

import (
	"context"
	"net/http"
	"strconv"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// APIRights are the rights of the API.
type APIRights struct {
	Backends   *store.SpecWriter[BackendSpec, BackendStatus]
	Datastores *store.SpecWriter[DatastoreSpec, DatastoreStatus]
	Volumes    *store.SpecWriter[VolumeSpec, VolumeStatus]

	VolumeSnapshots *store.SpecWriter[VolumeSnapshotSpec, VolumeSnapshotStatus]
}

// Register offers storages, datastores and volumes, and shows devices and what is made of them.
func Register(a *httpapi.API, w APIRights) {
	holders := []string{Holder}
	httpapi.Register(a, Backends, httpapi.Routes[BackendSpec, BackendStatus]{
		Specs: w.Backends, Holders: holders, Creating: createBackend,
		Default: DefaultBackend, Check: CheckBackend, Changing: changeBackend, Deleting: deleteBackend,
		Ready: backendReady,
	})
	httpapi.Register(a, Devices, httpapi.Routes[DeviceSpec, DeviceStatus]{})
	httpapi.Register(a, Datastores, httpapi.Routes[DatastoreSpec, DatastoreStatus]{
		Specs: w.Datastores, Holders: holders, Creating: createDatastore,
		Check: CheckDatastore, Changing: changeDatastore, Deleting: deleteDatastore,
		Ready: func(d *Datastore) (bool, error) {
			well, err := untroubled(d.Ref(), d.Name, d.Generation, d.Status.Observed)
			return well && d.Status.Phase == DatastoreReady, err
		},
	})
	httpapi.Register(a, Volumes, httpapi.Routes[VolumeSpec, VolumeStatus]{
		Specs: w.Volumes, Holders: holders, Creating: createVolume,
		Default: DefaultVolume, Check: CheckVolume, Changing: changeVolume, Deleting: deleteVolume, Ready: volumeReady,
	})
	httpapi.Action(a, Volumes, httpapi.Act{
		Name: "revert", Summary: "Give a volume the content of one of its snapshots again", Status: http.StatusAccepted,
		Doc: "What was written since its last snapshot is given up. All snapshots stay. No VM may have the volume open.",
	}, func(_ context.Context, c *httpapi.Call, v *Volume, in *RevertRequest) (*Volume, error) {
		return v, revertVolume(c, w.Volumes, v, in.SnapshotID)
	})
	httpapi.Register(a, VolumeSnapshots, httpapi.Routes[VolumeSnapshotSpec, VolumeSnapshotStatus]{
		Specs: w.VolumeSnapshots, Holders: holders, Creating: createSnapshot, Changing: changeSnapshot, Deleting: deleteSnapshot,
		Ready: func(s *VolumeSnapshot) (bool, error) {
			well, err := untroubled(s.Ref(), s.Name, s.Generation, s.Status.Observed)
			return well && s.Status.Phase == SnapshotReady, err
		},
	})
	httpapi.Register(a, Allocations, httpapi.Routes[AllocationSpec, AllocationStatus]{})
	httpapi.Register(a, ImageCopies, httpapi.Routes[ImageCopySpec, ImageCopyStatus]{})
	httpapi.Register(a, Attachments, httpapi.Routes[AttachmentSpec, AttachmentStatus]{})
}

// untroubled says whether a record was looked at as it is now and has no problem. A problem that does
// not pass by itself is an error: who waits would wait in vain.
func untroubled(ref resource.Ref, name string, generation int64, o resource.Observed) (bool, error) {
	if o.SeenGeneration < generation {
		return false, nil
	}
	if len(o.Problems) == 0 {
		return true, nil
	}
	p := o.Problems[0]
	if kind := fault.Kind(p.Kind); kind != fault.Unavailable && kind != fault.Conflict {
		return false, fault.New(kind, "%s %s: %s", ref.Kind, name, p.Message)
	}
	return false, nil
}

// backendReady says that each host that is to reach a storage backend has found it.
func backendReady(r *Backend) (bool, error) {
	well, err := untroubled(r.Ref(), r.Name, r.Generation, r.Status.Observed)
	return well && len(r.Status.PendingHostIDs) == 0 && len(r.Status.DeviceIDs) > 0, err
}

// volumeReady says that a volume without a user and without a requested datastore is as ready as it will be.
func volumeReady(v *Volume) (bool, error) {
	well, err := untroubled(v.Ref(), v.Name, v.Generation, v.Status.Observed)
	return well && !Reverting(v) && (v.Status.Phase == VolumeReady || v.Status.Phase == VolumeUnbound), err
}

func createBackend(_ context.Context, c *httpapi.Call, r *Backend) error {
	details := append(checkNewBackend(&r.Spec), missingHosts(c.Snapshot, r.Spec.HostIDs)...)
	return fault.Fields("create storage "+r.Name, details)
}

func missingHosts(snap *store.Snapshot, ids []resource.ID) []fault.Detail {
	for _, id := range ids {
		if store.Find(snap, host.Hosts, id) == nil {
			return []fault.Detail{{Field: "spec.hostIDs", Message: "there is no host " + strconv.Quote(string(id))}}
		}
	}
	return nil
}

func changeBackend(_ context.Context, c *httpapi.Call, old *Backend, spec *BackendSpec) error {
	details := missingHosts(c.Snapshot, spec.HostIDs)
	if spec.Type != old.Spec.Type || spec.Path != old.Spec.Path {
		details = append(details, fault.Detail{Field: "spec.path", Message: "cannot be changed; make another storage backend"})
	}
	return fault.Fields("change storage "+old.Name, details)
}

func deleteBackend(_ context.Context, c *httpapi.Call, r *Backend) error {
	if on := store.Referring(c.Snapshot, Datastores, r.ID); len(on) > 0 {
		return fault.New(fault.Precondition, "delete storage %s: %s lies on it, %s first; delete it", r.Name, countOf(len(on), "datastore"), on[0].Name)
	}
	return nil
}

func createDatastore(_ context.Context, c *httpapi.Call, d *Datastore) error {
	r, err := store.Need(c.Snapshot, Backends, d.Spec.BackendID)
	if err != nil {
		return fault.Wrap(err, "create datastore %s", d.Name)
	}
	for _, other := range store.Referring(c.Snapshot, Datastores, r.ID) {
		return fault.New(fault.Exists, "create datastore %s: datastore %s is made on storage %s already; use it", d.Name, other.Name, r.Name)
	}
	return nil
}

func changeDatastore(_ context.Context, _ *httpapi.Call, old *Datastore, spec *DatastoreSpec) error {
	if *spec != old.Spec {
		return fault.New(fault.Invalid, "change datastore %s: it stays on its storage backend; make another datastore", old.Name)
	}
	return nil
}

func deleteDatastore(_ context.Context, c *httpapi.Call, d *Datastore) error {
	if on := store.Referring(c.Snapshot, Volumes, d.ID); len(on) > 0 {
		return fault.New(fault.Precondition, "delete datastore %s: %s lives on it, %s first; delete it", d.Name, countOf(len(on), "volume"), on[0].Name)
	}
	return nil
}

func createVolume(_ context.Context, c *httpapi.Call, v *Volume) error {
	var details []fault.Detail
	if v.Spec.Base != nil { // a digest alone does not say who may read what it names
		details = append(details, fault.Detail{Field: "spec.base", Message: "is set by the VM that is made from an image"})
	}
	if id := v.Spec.DatastoreID; id != "" && store.Find(c.Snapshot, Datastores, id) == nil {
		details = append(details, fault.Detail{Field: "spec.datastoreID", Message: "there is no datastore " + strconv.Quote(string(id))})
	}
	return fault.Fields("create volume "+v.Name, details)
}

func changeVolume(_ context.Context, c *httpapi.Call, old *Volume, spec *VolumeSpec) error {
	if r := spec.Revert; r != nil && (old.Spec.Revert == nil || *r != *old.Spec.Revert) {
		if err := mayRevert(c.Batch, c.Snapshot, old, r.SnapshotID); err != nil {
			return err
		}
	}
	return Growable(c.Snapshot, old, spec)
}

// Growable refuses what cannot be changed of a volume, and growth for which its datastore has no free space.
func Growable(snap *store.Snapshot, old *Volume, spec *VolumeSpec) error {
	details := CheckVolumeChange(&old.Spec, spec)
	if err := fault.Fields("change volume "+old.Name, details); err != nil {
		return err
	}
	// The volume loop asks again: others may grow at the same moment.
	if d := store.Find(snap, Datastores, old.Status.DatastoreID); d != nil && spec.SizeMiB > old.Spec.SizeMiB {
		if err := Able(d, CanGrow); err != nil {
			return fault.Wrap(err, "grow volume %s", old.Name)
		}
		promised := promise(store.Referring(snap, Allocations, d.ID))[d.ID]
		return fault.Wrap(Policy{}.orDefault().Admit(d, promised, spec.SizeMiB-old.Spec.SizeMiB), "grow volume %s", old.Name)
	}
	return nil
}

// deleteVolume refuses while a VM has the volume among its disks.
func deleteVolume(_ context.Context, c *httpapi.Call, v *Volume) error {
	for x := range c.Snapshot.Mentioning(v.ID) {
		if head := x.Head(); head.Kind == "vm" && head.Deleting == nil {
			return fault.New(fault.Precondition, "delete volume %s: it is a disk of VM %s; delete that VM first", v.Name, head.Name)
		}
	}
	return nil
}
