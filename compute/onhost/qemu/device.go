package qemu

import (
	"encoding/base32"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/google/uuid"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/resource"
)

// Devices are the same on the command line and when they are plugged in later.

// diskBackend is what is behind a disk. Direct opens it past the host's page cache.
func diskBackend(d onhost.Disk, direct bool, aio string) map[string]any {
	discard, zeroes := "unmap", "unmap"
	if d.Source.Format == "raw" {
		discard, zeroes = "ignore", "off" // its space was set aside, and stays so
	}
	return map[string]any{
		"read-only": d.Model == compute.CDROM, "driver": d.Source.Format, "node-name": deviceName(compute.DiskDevice, d.ID), "discard": discard, "detect-zeroes": zeroes,
		"file": map[string]any{
			"driver": "file", "filename": d.Source.Path, "discard": discard, "aio": aio, "cache": map[string]any{"direct": direct},
		},
	}
}

// diskDevice is what the guest sees of a disk.
func diskDevice(d onhost.Disk) map[string]any {
	name := deviceName(compute.DiskDevice, d.ID)
	out := map[string]any{"id": name, "drive": name, "serial": tail(d.ID)}
	switch d.Model {
	case compute.VirtioSCSI:
		out["driver"], out["bus"], out["scsi-id"], out["lun"] = "scsi-hd", scsiController+".0", d.Slot, 0
	case compute.SATA:
		out["driver"], out["bus"], out["unit"] = "ide-hd", fmt.Sprintf("ide.%d", d.Slot), 0
	case compute.CDROM:
		out["driver"], out["bus"], out["unit"] = "ide-cd", fmt.Sprintf("ide.%d", d.Slot), 0
	case compute.IDE: // two buses of two places
		out["driver"], out["bus"], out["unit"] = "ide-hd", fmt.Sprintf("%s.%d", ideController, d.Slot/2), d.Slot%2
	case compute.NVMe:
		out["driver"], out["bus"] = "nvme", rootPort(d.Slot)
	default:
		out["driver"], out["bus"] = "virtio-blk-pci", rootPort(d.Slot)
	}
	if d.Queues > 0 {
		out["num-queues"], out["queue-size"], out["iothread"] = d.Queues, diskRing, threadName(d.ID)
	}
	if d.BootIndex > 0 {
		out["bootindex"] = d.BootIndex
	}
	return out
}

// The rings of the throughput profile, in requests and packets. A tap sends from a ring of 256 at most.
const (
	diskRing    = 1024
	receiveRing = 1024
)

// diskThread is the thread of its own that a disk of the throughput profile has.
func diskThread(d onhost.Disk) map[string]any {
	return map[string]any{"qom-type": "iothread", "id": threadName(d.ID)}
}

func threadName(id resource.ID) string { return "thread-" + deviceName(compute.DiskDevice, id) }

// fdWord is how the queues of a tap are said.
func fdWord(n onhost.NIC) string {
	if n.Queues > 1 {
		return "fds"
	}
	return "fd"
}

// scsiController is the one that every guest has.
const scsiController = "scsi0"

// ideController is that of guests with disks of model ide.
const ideController = "ide0"

// nicDevice is what the guest sees of a NIC.
func nicDevice(n onhost.NIC) map[string]any {
	name := deviceName(compute.NICDevice, n.ID)
	out := map[string]any{"id": name, "bus": rootPort(n.Slot), "netdev": name, "mac": n.MAC, "romfile": ""}
	switch n.Model {
	case compute.E1000, compute.E1000e, compute.RTL8139:
		out["driver"] = n.Model
	default:
		out["driver"] = "virtio-net-pci"
		if n.MTU > 0 {
			out["host_mtu"] = n.MTU
		}
		if n.Queues > 0 {
			out["rx_queue_size"] = receiveRing
		}
		if n.Queues > 1 {
			out["mq"], out["vectors"] = true, 2*n.Queues+2 // one for each direction of a queue, and two to control
		}
	}
	return out
}

func rootPort(slot int64) string { return fmt.Sprintf("rp%d", slot) }

// names32 writes a UUID in 26 letters and digits: the name of a block node has at most 31.
var names32 = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// deviceName is what QEMU calls a device, and what is behind it. The id can be read from it.
func deviceName(kind compute.DeviceKind, id resource.ID) string {
	u, err := uuid.Parse(string(id))
	if err != nil {
		return string(kind) + "-" + string(id)
	}
	return string(kind) + "-" + names32.EncodeToString(u[:])
}

// deviceNamed reads a name.
func deviceNamed(name string) (kind compute.DeviceKind, id resource.ID, ok bool) {
	first, rest, _ := strings.Cut(name, "-")
	kind = compute.DeviceKind(first)
	if kind != compute.DiskDevice && kind != compute.NICDevice {
		return "", "", false
	}
	raw, err := names32.DecodeString(rest)
	if err != nil {
		return "", "", false
	}
	u, err := uuid.FromBytes(raw)
	if err != nil {
		return "", "", false
	}
	return kind, resource.ID(u.String()), true
}

// tail is what fits into the 20 bytes of a virtio disk's serial number: the end of a UUID, since
// the beginning of a UUIDv7 is only the time.
func tail(id resource.ID) string {
	text := strings.ReplaceAll(string(id), "-", "")
	return text[max(0, len(text)-20):]
}

func compact(value map[string]any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic("qemu: " + err.Error())
	}
	return string(text)
}
