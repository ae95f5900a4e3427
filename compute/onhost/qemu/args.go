package qemu

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/uuid"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// Place is what the arguments need to know of this host besides the VM.
type Place struct {
	// Folder is the guest's own folder.
	Folder string
	// MonitorFD, SerialFD and AgentFD are the numbers that QEMU inherits its sockets under, bound and
	// ready to be listened on.
	MonitorFD, SerialFD, AgentFD int
	// SeedPath is the seed disk; empty: none.
	SeedPath string
	// LogFD is the number that QEMU inherits its serial log under, open for appending:
	// QEMU's user can open no file where logs are kept.
	LogFD int
	// TapFDs are the numbers that QEMU inherits the queues of the taps under, in the order of the NICs.
	TapFDs [][]int
	// Direct tells which disks can be opened past the host's page cache, in the order of the disks.
	Direct []bool
	// VariablesFD is the number that QEMU inherits the variables of its UEFI firmware under; 0: it has none.
	VariablesFD int
	// AIO is how disks are read and written: io_uring or threads.
	AIO string
}

// sandbox keeps a QEMU process that a guest has broken out of from starting programs and gaining rights.
const sandbox = "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny"

// GuestName is the name on the command line by which a QEMU process is known again.
func GuestName(id resource.ID) string { return "virga-" + string(id) }

// Arguments is QEMU's command line, without the program. The topology is a function of the
// VM alone, so that both ends of a migration have the same.
func Arguments(m onhost.VMConfig, p Place) []string {
	a := &arguments{place: p}
	a.add("-name", "guest="+GuestName(m.ID)+",debug-threads=on", "-uuid", string(m.VMID))
	a.machine(m)
	a.add("-smp", processors(m), "-m", memorySize(m))
	a.givenCPUs(m)
	a.memory(m)
	a.add("-nodefaults", "-no-user-config", "-display", "none", "-vga", "none", "-S", "-sandbox", sandbox)
	// QEMU of a guest that ended stays, so that an agent that was away sees how it ended.
	a.add("-action", "reboot=reset,shutdown=pause,panic=pause", "-msg", "timestamp=on", "-boot", "strict=on")
	a.channels()
	a.fixedDevices(m)
	a.plugged(m)
	if m.Incoming {
		a.add("-incoming", "defer")
	}
	if m.Kernel != "" {
		a.add("-kernel", m.Kernel)
		if m.Initrd != "" {
			a.add("-initrd", m.Initrd)
		}
		a.add("-append", m.Append)
	}
	return a.out
}

// memory is one object for each memory node of the guest. One node alone needs no table that tells of it,
// so that the guest sees the same whether its memory is bound or not.
func (a *arguments) memory(m onhost.VMConfig) {
	nodes := m.NUMA
	if len(nodes) == 0 {
		nodes = []onhost.NUMANode{{HostNode: host.Unbound, CPUs: m.CPUs, MemoryMiB: m.Booted()}}
	}
	first := int64(0)
	for i, n := range nodes {
		object := backend(m, i, n.MemoryMiB)
		if n.HostNode != host.Unbound {
			object += fmt.Sprintf(",host-nodes=%d,policy=bind", n.HostNode)
		}
		a.add("-object", object)
		if len(nodes) > 1 {
			last := first + n.CPUs - 1
			if i == len(nodes)-1 {
				last = max(last, m.MaxCPUs-1) // those to come are of the last
			}
			a.add("-numa", fmt.Sprintf("node,nodeid=%d,memdev=m%d,cpus=%d-%d", i, i, first, last))
		}
		first += n.CPUs
	}
}

// backend is memory for one node. Huge pages are taken at the start, all of them: a guest that finds none later
// would die of it.
func backend(m onhost.VMConfig, node int, mib int64) string {
	if m.HugePages == "" {
		return fmt.Sprintf("memory-backend-ram,id=m%d,size=%dM", node, mib)
	}
	return fmt.Sprintf("memory-backend-memfd,id=m%d,size=%dM,hugetlb=on,hugetlbsize=%s,prealloc=on", node, mib, strings.TrimSuffix(string(m.HugePages), "iB"))
}

// balloon is the device that every guest has. One in huge pages reports no free pages: it keeps its own.
func balloon(m onhost.VMConfig) string {
	if m.HugePages != "" {
		return strings.Replace(balloonDevice, "free-page-reporting=on", "free-page-reporting=off", 1)
	}
	return balloonDevice
}

type arguments struct {
	place Place
	out   []string
}

func (a *arguments) add(words ...string) { a.out = append(a.out, words...) }

func (a *arguments) json(flag string, value map[string]any) { a.add(flag, compact(value)) }

// escaped is a path in a list of options, where a comma is doubled.
func escaped(path string) string { return strings.ReplaceAll(path, ",", ",,") }

func (a *arguments) socket(id string, fd int, more string) {
	a.add("-chardev", fmt.Sprintf("socket,id=%s,fd=%d,server=on,wait=off%s", id, fd, more))
}

func (a *arguments) channels() {
	a.socket("mon", a.place.MonitorFD, "")
	a.add("-mon", "chardev=mon,mode=control")
	// The folder means nothing to QEMU: it tells the process from one of another daemon's.
	a.add("-add-fd", fmt.Sprintf("fd=%d,set=0,opaque=%s", a.place.LogFD, escaped(a.place.Folder)))
	a.socket("ser0", a.place.SerialFD, ",logfile=/dev/fdset/0,logappend=on")
	a.add("-serial", "chardev:ser0")
	a.socket("qga", a.place.AgentFD, "")
}

// fixedDevices have addresses that never change, below the numbers that the root ports take.
func (a *arguments) fixedDevices(m onhost.VMConfig) {
	if m.Screen != onhost.NoScreen {
		a.add("-device", "VGA,id=vga0,bus=pcie.0,addr=0x1", "-vnc", "none") // viewers are handed to it one by one
	}
	a.add("-device", balloon(m))
	a.add("-object", "rng-random,id=rng0,filename=/dev/urandom", "-device", "virtio-rng-pci,bus=pcie.0,addr=0x3,rng=rng0")
	a.add("-device", "virtio-serial-pci,id=vser0,bus=pcie.0,addr=0x4", "-device", "virtserialport,bus=vser0.0,nr=1,chardev=qga,id=qga0,name=org.qemu.guest_agent.0")
	a.add("-device", "virtio-scsi-pci,id="+scsiController+",bus=pcie.0,addr=0x5")
	a.add("-device", "pvpanic", "-device", "vmgenid,guid="+generation(m))
	a.watchdog(m)
	a.growth(m)
	if slices.ContainsFunc(m.Disks, func(d onhost.Disk) bool { return d.Model == compute.IDE }) {
		a.add("-device", "piix3-ide,id="+ideController+",bus=pcie.0,addr=0x7")
	}
	for i := range m.RootPorts {
		more := ""
		if i%8 == 0 {
			more = ",multifunction=on"
		}
		a.add("-device", fmt.Sprintf("pcie-root-port,id=%s,bus=pcie.0,chassis=%d,addr=0x%x.%d%s", rootPort(i), i+1, 0x10+i/8, i%8, more))
	}
	if len(m.Seed) > 0 {
		// Above all others, so that the guest finds it after its disks.
		a.add("-device", "pcie-root-port,id=rpseed,bus=pcie.0,chassis=200,addr=0x1c")
	}
}

// generation is the guest's sign that it may be a copy of its earlier self. It is the same on both
// ends of a migration, and another one in each boot.
func generation(m onhost.VMConfig) string {
	return uuid.NewSHA1(uuid.NameSpaceOID, fmt.Appendf(nil, "%s/%d", m.VMID, m.Boot)).String()
}

// plugged are the disks, the seed and the NICs, each where its address says.
func (a *arguments) plugged(m onhost.VMConfig) {
	for i, d := range m.Disks {
		if d.Queues > 0 {
			a.json("-object", diskThread(d))
		}
		a.json("-blockdev", diskBackend(d, i < len(a.place.Direct) && a.place.Direct[i], a.place.AIO))
		a.json("-device", diskDevice(d))
	}
	if len(m.Seed) > 0 && a.place.SeedPath != "" {
		a.json("-blockdev", map[string]any{"driver": "raw", "node-name": "seed", "read-only": true,
			"file": map[string]any{"driver": "file", "filename": a.place.SeedPath, "read-only": true}})
		a.add("-device", "virtio-blk-pci,id=seed0,bus=rpseed,drive=seed,serial=virga-seed")
	}
	for i, n := range m.NICs {
		fds := strings.ReplaceAll(strings.Trim(fmt.Sprint(a.place.TapFDs[i]), "[]"), " ", ":")
		a.add("-netdev", fmt.Sprintf("tap,id=%s,%s=%s", deviceName(compute.NICDevice, n.ID), fdWord(n), fds))
		a.json("-device", nicDevice(n))
	}
}
