package fake

import (
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/hypervisortest"
	"github.com/virga-cloud/virga/engine/resource"
)

func TestTheFakeIsAHypervisor(t *testing.T) {
	hypervisortest.Run(t, func(*testing.T) hypervisortest.House {
		h := New(time.Now)
		return hypervisortest.House{
			HV: h,
			VM: func(*testing.T) onhost.VMConfig {
				return onhost.VMConfig{ID: resource.NewID(), Epoch: 1, Disks: []onhost.Disk{{ID: "v", Path: "/disk"}}}
			},
			DiskMiB:  func(_ *testing.T, m onhost.VMConfig) int64 { return h.DiskMiB(m.ID, m.Disks[0].ID) },
			PowerOff: func(_ *testing.T, id resource.ID) { h.PowerOff(id) },
			Crash:    func(_ *testing.T, id resource.ID) { h.Crash(id) },
			Restart:  func(*testing.T) onhost.Hypervisor { return h },
		}
	})
}
