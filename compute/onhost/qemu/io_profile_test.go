package qemu

import (
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
)

// TestDevicesOfTheThroughputProfileAreWiderInTheirGuest: queues and rings as the guest's kernel sees them, of
// devices that are there from the start and of those that come later, which leave no thread behind when they go.
func TestDevicesOfTheThroughputProfileAreWiderInTheirGuest(t *testing.T) {
	taps(t)
	for _, name := range []string{"vmulti0", "vmulti1"} {
		if out, err := exec.Command("ip", "tuntap", "add", name, "mode", "tap", "multi_queue").CombinedOutput(); err != nil {
			t.Skipf("no tap with several queues: %s", out)
		}
		must(t, exec.Command("ip", "link", "set", name, "up").Run())
	}
	d := house(t, Config{})
	m := vm(t, "")
	m.CPUs = 2
	disk := func(slot, queues int64) onhost.Disk {
		return onhost.Disk{ID: resource.NewID(), Source: storage.InFile(newDisk(t), "qcow2"), Queues: queues, Address: onhost.Address{Bus: compute.PCIe, Slot: slot}}
	}
	first, second := nic("vmulti0", 1, 2), nic("vmulti1", 2, 3)
	first.Queues, second.Queues = 2, 2
	m.Disks, m.NICs = []onhost.Disk{disk(0, 2), disk(1, 0)}, []onhost.NIC{first}
	must(t, d.Ensure(t.Context(), m))
	must(t, d.Resume(t.Context(), m.ID))
	line := console(t, d, m.ID)
	line.until("UP ")
	threads := func() int {
		g := d.guest(m.ID)
		g.mu.Lock()
		defer g.mu.Unlock()
		var all []struct{ ID string }
		must(t, g.do(t.Context(), "query-iothreads", nil, &all))
		return len(all)
	}
	seen := func(what, want string) {
		t.Helper()
		var got string
		for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
			line.say("echo =$(" + what + ")=; echo do''ne")
			if got = line.before("done"); strings.Contains(got, "="+want+"=") {
				return
			}
		}
		t.Errorf("%s\nsays %q and should say %q", what, got, want)
	}
	seen("ls /sys/block/vda/mq | wc -l; cat /sys/block/vda/queue/nr_requests", "2 1024")
	seen("cat /sys/block/vdb/queue/nr_requests", "256")
	seen("ls -d /sys/class/net/eth0/queues/rx-* | wc -l", "2")
	if n := threads(); n != 1 {
		t.Errorf("there are %d threads for disks, not 1", n)
	}
	later := disk(5, 2)
	must(t, d.AttachDisk(t.Context(), m.ID, later))
	must(t, d.AttachNIC(t.Context(), m.ID, second))
	seen("cat /sys/block/vdc/queue/nr_requests", "1024")
	seen("ls -d /sys/class/net/eth1/queues/rx-* | wc -l", "2")
	seen("dd if=/dev/zero of=/dev/vdc bs=64k count=8 oflag=direct 2>/dev/null && echo well", "well")
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		must(t, d.Detach(t.Context(), m.ID, compute.DiskDevice, later.ID))
		if n := threads(); n == 1 {
			break
		}
		if time.Now().After(end) {
			t.Fatal("the thread of a disk that has gone is still there")
		}
	}
	must(t, d.AttachDisk(t.Context(), m.ID, later)) // and it may come back
	seen("cat /sys/block/vdc/queue/nr_requests", "1024")
}
