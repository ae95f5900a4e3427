package probe

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/engine/proc"
)

func TestMemoryThatIsFreeIsNoMoreThanThereIs(t *testing.T) {
	available, swap, err := Memory{}.Free()
	if err != nil || available <= 0 || swap < 0 {
		t.Fatalf("%d, %d, %v", available, swap, err)
	}
	inv, err := Inventory(os.DirFS("/"))
	if err != nil || available > inv.MemoryMiB<<20 {
		t.Errorf("%d of %d MiB are free, %v", available>>20, inv.MemoryMiB, err)
	}
}

func TestPagesOfTheSameContentAreKeptOnce(t *testing.T) {
	m := Memory{}
	before, _, err := m.Sharing()
	if err != nil {
		t.Skip(err)
	}
	if err := m.Share(true); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := m.Share(before); err != nil {
			t.Error(err)
		}
	})
	if on, _, err := m.Sharing(); !on || err != nil {
		t.Fatalf("after it was told to: %v, %v", on, err)
	}
	hasten(t)
	const size = 4 << 20
	same, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Munmap(same) }()
	for i := range same {
		same[i] = 7
	}
	if err := unix.Madvise(same, unix.MADV_MERGEABLE); err != nil {
		t.Skip(err)
	}
	var held proc.Memory
	for end := time.Now().Add(2 * time.Minute); held.Shared < size/2 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if held, err = proc.MemoryOf(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	if _, kept, err := m.Sharing(); held.Shared < size/2 || kept <= 0 || err != nil {
		t.Errorf("of %d bytes %d are shared, and %d are kept, %v", size, held.Shared, kept, err)
	}
	if err := m.Share(false); err != nil {
		t.Error(err)
	}
	if on, _, _ := m.Sharing(); on {
		t.Error("it goes on though it was told to stop")
	}
}

// hasten lets the kernel look at more pages at a time: other tests' guests have theirs looked at as well.
func hasten(t *testing.T) {
	const scan = sharing + "pages_to_scan"
	before, err := os.ReadFile(scan)
	if err == nil {
		err = os.WriteFile(scan, []byte("20000"), 0o644)
	}
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := os.WriteFile(scan, before, 0o644); err != nil {
			t.Error(err)
		}
	})
}
