package qemu

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/compute/onhost/seed"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/storage"
)

var update = flag.Bool("update", false, "write the golden files anew")

func goldenVM() onhost.VMConfig {
	return onhost.VMConfig{
		ID: "0199c0de-0000-7000-8000-000000000001", VMID: "0199c0de-0000-7000-8000-000000000002", Boot: 3, Epoch: 4,
		CPUs: 2, MemoryMiB: 512, RootPorts: 8, MachineType: "pc-q35-7.2", Accelerator: host.TCG, UID: 70001,
		Disks: []onhost.Disk{
			{Source: storage.InFile("/ds/a,b.qcow2", "qcow2"), ID: "0199c0de-0000-7000-8000-000000000003", BootIndex: 1, Address: onhost.Address{Bus: compute.PCIe, Slot: 0}},
			{Source: storage.InFile("/ds/c.raw", "raw"), ID: "0199c0de-0000-7000-8000-000000000004", Address: onhost.Address{Bus: compute.PCIe, Slot: 5}},
		},
		NICs: []onhost.NIC{
			{ID: "0199c0de-0000-7000-8000-000000000005", Device: "vtap1", MAC: "52:54:00:00:00:01", MTU: 1442, Address: onhost.Address{Bus: compute.PCIe, Slot: 2}},
			{ID: "0199c0de-0000-7000-8000-000000000006", Device: "vtap2", MAC: "52:54:00:00:00:02", Address: onhost.Address{Bus: compute.PCIe, Slot: 1}},
		},
		Seed: seed.Files{"meta-data": ""},
	}
}

func TestTheCommandLineIsAsInTheGoldenFiles(t *testing.T) {
	place := Place{Folder: "/run/virga/i,j", SeedPath: "/run/virga/i,j/seed.iso", LogFD: 3, MonitorFD: 4, SerialFD: 5, AgentFD: 6, TapFDs: [][]int{{7}, {8}, {9}, {10}}, Direct: []bool{true, false}, AIO: "io_uring"}
	throughput := goldenVM()
	throughput.Disks[0].Queues, throughput.NICs[0].Queues, throughput.NICs[1].Queues = 2, 2, 1
	incoming := goldenVM()
	incoming.Incoming = true
	kvm := goldenVM()
	kvm.Accelerator, kvm.CPUModel = host.KVM, ""
	bare := onhost.VMConfig{
		ID: "0199c0de-0000-7000-8000-000000000001", VMID: "0199c0de-0000-7000-8000-000000000002", CPUs: 1, MemoryMiB: 128, MachineType: "pc-q35-7.2",
		CPUModel: "qemu64", Accelerator: host.TCG, Screen: onhost.NoScreen, Kernel: "/boot/vmlinuz", Initrd: "/boot/initrd", Append: "console=ttyS0",
	}
	models := goldenVM()
	models.Disks, models.NICs = nil, nil
	for i, model := range []string{compute.SATA, compute.SATA, compute.VirtioSCSI, compute.VirtioSCSI, compute.NVMe, compute.VirtioBlk} {
		bus := map[string]compute.Bus{compute.SATA: compute.AHCI, compute.VirtioSCSI: compute.SCSI, compute.NVMe: compute.PCIe, compute.VirtioBlk: compute.PCIe}[model]
		models.Disks = append(models.Disks, onhost.Disk{
			ID: resource.ID(fmt.Sprintf("0199c0de-0000-7000-8000-00000000001%d", i)), Source: storage.InFile(fmt.Sprintf("/ds/%d.qcow2", i), "qcow2"), BootIndex: int64(1 - min(i, 1)), Model: model,
			Address: onhost.Address{Bus: bus, Slot: map[compute.Bus]int64{compute.PCIe: int64(i - 4), compute.SCSI: int64(i - 2), compute.AHCI: int64(i)}[bus]},
		})
	}
	for i, model := range []string{compute.E1000, compute.E1000e, compute.RTL8139, compute.VirtioNet} {
		models.NICs = append(models.NICs, onhost.NIC{
			ID: resource.ID(fmt.Sprintf("0199c0de-0000-7000-8000-00000000002%d", i)), MAC: fmt.Sprintf("52:54:00:00:00:0%d", i), MTU: 1442, Model: model,
			Address: onhost.Address{Bus: compute.PCIe, Slot: int64(2 + i)},
		})
	}
	one, two, moved := bare, bare, bare
	one.CPUs, one.NUMA = 2, []onhost.NUMANode{{HostNode: 3, CPUs: 2, MemoryMiB: 128}}
	two.CPUs, two.NUMA = 5, []onhost.NUMANode{{HostNode: 0, CPUs: 3, MemoryMiB: 64}, {HostNode: 2, CPUs: 2, MemoryMiB: 64}}
	moved.CPUs, moved.NUMA, moved.Incoming = 5, []onhost.NUMANode{{HostNode: host.Unbound, CPUs: 3, MemoryMiB: 64}, {HostNode: host.Unbound, CPUs: 2, MemoryMiB: 64}}, true
	windows, old := goldenVM(), goldenVM()
	windows.Accelerator, windows.CPUModel, windows.Hardware = host.KVM, "", compute.Hardware{OS: compute.Windows, Firmware: compute.UEFISecure, Watchdog: compute.WatchdogReset}
	old.Hardware = compute.Hardware{OS: compute.OtherOS, Firmware: compute.UEFI, Watchdog: compute.WatchdogCrash}
	old.Disks[0].Model, old.Disks[0].Address, old.Disks[0].BootIndex = compute.IDE, onhost.Address{Bus: compute.IDEBus, Slot: 3}, 2
	old.Disks[1].Model, old.Disks[1].Address, old.Disks[1].BootIndex = compute.CDROM, onhost.Address{Bus: compute.AHCI, Slot: 1}, 1
	growing, grown, huge := goldenVM(), one, two
	huge.HugePages = compute.HugePages2MiB
	more := two
	more.BootCPUs, more.MaxCPUs = 4, 8
	growing.BootMemoryMiB, growing.MaxMemoryMiB = growing.MemoryMiB, 4096
	grown.BootMemoryMiB, grown.MaxMemoryMiB, grown.MemoryMiB, grown.Incoming = 128, 1024, 512, true
	for name, m := range map[string]onhost.VMConfig{"huge": huge, "more-cpus": more, "growing": growing, "growing-moved": grown, "full": goldenVM(), "windows": windows, "old": old, "throughput": throughput, "incoming": incoming, "kvm": kvm, "bare": bare, "models": models, "numa-one": one, "numa-two": two, "numa-moved": moved} {
		var b strings.Builder
		here := place
		switch name {
		case "throughput":
			here.TapFDs = [][]int{{7, 8}, {9}}
		case "windows", "old":
			here.VariablesFD = 11
		}
		for _, word := range Arguments(m, here) {
			if strings.HasPrefix(word, "-") && b.Len() > 0 {
				b.WriteString("\n")
			} else if b.Len() > 0 {
				b.WriteString(" ")
			}
			b.WriteString(word)
		}
		path, got := filepath.Join("testdata", name+".args"), b.String()+"\n"
		if *update {
			must(t, os.MkdirAll("testdata", 0o755))
			must(t, os.WriteFile(path, []byte(got), 0o644))
		}
		if want, err := os.ReadFile(path); err != nil || string(want) != got {
			t.Errorf("%s (run with -update to accept): %v\n%s", path, err, got)
		}
	}
}

func TestBothEndsOfAMigrationHaveTheSameTopology(t *testing.T) {
	source, target := goldenVM(), goldenVM()
	target.ID, target.Incoming, target.Epoch = "0199c0de-0000-7000-8000-000000000009", true, 5
	devices := func(m onhost.VMConfig, sockets string) (out []string) {
		all := Arguments(m, Place{Folder: sockets, SeedPath: sockets + "/s", TapFDs: [][]int{{3}, {4}}})
		for i, word := range all {
			if word == "-device" || word == "-machine" || word == "-smp" || word == "-m" || word == "-object" {
				out = append(out, all[i+1])
			}
		}
		return out
	}
	a, b := devices(source, "/a"), devices(target, "/b")
	if strings.Join(a, "\n") != strings.Join(b, "\n") {
		t.Fatalf("%v\n%v", a, b)
	}
}

func TestAMissingOrOldQEMUIsSaidSo(t *testing.T) {
	dir := t.TempDir()
	old := filepath.Join(dir, "old")
	must(t, os.WriteFile(old, []byte("#!/bin/sh\necho QEMU emulator version 6.1.0\n"), 0o755))
	for binary, words := range map[string]string{filepath.Join(dir, "none"): "install", old: "7.2 or newer"} {
		_, err := Probe(t.Context(), binary)
		if !fault.Is(err, fault.Precondition) || !strings.Contains(err.Error(), words) {
			t.Errorf("%s: %v", binary, err)
		}
		d, err := New(Config{RunDir: runDir(t), LogDir: t.TempDir(), Binary: binary})
		must(t, err)
		id := resource.NewID()
		if err := d.Ensure(t.Context(), onhost.VMConfig{ID: id}); !fault.Is(err, fault.Precondition) {
			t.Errorf("%v", err)
		}
		if g := look(t, d, id); g.State != onhost.Absent {
			t.Errorf("something is there: %+v", g)
		}
		d.Close()
	}
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		return
	}
	info, err := Probe(context.Background(), "qemu-system-x86_64")
	if err != nil || info.Major < 7 || !strings.HasPrefix(info.MachineType, "pc-q35-") {
		t.Errorf("%+v, %v", info, err)
	}
}

func TestAPathThatIsTooLongForSocketsIsRefused(t *testing.T) {
	if _, err := New(Config{RunDir: "/tmp/" + strings.Repeat("x", 60)}); !fault.Is(err, fault.Invalid) {
		t.Fatalf("%v", err)
	}
}

func TestATapIsHandedOverAndOneThatIsNotThereIsNeverMade(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs a network namespace of its own")
	}
	runtime.LockOSThread() // never unlocked: the thread goes with its namespace
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Skipf("no network namespace: %v", err)
	}
	if out, err := exec.Command("ip", "tuntap", "add", "vtest0", "mode", "tap").CombinedOutput(); err != nil {
		t.Skipf("no tap: %s", out)
	}
	must(t, exec.Command("ip", "link", "set", "vtest0", "up").Run())
	d := house(t, Config{})
	m := vm(t, "")
	m.NICs = []onhost.NIC{{Device: "vtest1", MAC: "52:54:00:00:00:01", MTU: 1400}}
	if err := d.Ensure(t.Context(), m); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("a tap that is not there: %v", err)
	}
	if g := look(t, d, m.ID); g.State != onhost.Absent {
		t.Fatalf("a start that may be tried again left %+v", g)
	}
	for _, header := range []bool{false, true} {
		m := vm(t, "")
		m.NICs = []onhost.NIC{{Device: "vtest0", MAC: "52:54:00:00:00:01", MTU: 1400, VNetHdr: header}}
		must(t, d.Ensure(t.Context(), m))
		out, err := exec.Command("ip", "-d", "link", "show", "vtest0").Output()
		if err != nil || strings.Contains(string(out), "NO-CARRIER") || strings.Contains(string(out), "vnet_hdr on") != header {
			t.Fatalf("vnet_hdr wanted: %v\n%s %v", header, out, err)
		}
		must(t, d.Remove(t.Context(), m.ID))
	}
}

func TestAWrapperInFrontOfQEMUCanBreakItAndIsAdopted(t *testing.T) {
	dir := runDir(t)
	d := house(t, Config{})
	wrapper := filepath.Join(dir, "qemu")
	must(t, os.WriteFile(wrapper, []byte("#!/bin/sh\ncase \"$*\" in *-version*|*help*) exec qemu-system-x86_64 \"$@\";; esac\ntest -e \"$0.fail\" && { echo 'qemu: broken on purpose' >&2; exit 3; }\nexec qemu-system-x86_64 \"$@\"\n"), 0o755))
	d.cfg.Binary = wrapper
	m := vm(t, "")
	must(t, os.WriteFile(wrapper+".fail", nil, 0o644))
	if err := d.Ensure(t.Context(), m); err == nil || !strings.Contains(err.Error(), "broken on purpose") {
		t.Fatalf("%v", err)
	}
	must(t, os.Remove(wrapper+".fail"))
	must(t, d.Remove(t.Context(), m.ID))
	must(t, d.Ensure(t.Context(), m))
	// The daemon dies before it has written the number down: QEMU is found by its name.
	g := d.guests[m.ID]
	pid := g.saved.PID
	g.saved.PID, g.saved.Ticks = 0, 0
	must(t, g.keep())
	d.Close()
	again := house(t, Config{RunDir: d.cfg.RunDir})
	if g := look(t, again, m.ID); g.PID != pid || g.State != onhost.Paused {
		t.Fatalf("%+v", g)
	}
	must(t, again.Remove(t.Context(), m.ID))
}
