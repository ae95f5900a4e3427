package qemu

import (
	"fmt"
	"os"

	"github.com/virga-cloud/virga/compute"
	"github.com/virga-cloud/virga/compute/onhost"
	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
)

// firmware are the files of a firmware, as Debian's package ovmf has them: its code, which nobody writes, and
// what the variables of a new VM are.
type firmware struct{ code, variables string }

var firmwares = map[compute.Firmware]firmware{
	compute.UEFI:       {"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
	compute.UEFISecure: {"/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"},
}

// variables opens what the firmware of a VM has kept on this host, or what that of a new one begins with; nil: it
// keeps nothing. A guest that comes by migration brings its own, which QEMU writes over these.
func (d *Driver) variables(m onhost.VMConfig) (*os.File, error) {
	f, has := firmwares[m.Firmware]
	if !has {
		return nil, nil
	}
	path := d.variablesPath(m.VMID, m.Firmware)
	if _, err := os.Stat(path); os.IsNotExist(err) {
		first, err := os.ReadFile(f.variables)
		if err != nil {
			return nil, fault.New(fault.Precondition, "VM %s boots by %s, whose files this host lacks: %w; install the package ovmf", m.Name, m.Firmware, err)
		}
		if err := durable.Write(path, first, 0o600); err != nil {
			return nil, fault.New(fault.Unavailable, "keep the firmware's variables of VM %s: %w", m.Name, err)
		}
	}
	out, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, fault.New(fault.Unavailable, "open the firmware's variables of VM %s: %w", m.Name, err)
	}
	return out, nil
}

// variablesPath lies beside the VM's serial logs, and goes with them.
func (d *Driver) variablesPath(vmID resource.ID, f compute.Firmware) string {
	return d.serialLog(vmID).path + "." + string(f) + ".vars"
}

// machine is the board: its firmware, clocks and what a system other than Linux wants of it.
func (a *arguments) machine(m onhost.VMConfig) {
	board := m.MachineType
	if len(m.NUMA) < 2 {
		board += ",memory-backend=m0"
	}
	board += ",vmport=off,usb=off"
	if m.OS == compute.Windows {
		board += ",hpet=off" // its timer costs a guest that has Hyper-V's, and drifts
	}
	f, uefi := firmwares[m.Firmware]
	if m.Firmware == compute.UEFISecure {
		board += ",smm=on" // only the firmware itself may write its variables
		a.add("-global", "driver=cfi.pflash01,property=secure,value=on")
	}
	if uefi {
		board += ",pflash0=fw-code,pflash1=fw-vars"
		a.add("-add-fd", fmt.Sprintf("fd=%d,set=1", a.place.VariablesFD))
		a.json("-blockdev", map[string]any{"driver": "raw", "node-name": "fw-code", "read-only": true,
			"file": map[string]any{"driver": "file", "filename": f.code, "read-only": true}})
		a.json("-blockdev", map[string]any{"driver": "raw", "node-name": "fw-vars",
			"file": map[string]any{"driver": "file", "filename": "/dev/fdset/1"}})
	}
	a.add("-machine", board, "-accel", string(m.Accelerator), "-cpu", processor(m))
	clock := "base=utc"
	if m.OS == compute.Windows {
		clock = "base=localtime,driftfix=slew"
	}
	a.add("-rtc", clock)
}

// hyperV is what a Windows guest finds where the processor runs it: it then waits and tells time as on its maker's
// own hypervisor.
const hyperV = ",hv_relaxed,hv_vapic,hv_spinlocks=0x1fff,hv_vpindex,hv_runtime,hv_time,hv_synic,hv_stimer,hv_frequencies,hv_tlbflush,hv_ipi"

func processor(m onhost.VMConfig) string {
	cpu := m.CPUModel
	if cpu == "" {
		cpu = map[host.Accelerator]string{host.KVM: "host", host.TCG: "max"}[m.Accelerator]
	}
	if m.OS == compute.Windows && m.Accelerator == host.KVM {
		cpu += hyperV
	}
	return cpu
}

// watchdog is at an address of its own, below the root ports.
func (a *arguments) watchdog(m onhost.VMConfig) {
	then := map[compute.Watchdog]string{compute.WatchdogReset: "reset", compute.WatchdogCrash: "pause"}[m.Watchdog]
	if then != "" {
		a.add("-device", "i6300esb,id=watchdog0,bus=pcie.0,addr=0x6", "-action", "watchdog="+then)
	}
}
