package compute

import (
	"github.com/virga-cloud/virga/engine/resource"
)

// DiskRate is the most that a disk does in one second, in one direction or in both. 0: no limit.
type DiskRate struct {
	// IOPS is the number of requests in one second.
	IOPS int64 `json:"iops,omitempty"`
	// BurstIOPS is the number of requests in one second of a burst; it needs iops, and is not below it.
	BurstIOPS int64 `json:"burstIOPS,omitempty"`
	// BytesPerSecond is the bandwidth, in bytes per second.
	BytesPerSecond int64 `json:"bytesPerSecond,omitempty"`
	// BurstBytesPerSecond is the bandwidth of a burst; it needs bytesPerSecond, and is not below it.
	BurstBytesPerSecond int64 `json:"burstBytesPerSecond,omitempty"`
}

// DiskLimits are the most that a disk does. They may change while the VM runs.
type DiskLimits struct {
	// Total holds reads and writes together, Read and Write each alone. Requests are limited together or
	// apart, not both; bytes likewise.
	Total DiskRate `json:"total,omitzero"`
	Read  DiskRate `json:"read,omitzero"`
	Write DiskRate `json:"write,omitzero"`
	// BurstSeconds is how long a burst may last, in seconds; what was saved up while the disk was idle ends
	// it earlier. Empty: 1.
	BurstSeconds int64 `json:"burstSeconds,omitempty"`
}

// The limits of limits.
const (
	maxIOPS           = 1_000_000_000
	maxBytesPerSecond = 1 << 40 // 1 TiB/s
	maxBurstSeconds   = 3600
)

// Bursts reports whether any of the rates has a burst.
func (l DiskLimits) Bursts() bool {
	for _, r := range []DiskRate{l.Total, l.Read, l.Write} {
		if r.BurstIOPS > 0 || r.BurstBytesPerSecond > 0 {
			return true
		}
	}
	return false
}

// check lists what is wrong with limits.
func (l DiskLimits) check(field string, wrong func(field, format string, args ...any)) {
	for _, x := range []struct {
		word string
		rate DiskRate
	}{{"total", l.Total}, {"read", l.Read}, {"write", l.Write}} {
		at := field + "." + x.word
		checkRate(at+".iops", x.rate.IOPS, x.rate.BurstIOPS, maxIOPS, wrong)
		checkRate(at+".bytesPerSecond", x.rate.BytesPerSecond, x.rate.BurstBytesPerSecond, maxBytesPerSecond, wrong)
	}
	if l.Total.IOPS > 0 && (l.Read.IOPS > 0 || l.Write.IOPS > 0) {
		wrong(field, "requests are limited in total, or reads and writes apart, not both; leave one out")
	}
	if l.Total.BytesPerSecond > 0 && (l.Read.BytesPerSecond > 0 || l.Write.BytesPerSecond > 0) {
		wrong(field, "bandwidth is limited in total, or reads and writes apart, not both; leave one out")
	}
	switch {
	case l.BurstSeconds < 0 || l.BurstSeconds > maxBurstSeconds:
		wrong(field+".burstSeconds", "%d s is not between 1 and %d", l.BurstSeconds, maxBurstSeconds)
	case l.BurstSeconds > 0 && !l.Bursts():
		wrong(field+".burstSeconds", "no burst is given that could last so long")
	}
}

func checkRate(field string, rate, burst, most int64, wrong func(field, format string, args ...any)) {
	switch {
	case rate < 0 || rate > most || burst < 0 || burst > most:
		wrong(field, "a rate and its burst are between 0 (no limit) and %d", most)
	case burst > 0 && rate == 0:
		wrong(field, "a burst of %d needs a rate to go back to", burst)
	case burst > 0 && burst < rate:
		wrong(field, "a burst of %d is below the rate of %d", burst, rate)
	}
}

// limitsOf are those that the spec of a VM gives to the disk of a volume; false: it has no such disk.
func limitsOf(vm *VM, volumeID resource.ID) (DiskLimits, bool) {
	for _, s := range vm.Status.Disks {
		if s.VolumeID != volumeID {
			continue
		}
		d, ok := byName(vm.Spec.Disks, s.Name, diskName)
		return d.Limits, ok
	}
	return DiskLimits{}, false
}
