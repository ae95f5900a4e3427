package qemu

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
)

func TestLimitsAreSaidInQEMUsWords(t *testing.T) {
	none := map[string]int64{
		"iops": 0, "iops_max": 0, "iops_rd": 0, "iops_rd_max": 0, "iops_wr": 0, "iops_wr_max": 0,
		"bps": 0, "bps_max": 0, "bps_rd": 0, "bps_rd_max": 0, "bps_wr": 0, "bps_wr_max": 0,
	}
	for name, c := range map[string]struct {
		limits compute.DiskLimits
		with   map[string]int64
	}{
		"none":        {compute.DiskLimits{}, nil},
		"requests":    {compute.DiskLimits{Total: compute.DiskRate{IOPS: 500}}, map[string]int64{"iops": 500}},
		"a burst":     {compute.DiskLimits{Total: compute.DiskRate{IOPS: 500, BurstIOPS: 900}}, map[string]int64{"iops": 500, "iops_max": 900, "iops_max_length": 1}},
		"a long one":  {compute.DiskLimits{Total: compute.DiskRate{IOPS: 500, BurstIOPS: 900}, BurstSeconds: 30}, map[string]int64{"iops": 500, "iops_max": 900, "iops_max_length": 30}},
		"bytes apart": {compute.DiskLimits{Read: compute.DiskRate{BytesPerSecond: 5}, Write: compute.DiskRate{BytesPerSecond: 7, BurstBytesPerSecond: 9}}, map[string]int64{"bps_rd": 5, "bps_wr": 7, "bps_wr_max": 9, "bps_wr_max_length": 1}},
	} {
		want := maps.Clone(none)
		maps.Copy(want, c.with)
		if got := throttle(c.limits); !maps.Equal(got, want) {
			t.Errorf("%s: %v, and should be %v", name, got, want)
		}
	}
}

// timed lets the guest read or write, past its page cache, and says how long that took as the host sees it.
func (c *talk) timed(what string) time.Duration {
	c.t.Helper()
	began := time.Now()
	c.say(what + " && echo do''ne")
	c.until("done")
	return time.Since(began)
}

// TestADiskIsHeldToItsLimitsAsItsGuestSeesThem: from the start, changed while the guest runs, and one that comes later.
func TestADiskIsHeldToItsLimitsAsItsGuestSeesThem(t *testing.T) {
	d := house(t, Config{})
	m := vm(t, "")
	disk := func(slot int64, limits compute.DiskLimits) onhost.Disk {
		path := filepath.Join(runDir(t), "disk.raw")
		must(t, os.WriteFile(path, nil, 0o666))
		must(t, os.Chmod(path, 0o666))
		must(t, os.Truncate(path, 64<<20))
		return onhost.Disk{ID: resource.NewID(), Source: storage.InFile(path, "raw"), Model: compute.VirtioBlk, Limits: limits, Address: onhost.Address{Bus: compute.PCIe, Slot: slot}}
	}
	bandwidth := compute.DiskLimits{Total: compute.DiskRate{BytesPerSecond: 2 << 20}}
	m.Disks = []onhost.Disk{disk(0, bandwidth)}
	must(t, d.Ensure(t.Context(), m))
	must(t, d.Resume(t.Context(), m.ID))
	line := console(t, d, m.ID)
	line.until("UP ")

	held := func(what string, took, least, most time.Duration) {
		t.Helper()
		t.Logf("%s: %.2f s", what, took.Seconds())
		if took < least || took > most {
			t.Errorf("%s: it took %s, and should take %s to %s", what, took, least, most)
		}
	}
	read := func(device string, count int) time.Duration {
		return line.timed(fmt.Sprintf("dd if=/dev/%s of=/dev/null bs=1M count=%d iflag=direct 2>/dev/null", device, count))
	}
	// A bucket holds a tenth of a second of the rate, and QEMU lets the last request through whole.
	held("8 MiB at 2 MiB/s", read("vda", 8), 3*time.Second, 9*time.Second)
	must(t, d.Limit(t.Context(), m.ID, m.Disks[0].ID, compute.DiskLimits{}))
	free := read("vda", 8)
	held("8 MiB without a limit", free, 0, 2500*time.Millisecond)

	must(t, d.Limit(t.Context(), m.ID, m.Disks[0].ID, compute.DiskLimits{Write: compute.DiskRate{IOPS: 20}}))
	write := "dd if=/dev/zero of=/dev/vda bs=4k count=80 oflag=direct 2>/dev/null"
	held("80 writes at 20 in a second", line.timed(write), 3*time.Second, 9*time.Second)
	held("reads while writes are held", read("vda", 8), 0, 2500*time.Millisecond)

	second := disk(1, bandwidth)
	must(t, d.AttachDisk(t.Context(), m.ID, second))
	line.say("until [ -b /dev/vdb ]; do sleep 0.1; done; echo the''re")
	line.until("there")
	held("8 MiB of a disk that came later", read("vdb", 8), 3*time.Second, 9*time.Second)
	if err := d.Limit(t.Context(), m.ID, resource.NewID(), bandwidth); !fault.Is(err, fault.NotFound) {
		t.Errorf("limits of a disk that is not there: %v", err)
	}
}
