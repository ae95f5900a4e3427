package fake

import (
	"testing"
	"time"

	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/hypervisortest"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
)

func TestTheFakeIsAHypervisor(t *testing.T) {
	hypervisortest.Run(t, func(*testing.T) hypervisortest.House {
		h := New(time.Now)
		return hypervisortest.House{
			HV: h,
			VM: func(*testing.T) onhost.VMConfig {
				return onhost.VMConfig{ID: resource.NewID(), Epoch: 1, MemoryMiB: 128, RootPorts: 8, Disks: []onhost.Disk{{ID: "v", Source: storage.InFile("/disk", "qcow2")}}}
			},
			DiskMiB:  func(_ *testing.T, m onhost.VMConfig) int64 { return h.DiskMiB(m.ID, m.Disks[0].ID) },
			PowerOff: func(_ *testing.T, id resource.ID) { h.PowerOff(id) },
			Crash:    func(_ *testing.T, id resource.ID) { h.Crash(id) },
			Disk: func(*testing.T) onhost.Disk {
				return onhost.Disk{ID: resource.NewID(), Source: storage.InFile("/more", "qcow2"), Address: onhost.Address{Slot: 3}}
			},
			Up:         func(*testing.T, resource.ID) {},
			HalfAttach: func(_ *testing.T, id resource.ID, d onhost.Disk) { h.HalfAttach(id, d) },
			Restart:    func(*testing.T) onhost.Hypervisor { return h },
		}
	})
}
