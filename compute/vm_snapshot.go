package compute

import (
	"context"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/storage"
)

// A snapshot of a VM is one of each of its disks. All are asked for in one commit while nobody has a disk
// open, and the VM does not start before all are taken: they are of one moment. It goes back to them in
// one commit too. Who dies in the middle has asked for all, or for none.

// VMSnapshotSpec is whose disks are kept.
type VMSnapshotSpec struct {
	// VMID is the VM; a request may name it instead.
	VMID resource.ID `json:"vmID" ref:"vm"`
}

// SnapshotDisk is what is kept of one disk.
type SnapshotDisk struct {
	// Name is what the VM called the disk.
	Name string `json:"name"`
	// VolumeID is the disk, and SnapshotID the snapshot of it.
	VolumeID   resource.ID `json:"volumeID"`
	SnapshotID resource.ID `json:"snapshotID"`
}

// VMSnapshotStatus is how far it is.
type VMSnapshotStatus struct {
	resource.Observed
	// Phase is pending or ready.
	Phase string `json:"phase,omitempty" enum:"pending,ready"`
	// Disks are the snapshots of its disks.
	Disks []SnapshotDisk `json:"disks,omitempty"`
}

// VMSnapshot keeps what all disks of a VM held at one moment.
type VMSnapshot = resource.Record[VMSnapshotSpec, VMSnapshotStatus]

// VMSnapshots is the kind.
var VMSnapshots = resource.Define("vmsnapshot", "vmsnapshots", resource.Options[VMSnapshotSpec, VMSnapshotStatus]{
	Doc: "What all disks of a VM held at one moment.", Scope: resource.InProject,
	Counts: map[string]func(*VMSnapshot) int64{"vmsnapshots": resource.One[VMSnapshotSpec, VMSnapshotStatus]},
	Needs: func(s *VMSnapshot) []resource.Need {
		return []resource.Need{{Ref: resource.Ref{Kind: "vm", Project: s.Project, ID: s.Spec.VMID}, Tie: resource.Following}}
	},
	Refs: func(s *VMSnapshot) (out []resource.Ref) {
		for _, d := range s.Status.Disks {
			out = append(out, resource.Ref{Kind: storage.VolumeSnapshots.Kind, Project: s.Project, ID: d.SnapshotID})
		}
		return out
	},
})

// CreateSnapshot asks for snapshots of all disks of a VM, which go with it as it goes with the VM.
func (f *Front) CreateSnapshot(snap *store.Snapshot, b *store.Batch, s *VMSnapshot) error {
	vm, err := store.Need(snap, VMs, s.Spec.VMID)
	if err != nil {
		return err
	}
	owner := vm.Ref()
	s.Owner = &owner
	if len(vm.Status.Disks) == 0 {
		return fault.New(fault.Precondition, "create snapshot %s: VM %s has no disk", s.Name, vm.Name)
	}
	for _, d := range vm.Status.Disks {
		v, err := store.Need(snap, storage.Volumes, d.VolumeID)
		if err == nil {
			err = storage.Unused(b, snap, v)
		}
		if err != nil {
			return fault.Wrap(err, "create snapshot %s of VM %s", s.Name, vm.Name)
		}
		of := &storage.VolumeSnapshot{Spec: storage.VolumeSnapshotSpec{VolumeID: v.ID}}
		mine := s.Ref()
		of.ID, of.Project, of.Name, of.Owner = resource.NewID(), s.Project, s.Name+"-"+d.Name, &mine
		f.Snapshots.Create(b, of, storage.Holder)
		s.Status.Disks = append(s.Status.Disks, SnapshotDisk{Name: d.Name, VolumeID: v.ID, SnapshotID: of.ID})
	}
	return nil
}

// VMRevertRequest asks for what the disks of a VM held.
type VMRevertRequest struct {
	// SnapshotID is a snapshot of the VM, by its id or name.
	SnapshotID resource.ID `json:"snapshotID"`
}

// RevertVM lets all disks that a snapshot has go back to it. Those that the VM has been given since stay as they are.
func (f *Front) RevertVM(snap *store.Snapshot, b *store.Batch, vm *VM, in *VMRevertRequest) error {
	s := store.Named(snap, VMSnapshots, vm.Project, string(in.SnapshotID))
	if s == nil || s.Spec.VMID != vm.ID || s.Deleting != nil {
		return fault.New(fault.NotFound, "revert VM %s: it has no snapshot %s", vm.Name, in.SnapshotID)
	}
	for _, d := range s.Status.Disks {
		if !slices.ContainsFunc(vm.Status.Disks, func(has DiskStatus) bool { return has.VolumeID == d.VolumeID }) {
			return fault.New(fault.Precondition, "revert VM %s: disk %s of snapshot %s is no longer one of its disks; attach it again", vm.Name, d.Name, s.Name)
		}
		v, err := store.Need(snap, storage.Volumes, d.VolumeID)
		if err == nil {
			err = storage.RevertTo(b, snap, f.Volumes, v, d.SnapshotID)
		}
		if err != nil {
			return fault.Wrap(err, "revert VM %s", vm.Name)
		}
	}
	return nil
}

// SnapshotLoop tells of each snapshot of a VM whether those of its disks are taken.
func (c *Controller) SnapshotLoop() *reconcile.Loop {
	return &reconcile.Loop{Name: "compute/vmsnapshot", Kind: VMSnapshots.Kind, Step: func(ctx context.Context, id resource.ID) (reconcile.Result, error) {
		snap := c.db.Snapshot()
		s := store.Find(snap, VMSnapshots, id)
		if s == nil || s.Deleting != nil {
			return reconcile.Result{}, nil
		}
		b := c.db.Begin()
		kind, message := lacking(snap, s)
		c.w.VMSnapshots.Set(b, s, func(t *VMSnapshotStatus) {
			t.Observed = resource.Observed{SeenGeneration: s.Generation, Problems: resource.SetProblem(t.Problems, string(kind), message, c.db.Now())}
			t.Phase = storage.SnapshotReady
			if kind != "" {
				t.Phase = storage.SnapshotPending
			}
		})
		return reconcile.Result{}, c.db.Commit(ctx, b)
	}}
}

// lacking says what a snapshot of a VM lacks; no kind: nothing.
func lacking(snap *store.Snapshot, s *VMSnapshot) (fault.Kind, string) {
	for _, d := range s.Status.Disks {
		of := store.Find(snap, storage.VolumeSnapshots, d.SnapshotID)
		switch {
		case of == nil || of.Deleting != nil:
			return fault.Precondition, "the snapshot of disk " + d.Name + " is gone; delete this one"
		case of.Status.Phase != storage.SnapshotReady && len(of.Status.Problems) > 0:
			return fault.Kind(of.Status.Problems[0].Kind), "disk " + d.Name + ": " + of.Status.Problems[0].Message
		case of.Status.Phase != storage.SnapshotReady:
			return fault.Unavailable, "disk " + d.Name + " is not taken yet"
		}
	}
	return "", ""
}
