package fake

import (
	"maps"
	"slices"

	"github.com/virga-cloud/virga/engine/resource"
)

// Volumes tells which volumes lie in a folder of the world, for whoever judges from outside.
func (w *World) Volumes(name string) []resource.ID {
	w.mu.Lock()
	defer w.mu.Unlock()
	f := w.folders[name]
	if f == nil {
		return nil
	}
	return slices.Sorted(maps.Keys(f.volumes))
}

// Lose takes a volume away, as somebody does who removes its file by hand, and gives what puts it back.
func (w *World) Lose(id resource.ID) (restore func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.folders {
		if v := f.volumes[id]; v != nil {
			delete(f.volumes, id)
			return func() {
				w.mu.Lock()
				defer w.mu.Unlock()
				f.volumes[id] = v
			}
		}
	}
	return func() {}
}

// SizeMiB is the size of a volume, wherever it lies; 0 if there is none.
func (w *World) SizeMiB(id resource.ID) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.folders {
		if v := f.volumes[id]; v != nil {
			return v.size
		}
	}
	return 0
}

// Grow makes a volume larger, as a QEMU process does that has it open.
func (w *World) Grow(id resource.ID, sizeMiB int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.folders {
		if v := f.volumes[id]; v != nil {
			v.size = max(v.size, sizeMiB)
		}
	}
}
