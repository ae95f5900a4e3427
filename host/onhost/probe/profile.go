package probe

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/virga-cloud/virga/engine/durable"
	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/host"
)

// Hardware is what is probed.
type Hardware struct {
	// Files is the root of the host: os.DirFS("/").
	Files fs.FS
	// QEMU is the name or path of QEMU.
	QEMU string
	// KVM is the path of the device.
	KVM string
	// State is the folder that the result is kept in; empty: it is not kept.
	State string
	// Datapath finds out where the switch can forward.
	Datapath func() host.Datapath
}

// ThisHost is the real one.
func ThisHost(qemu, state string) Hardware {
	if qemu == "" {
		qemu = "qemu-system-x86_64"
	}
	return Hardware{Files: os.DirFS("/"), QEMU: qemu, KVM: "/dev/kvm", State: state, Datapath: Datapath}
}

// Inventory reads what the host has.
func (m Hardware) Inventory() (host.Inventory, error) { return Inventory(m.Files) }

// Profile finds out what works. What the kernel offers is in the profile even when QEMU
// is missing and an error says so.
func (m Hardware) Profile(ctx context.Context) (host.Profile, error) {
	var p host.Profile
	Kernel(m.Files, &p)
	p.Datapath = m.Datapath()
	binary, err := exec.LookPath(m.QEMU)
	if err != nil {
		_, err = AskQEMU(ctx, m.QEMU)
		return p, err
	}
	key := m.key(binary)
	kept, ok := m.recall(key)
	if !ok {
		if kept, err = run(ctx, binary, m.KVM); err != nil {
			return p, err
		}
		if kept.Key = key; kept.Features == "" {
			kept.Key = "" // asked again at the next start
		}
		if err := m.keep(kept); err != nil {
			return p, err
		}
	}
	p.Accelerator, p.AcceleratorWhy = kept.Accelerator, kept.Why
	p.QEMUVersion, p.MachineType = kept.Version, kept.MachineType
	p.CPUVendor, p.CPUFeatures = kept.Vendor, kept.Features
	return p, nil
}

// kept is what running QEMU told.
type kept struct {
	Key         string           `json:"key"`
	Accelerator host.Accelerator `json:"accelerator"`
	Why         string           `json:"why"`
	Version     string           `json:"version"`
	MachineType string           `json:"machineType"`
	Vendor      string           `json:"cpuVendor"`
	Features    string           `json:"cpuFeatures"`
}

func run(ctx context.Context, binary, kvm string) (kept, error) {
	e, err := AskQEMU(ctx, binary)
	if err != nil {
		return kept{}, err
	}
	accelerator, why, err := Accelerate(ctx, binary, kvm)
	if err != nil {
		return kept{}, err
	}
	out := kept{Accelerator: accelerator, Why: why, Version: e.Version, MachineType: e.MachineType}
	if out.Vendor, out.Features, err = AskCPU(ctx, binary, accelerator); err != nil {
		// Guests run without: only those of unlike hosts cannot be told apart.
		slog.Warn("QEMU does not tell the features of the processor", "error", err)
	}
	return out, nil
}

const keptFormat = "2"

// key changes when what was found out may no longer hold.
func (m Hardware) key(binary string) string {
	return keptFormat + " " + line(m.Files, "proc/sys/kernel/random/boot_id") + " " + identity(binary) + " " + identity(m.KVM)
}

func identity(file string) string {
	info, err := os.Stat(file)
	if err != nil {
		return "none"
	}
	id := file + ":" + strconv.FormatInt(info.Size(), 10)
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		id += ":" + strconv.FormatUint(st.Ino, 10) + ":" + strconv.FormatUint(st.Rdev, 10) + ":" + strconv.FormatUint(uint64(info.Mode()), 8)
	}
	if info.Mode().IsRegular() { // the time of a device changes with its use
		id += ":" + strconv.FormatInt(info.ModTime().UnixNano(), 10)
	}
	return id
}

func (m Hardware) recall(key string) (kept, bool) {
	if m.State == "" {
		return kept{}, false
	}
	text, err := os.ReadFile(m.file())
	var k kept
	if err != nil || json.Unmarshal(text, &k) != nil {
		return kept{}, false // never kept, or half written by an older version: probe again
	}
	return k, k.Key == key
}

func (m Hardware) keep(k kept) error {
	if m.State == "" {
		return nil
	}
	text, err := json.MarshalIndent(k, "", "  ")
	if err != nil {
		return fault.New(fault.Internal, "encode the profile: %w", err)
	}
	if err := durable.Write(m.file(), append(text, '\n'), 0o600); err != nil {
		return fault.New(fault.Unavailable, "keep the profile: %w", err)
	}
	return nil
}

func (m Hardware) file() string { return filepath.Join(m.State, "profile.json") }
