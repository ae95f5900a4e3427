package compute

import (
	"context"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// PlaceRequest asks for a host.
type PlaceRequest struct {
	// VM is who asks.
	VM *VM
	// Epoch is the ownership that the claim is made for.
	Epoch int64
	// OnHost pins the choice to one host; NotOn excludes hosts.
	OnHost resource.ID
	NotOn  []resource.ID
	// MachineType must be known to the host's QEMU; empty: any.
	MachineType string
	// Why says who asks, in words: "first start", "migration asked for by root".
	Why string
}

// Placer is the one gate that puts VMs onto hosts; cluster/placement is the real one.
type Placer interface {
	// Check says whether there is a host now: fault.Exhausted or fault.Precondition with the
	// reason of every host that was refused.
	Check(PlaceRequest) error
	// Place chooses a host and commits the claim together with what fill adds, or nothing.
	Place(ctx context.Context, r PlaceRequest, fill func(b *store.Batch, hostID resource.ID) error) error
	// Release gives back what the VM has claimed with this epoch or a lower one on hosts other
	// than keep.
	Release(b *store.Batch, vm *VM, keep resource.ID)
}
