package hypervisortest

import (
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute/onhost"
)

// growsMemory gives a guest that runs twice the memory, in two steps.
func growsMemory(t *testing.T, h House) {
	b, can := h.HV.(onhost.MemoryGrower)
	if !can {
		t.Skip("this hypervisor gives no memory to guests that run")
	}
	m := h.VM(t)
	m.MemoryMiB = 256
	m.BootMemoryMiB, m.MaxMemoryMiB = m.MemoryMiB, 2*m.MemoryMiB
	must(t, h.HV.Ensure(t.Context(), m))
	must(t, h.HV.Resume(t.Context(), m.ID))
	h.Up(t, m.ID)
	for _, wanted := range []int64{m.MemoryMiB, m.MemoryMiB * 3 / 2, 2 * m.MemoryMiB} {
		for range 2 {
			must(t, b.GrowMemory(t.Context(), m.ID, wanted))
		}
		var has int64
		for end := time.Now().Add(patience); has != wanted && time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			var err error
			has, err = b.GrownMemory(t.Context(), m.ID)
			must(t, err)
		}
		if has != wanted {
			t.Fatalf("the guest has %d MiB, and was given %d", has, wanted)
		}
		if balloons, can := h.HV.(onhost.Ballooner); can {
			if seen, err := balloons.Memory(t.Context(), m.ID); err != nil || seen.Given != wanted<<20 {
				t.Errorf("it has %d bytes of %d MiB, %v", seen.Given, wanted, err)
			}
		}
	}
	if err := b.GrowMemory(t.Context(), m.ID, 2*m.MemoryMiB+128); err == nil {
		t.Error("a guest was given more than it was started for")
	}
	fixed := running(t, h)
	if err := b.GrowMemory(t.Context(), fixed.ID, 2*fixed.MemoryMiB); err == nil {
		t.Error("a guest that was not started for more was given more")
	}
}
