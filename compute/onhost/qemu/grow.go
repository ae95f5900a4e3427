package qemu

import (
	"context"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

var _ onhost.Grower = (*Driver)(nil)

// Grow implements onhost.Grower. The guest is told by its disk, as by one that was exchanged.
func (d *Driver) Grow(ctx context.Context, id, volumeID resource.ID, sizeMiB int64) error {
	g, err := d.known(id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	// A QEMU process that does not have the disk open, because its guest moves, dies of being asked to
	// grow it.
	seen, err := g.look(ctx)
	if err == nil && seen.State != onhost.Running && seen.State != onhost.Paused {
		err = fault.New(fault.Precondition, "instance %s does not have its disks open: it is %s", id, seen.State)
	}
	if err != nil {
		return err
	}
	var nodes []struct {
		Name  string `json:"node-name"`
		Image struct {
			Size int64 `json:"virtual-size"`
		} `json:"image"`
	}
	if err := g.do(ctx, "query-named-block-nodes", map[string]any{"flat": true}, &nodes); err != nil {
		return fault.Wrap(err, "look at the disks")
	}
	node, wanted := deviceName(compute.DiskDevice, volumeID), sizeMiB<<20
	for _, n := range nodes {
		if n.Name != node {
			continue
		}
		if n.Image.Size >= wanted {
			return nil
		}
		return fault.Wrap(g.do(ctx, "block_resize", map[string]any{"node-name": node, "size": wanted}, nil), "grow a disk of %d MiB", n.Image.Size>>20)
	}
	return fault.New(fault.NotFound, "instance %s has no disk %s", id, volumeID)
}
