package onhost

import (
	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
)

// Figures are what the guests use of the host; nil: nobody looks.
func (h Half) Figures() func(people bool) compute.HostFigures {
	switch {
	case h.Divider == nil:
		return nil
	case h.Memory == nil:
		return h.Divider.Sheet
	}
	return func(people bool) compute.HostFigures {
		_, memory := h.Memory.Figures()
		snap := h.Divider.db.Snapshot()
		return withMemory(h.Divider.Sheet(people), memory, func(id resource.ID) int64 {
			if i := store.Find(snap, compute.Instances, id); i != nil {
				return i.Spec.MemoryMiB
			}
			return 0
		})
	}
}

// withMemory adds the memory of guests to their lines. Size is how much a guest has, in MiB: what its balloon does
// not leave it, it holds.
func withMemory(sheet compute.HostFigures, memory map[resource.ID]MemoryFigures, size func(resource.ID) int64) compute.HostFigures {
	for id, f := range sheet.Guests {
		m, seen := memory[id]
		if !seen {
			continue
		}
		f.Memory = &compute.MemoryFigures{EntitledMiB: m.Target / mib, ActiveMiB: m.Active / mib, BalloonedMiB: max(0, size(id)-m.Given/mib),
			ResidentMiB: m.Resident / mib, SwappedMiB: m.Swapped / mib, SharedMiB: m.Shared / mib}
		sheet.Guests[id] = f
	}
	return sheet
}
