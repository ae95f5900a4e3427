package hypervisortest

import (
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute/onhost"
)

// balloons takes a quarter of a guest's memory, and gives it back.
func balloons(t *testing.T, h House) {
	b, can := h.HV.(onhost.Ballooner)
	if !can {
		t.Skip("this hypervisor has no balloons")
	}
	m := running(t, h)
	all := m.MemoryMiB << 20
	seen, err := b.Memory(t.Context(), m.ID)
	must(t, err)
	if seen.Given != all {
		t.Fatalf("a guest that was just started has %d bytes of its %d: %+v", seen.Given, all, seen)
	}
	h.Up(t, m.ID)
	until(t, b, m, "its driver answers", func(g onhost.GuestMemory) bool { return g.Answers })
	for _, wanted := range []int64{all * 3 / 4, all} {
		for range 2 {
			must(t, b.SetMemory(t.Context(), m.ID, wanted))
		}
		until(t, b, m, "it has what was asked for", func(g onhost.GuestMemory) bool { return g.Given == wanted && g.Answers && g.Available < wanted })
	}
}

func until(t *testing.T, b onhost.Ballooner, m onhost.VMConfig, what string, is func(onhost.GuestMemory) bool) {
	t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		seen, err := b.Memory(t.Context(), m.ID)
		must(t, err)
		if is(seen) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("waited until %s: %+v", what, seen)
		}
	}
}
