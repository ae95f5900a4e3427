package onhost

import (
	"context"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/fault"
)

// grow makes the disks of a guest as large as specified, once for each change of the desired state. A guest
// that moves is left alone meanwhile: its target opens the same files, and is asked after the switch.
// If we die after QEMU has done it, the next one finds the disk large enough.
func (k *Supervisor) grow(ctx context.Context, i *compute.Instance, g Guest) error {
	hv, can := k.hv.(Grower)
	open := g.State == Running || g.State == Paused
	if !can || !open || i.Spec.Outgoing != nil || g.Transfer.State == TransferActive || k.largeEnough(i) {
		return nil
	}
	fits := true
	for _, d := range i.Spec.Disks {
		if d.SizeMiB == 0 {
			continue // of an older server, which has no such desired state
		}
		err := hv.Grow(ctx, i.ID, d.VolumeID, d.SizeMiB)
		if fault.Is(err, fault.NotFound) {
			fits = false // it is not attached yet
			continue
		}
		if err != nil {
			return fault.Wrap(err, "grow disk %s to %d MiB", d.VolumeID, d.SizeMiB)
		}
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if fits {
		k.sized[i.ID] = i.Generation
	}
	return nil
}

func (k *Supervisor) largeEnough(i *compute.Instance) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.sized[i.ID] == i.Generation
}
