package qemu

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/hypervisortest"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/storage"
)

func TestQEMUIsAHypervisor(t *testing.T) {
	hypervisortest.Run(t, func(t *testing.T) hypervisortest.House {
		d := house(t, Config{})
		return hypervisortest.House{
			HV: d,
			VM: func(t *testing.T) onhost.VMConfig {
				m := vm(t, "deaf=1")
				m.Disks = []onhost.Disk{{Source: storage.InFile(newDisk(t), "qcow2"), ID: resource.NewID()}}
				return m
			},
			DiskMiB: func(t *testing.T, m onhost.VMConfig) int64 { return diskMiB(t, d, m) },
			PowerOff: func(t *testing.T, id resource.ID) {
				c := console(t, d, id)
				c.until("UP ")
				c.say("poweroff -f")
			},
			Disk: func(t *testing.T) onhost.Disk {
				return onhost.Disk{ID: resource.NewID(), Source: storage.InFile(newDisk(t), "qcow2"), Address: onhost.Address{Bus: compute.PCIe, Slot: 3}}
			},
			Up: func(t *testing.T, id resource.ID) { console(t, d, id).until("UP ") },
			HalfAttach: func(t *testing.T, id resource.ID, disk onhost.Disk) {
				g, err := d.known(id)
				must(t, err)
				defer g.mu.Unlock()
				must(t, g.do(t.Context(), "blockdev-add", diskBackend(disk, direct(disk.Source.Path), d.aio), nil))
			},
			Crash: func(t *testing.T, id resource.ID) { signal(t, look(t, d, id).PID, unix.SIGKILL) },
			Restart: func(t *testing.T) onhost.Hypervisor {
				d.Close()
				d = house(t, Config{RunDir: d.cfg.RunDir})
				return d
			},
		}
	})
}
