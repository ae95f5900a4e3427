package qemu

import (
	"context"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

var _ onhost.Limiter = (*Driver)(nil)

// throttle are limits in QEMU's words: all rates, and the length of the bursts that there are. Zero is none.
func throttle(l compute.DiskLimits) map[string]int64 {
	out := map[string]int64{}
	put := func(word, suffix string, rate, burst int64) {
		out[word+suffix], out[word+suffix+"_max"] = rate, burst
		if burst > 0 {
			out[word+suffix+"_max_length"] = max(l.BurstSeconds, 1)
		}
	}
	for suffix, r := range map[string]compute.DiskRate{"": l.Total, "_rd": l.Read, "_wr": l.Write} {
		put("iops", suffix, r.IOPS, r.BurstIOPS)
		put("bps", suffix, r.BytesPerSecond, r.BurstBytesPerSecond)
	}
	return out
}

// Limit implements onhost.Limiter.
func (d *Driver) Limit(ctx context.Context, id, volumeID resource.ID, l compute.DiskLimits) error {
	g, err := d.opened(ctx, id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	return g.limit(ctx, volumeID, l)
}

// limit holds a disk to limits, unless it is held to them already.
func (g *guest) limit(ctx context.Context, volumeID resource.ID, l compute.DiskLimits) error {
	path, has, err := g.throttled(ctx, volumeID)
	if err != nil {
		return err
	}
	args, same := map[string]any{"id": path}, true
	for word, rate := range throttle(l) {
		args[word], same = rate, same && has[word] == float64(rate)
	}
	if same {
		return nil
	}
	return fault.Wrap(g.do(ctx, "block_set_io_throttle", args, nil), "limit disk %s", volumeID)
}

// throttled is where QEMU has the disk of a volume, and what it is held to now, in QEMU's words. The place is
// not the device's: of a virtio disk it is a part of that.
func (g *guest) throttled(ctx context.Context, volumeID resource.ID) (path string, has map[string]any, err error) {
	var all []struct {
		Path     string         `json:"qdev"`
		Inserted map[string]any `json:"inserted"`
	}
	if err := g.do(ctx, "query-block", nil, &all); err != nil {
		return "", nil, fault.Wrap(err, "look at the limits of the disks")
	}
	node := deviceName(compute.DiskDevice, volumeID)
	for _, d := range all {
		if d.Inserted["node-name"] == node {
			return d.Path, d.Inserted, nil
		}
	}
	return "", nil, fault.New(fault.NotFound, "instance %s has no disk %s", g.id, volumeID)
}

// limitAll holds the disks of a guest that was just started, and has not run yet, to their limits.
func (g *guest) limitAll(ctx context.Context, disks []onhost.Disk) error {
	for _, d := range disks {
		if d.Limits == (compute.DiskLimits{}) {
			continue
		}
		if err := g.limit(ctx, d.ID, d.Limits); err != nil {
			return err
		}
	}
	return nil
}
