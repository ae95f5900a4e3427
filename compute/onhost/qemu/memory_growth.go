package qemu

import (
	"context"
	"fmt"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

var _ onhost.MemoryGrower = (*Driver)(nil)

// growthDevice is the virtio-mem device that has the memory which a guest is given while it lives: one for all of
// it, which is there from the start and hands out as much of itself as it is told. Its place never changes.
const growthDevice, growthPath = "growth0", "/machine/peripheral/growth0"

// memorySize is the guest's memory at its boot, and how far it can grow.
func memorySize(m onhost.VMConfig) string {
	if m.MaxMemoryMiB <= m.Booted() {
		return fmt.Sprintf("%dM", m.Booted())
	}
	return fmt.Sprintf("%dM,maxmem=%dM", m.Booted(), m.MaxMemoryMiB)
}

// growth is the device of the memory to come. A guest that arrives has as much of it as where it came from.
func (a *arguments) growth(m onhost.VMConfig) {
	if m.MaxMemoryMiB <= m.Booted() {
		return
	}
	object := fmt.Sprintf("memory-backend-ram,id=growth,size=%dM,reserve=off", m.MaxMemoryMiB-m.Booted())
	if len(m.NUMA) > 0 && m.NUMA[0].HostNode != host.Unbound {
		object += fmt.Sprintf(",host-nodes=%d,policy=bind", m.NUMA[0].HostNode)
	}
	a.add("-object", object, "-device", fmt.Sprintf("virtio-mem-pci,id=%s,bus=pcie.0,addr=0x8,memdev=growth,requested-size=%dM", growthDevice, m.MemoryMiB-m.Booted()))
}

// grown is what the guest has beyond the memory of its boot, in bytes.
func (g *guest) grown(ctx context.Context) (bytes int64) {
	if !g.saved.Grows {
		return 0
	}
	if err := g.do(ctx, "qom-get", map[string]any{"path": growthPath, "property": "size"}, &bytes); err != nil {
		return 0 // started with all that it may have: it has no such device
	}
	return bytes
}

// booted is the memory of its boot, in bytes.
func (g *guest) booted(ctx context.Context) (int64, error) {
	var memory struct {
		Base int64 `json:"base-memory"`
	}
	err := g.do(ctx, "query-memory-size-summary", nil, &memory)
	return memory.Base, fault.Wrap(err, "look at the memory")
}

// GrowMemory implements onhost.MemoryGrower.
func (d *Driver) GrowMemory(ctx context.Context, id resource.ID, mib int64) error {
	g, err := d.known(id)
	if err != nil {
		return err
	}
	defer g.mu.Unlock()
	base, err := g.booted(ctx)
	wanted := mib<<20 - base
	switch {
	case err != nil:
		return err
	case wanted <= 0:
		return nil
	case !g.saved.Grows:
		return fault.New(fault.Precondition, "instance %s was not started for more memory", id)
	}
	var asked int64
	if err := g.do(ctx, "qom-get", map[string]any{"path": growthPath, "property": "requested-size"}, &asked); err != nil {
		return fault.Wrap(err, "look at the memory")
	}
	if asked == wanted {
		return nil
	}
	return fault.Wrap(g.do(ctx, "qom-set", map[string]any{"path": growthPath, "property": "requested-size", "value": wanted}, nil), "give memory")
}

// GrownMemory implements onhost.MemoryGrower.
func (d *Driver) GrownMemory(ctx context.Context, id resource.ID) (int64, error) {
	g, err := d.known(id)
	if err != nil {
		return 0, err
	}
	defer g.mu.Unlock()
	base, err := g.booted(ctx)
	return (base + g.grown(ctx)) >> 20, err
}
