package compute

import (
	"fmt"
	"strings"
	"testing"

	"github.com/virga-cloud/virga/engine/resource"
)

func TestDiskLimitsAreJudged(t *testing.T) {
	for name, c := range map[string]struct {
		limits DiskLimits
		wrong  string // empty: nothing
	}{
		"none":                           {DiskLimits{}, ""},
		"one of each":                    {DiskLimits{Total: DiskRate{IOPS: 500, BytesPerSecond: 1 << 20}}, ""},
		"requests in total, bytes apart": {DiskLimits{Total: DiskRate{IOPS: 500}, Read: DiskRate{BytesPerSecond: 1}, Write: DiskRate{BytesPerSecond: 2}}, ""},
		"a burst as high as the rate":    {DiskLimits{Total: DiskRate{IOPS: 5, BurstIOPS: 5}, BurstSeconds: 60}, ""},
		"below zero":                     {DiskLimits{Read: DiskRate{IOPS: -1}}, "d.read.iops: a rate and its burst are between 0 (no limit) and 1000000000"},
		"above all":                      {DiskLimits{Write: DiskRate{BytesPerSecond: 1<<40 + 1}}, "d.write.bytesPerSecond: a rate and its burst are between 0 (no limit) and 1099511627776"},
		"a burst of nothing":             {DiskLimits{Total: DiskRate{BurstIOPS: 9}}, "d.total.iops: a burst of 9 needs a rate to go back to"},
		"a burst below the rate":         {DiskLimits{Total: DiskRate{BytesPerSecond: 10, BurstBytesPerSecond: 9}}, "d.total.bytesPerSecond: a burst of 9 is below the rate of 10"},
		"requests twice":                 {DiskLimits{Total: DiskRate{IOPS: 5}, Write: DiskRate{IOPS: 5}}, "d: requests are limited in total, or reads and writes apart, not both; leave one out"},
		"bytes twice":                    {DiskLimits{Total: DiskRate{BytesPerSecond: 5}, Read: DiskRate{BytesPerSecond: 5}}, "d: bandwidth is limited in total, or reads and writes apart, not both; leave one out"},
		"a length without a burst":       {DiskLimits{Total: DiskRate{IOPS: 5}, BurstSeconds: 3}, "d.burstSeconds: no burst is given that could last so long"},
		"a length below zero":            {DiskLimits{BurstSeconds: -1}, "d.burstSeconds: -1 s is not between 1 and 3600"},
		"a length of days":               {DiskLimits{Total: DiskRate{IOPS: 5, BurstIOPS: 9}, BurstSeconds: 3601}, "d.burstSeconds: 3601 s is not between 1 and 3600"},
	} {
		var got []string
		c.limits.check("d", func(field, format string, args ...any) { got = append(got, field+": "+fmt.Sprintf(format, args...)) })
		if strings.Join(got, "; ") != c.wrong {
			t.Errorf("%s: %q, and should be %q", name, got, c.wrong)
		}
	}
}

func TestLimitsOfADiskAreFoundByItsVolume(t *testing.T) {
	vm := &VM{Spec: VMSpec{Disks: []Disk{{Name: "root"}, {Name: "data", Limits: DiskLimits{Total: DiskRate{IOPS: 7}}}}}}
	vm.Status.Disks = []DiskStatus{{Name: "root", VolumeID: "r"}, {Name: "data", VolumeID: "d"}, {Name: "gone", VolumeID: "g"}}
	for id, want := range map[resource.ID]string{"r": "0 true", "d": "7 true", "g": "0 false", "other": "0 false"} {
		l, ok := limitsOf(vm, id)
		if got := fmt.Sprint(l.Total.IOPS, ok); got != want {
			t.Errorf("volume %s: %s, and should be %s", id, got, want)
		}
	}
}
