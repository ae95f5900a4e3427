package qemu

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/compute"
)

func TestAGuestLivesInHugePages(t *testing.T) {
	const pool = "/sys/kernel/mm/hugepages/hugepages-2048kB/"
	count := func(name string) int64 {
		text, err := os.ReadFile(pool + name)
		if err != nil {
			t.Skip(err)
		}
		n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		must(t, err)
		return n
	}
	m := vm(t, "deaf=1")
	m.HugePages = compute.HugePages2MiB
	need, before := m.MemoryMiB/2, count("nr_hugepages")
	set := func(n int64) error { return os.WriteFile(pool+"nr_hugepages", []byte(strconv.FormatInt(n, 10)), 0o644) }
	if err := set(before + need); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { must(t, set(before)) })
	if count("nr_hugepages") < before+need {
		t.Skip("this host has no memory in one piece for huge pages")
	}
	free := count("free_hugepages")
	d := house(t, Config{})
	must(t, d.Ensure(t.Context(), m))
	if left := count("free_hugepages"); free-left != need {
		t.Errorf("the guest has %d huge pages, and needs %d", free-left, need)
	}
	must(t, d.Resume(t.Context(), m.ID))
	console(t, d, m.ID).until("UP ")
	seen, err := d.Memory(t.Context(), m.ID)
	if err != nil || seen.Given != m.MemoryMiB<<20 {
		t.Errorf("it has %+v, %v", seen, err)
	}
	more := vm(t, "")
	more.HugePages = compute.HugePages2MiB
	more.MemoryMiB = 2 * (count("free_hugepages") + 64)
	if err := d.Ensure(t.Context(), more); err == nil {
		t.Error("a guest was started for which there are no huge pages")
	} else {
		t.Log(err)
	}
	must(t, d.Remove(t.Context(), m.ID))
	if left := count("free_hugepages"); left < free {
		t.Errorf("of %d huge pages %d came back", free, left)
	}
}
