package fake

import (
	"context"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/resource"
)

// Uses lets the programs of a guest use so many bytes of its memory; below 0: so many, and it has no balloon
// driver. A guest of which nothing is said uses a quarter. What it no longer uses it keeps for files that it has
// read, until its balloon takes it.
func (h *Hypervisor) Uses(id resource.ID, bytes int64) {
	h.with(func() {
		if g := h.guests[id]; g != nil {
			g.uses = bytes
			g.held = max(g.held, min(max(bytes, -bytes), g.given()))
		}
	})
}

func (g *guest) given() int64 { return g.vm.MemoryMiB<<20 - g.ballooned }

// Memory implements onhost.Ballooner.
func (h *Hypervisor) Memory(_ context.Context, id resource.ID) (m onhost.GuestMemory, err error) {
	err = h.alive(id, func(g *guest) error {
		m.Given, m.Resident = g.given(), g.held
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
			g.held = min(g.held, g.given())
		}
		return nil
	})
}
