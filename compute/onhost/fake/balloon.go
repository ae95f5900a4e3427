package fake

import (
	"context"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/resource"
)

// Uses lets the programs of a guest use so many bytes of its memory; below 0: it has no balloon driver. A
// guest of which nothing is said uses a quarter.
func (h *Hypervisor) Uses(id resource.ID, bytes int64) {
	h.with(func() {
		if g := h.guests[id]; g != nil {
			g.uses = bytes
		}
	})
}

// Memory implements onhost.Ballooner.
func (h *Hypervisor) Memory(_ context.Context, id resource.ID) (m onhost.GuestMemory, err error) {
	err = h.alive(id, func(g *guest) error {
		m.Given = g.vm.MemoryMiB<<20 - g.ballooned
		if m.Answers = g.uses >= 0 && g.State == onhost.Running; m.Answers {
			m.Available = max(0, m.Given-g.uses)
		}
		return nil
	})
	return m, err
}

// SetMemory implements onhost.Ballooner. The balloon takes what no program uses, at once.
func (h *Hypervisor) SetMemory(_ context.Context, id resource.ID, bytes int64) error {
	return h.alive(id, func(g *guest) error {
		if g.uses >= 0 && g.State == onhost.Running {
			all := g.vm.MemoryMiB << 20
			g.ballooned = all - min(max(bytes, g.uses), all)
		}
		return nil
	})
}
