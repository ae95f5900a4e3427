package compute

import (
	"fmt"
	"net/netip"
	"regexp"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/network"
)

// DiskInput is a disk to be made, or a volume that is there.
type DiskInput struct {
	// SizeMiB is the size of a new disk, in MiB; the first disk is at least as large as the image.
	SizeMiB int64 `json:"sizeMiB,omitempty"`
	// Volume is the name or id of a volume that is there, instead of a new one.
	Volume string `json:"volume,omitempty"`
	// Datastore is the name or id of where a new disk must live; empty: where the VM is.
	Datastore string `json:"datastore,omitempty"`
}

// NICInput is a NIC to be made.
type NICInput struct {
	// Network is the name or id of the network.
	Network string `json:"network,omitempty"`
	// Address is the IPv4 address that is asked for; empty: the next free one.
	Address string `json:"address,omitempty"`
	// MAC is the hardware address that is asked for; empty: one is made.
	MAC string `json:"mac,omitempty"`
	// Port is the name or id of a port that is there, instead of a new one.
	Port string `json:"port,omitempty"`
}

// VMInput is what a VM is created from.
type VMInput struct {
	// Description is for people.
	Description string `json:"description,omitempty"`
	// Image is the name or id of the image that the first disk starts from; empty: an empty disk.
	Image string `json:"image,omitempty"`
	// CPUs is the number of virtual CPUs; 1 unless said otherwise.
	CPUs int64 `json:"cpus,omitempty"`
	// MemoryMiB is the guest's memory, in MiB; 512 unless said otherwise.
	MemoryMiB int64 `json:"memoryMiB,omitempty"`
	// Disks in order; one of the image's size unless said otherwise.
	Disks []DiskInput `json:"disks,omitempty"`
	// NICs in order; one in network "default" unless said otherwise.
	NICs []NICInput `json:"nics,omitempty"`
	// Power is running (the default), paused or stopped.
	Power Power `json:"power,omitempty" enum:"running,paused,stopped"`
	// RestartPolicy is on-failure (the default), always or never.
	RestartPolicy RestartPolicy `json:"restartPolicy,omitempty" enum:"on-failure,always,never"`
	// StopTimeoutSeconds is how long a guest that is asked to stop may take; 60 unless said otherwise.
	StopTimeoutSeconds int64 `json:"stopTimeoutSeconds,omitempty"`
	// Hostname is what the guest is told to be called; the VM's name unless said otherwise.
	Hostname string `json:"hostname,omitempty"`
	// SSHKeys are put into the guest by cloud-init, one line each.
	SSHKeys []string `json:"sshKeys,omitempty"`
	// UserData is handed to cloud-init byte for byte, whatever it is; base64 in JSON, at most 16 KiB of bytes.
	UserData []byte `json:"userData,omitempty"`
	// Host is the name or id of the one host that the VM may run on; empty: any.
	Host string `json:"host,omitempty"`
}

// The limits of a VM.
const (
	MaxCPUs      = 255
	MinMemoryMiB = 64
	MaxMemoryMiB = 4 << 20 // 4 TiB
	MaxDisks     = 24
	MaxNICs      = 8
	MaxDiskMiB   = 64 << 20 // 64 TiB
	MaxUserData  = 16 << 10
)

// Default fills in what was not said.
func (in *VMInput) Default(name string) {
	if in.CPUs == 0 {
		in.CPUs = 1
	}
	if in.MemoryMiB == 0 {
		in.MemoryMiB = 512
	}
	if len(in.Disks) == 0 {
		in.Disks = []DiskInput{{}}
	}
	if in.NICs == nil {
		in.NICs = []NICInput{{}}
	}
	for i := range in.NICs {
		if mac, why := network.ReadMAC(in.NICs[i].MAC); why == "" {
			in.NICs[i].MAC = mac
		}
	}
	if in.Power == "" {
		in.Power = Running
	}
	if in.RestartPolicy == "" {
		in.RestartPolicy = OnFailure
	}
	if in.StopTimeoutSeconds == 0 {
		in.StopTimeoutSeconds = 60
	}
	if in.Hostname == "" {
		in.Hostname = name
	}
}

var hostnamePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// Check lists everything that is wrong with the input after its defaults, without looking at records.
func (in *VMInput) Check() []fault.Detail {
	var out []fault.Detail
	wrong := func(field, format string, args ...any) {
		out = append(out, fault.Detail{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if in.CPUs < 1 || in.CPUs > MaxCPUs {
		wrong("spec.cpus", "%d is not between 1 and %d", in.CPUs, MaxCPUs)
	}
	if in.MemoryMiB < MinMemoryMiB || in.MemoryMiB > MaxMemoryMiB {
		wrong("spec.memoryMiB", "%d MiB is not between %d and %d", in.MemoryMiB, MinMemoryMiB, MaxMemoryMiB)
	}
	if len(in.Disks) > MaxDisks {
		wrong("spec.disks", "%d disks are more than the %d that fit", len(in.Disks), MaxDisks)
	}
	if len(in.NICs) > MaxNICs {
		wrong("spec.nics", "%d NICs are more than the %d that fit", len(in.NICs), MaxNICs)
	}
	if in.StopTimeoutSeconds < 1 || in.StopTimeoutSeconds > 3600 {
		wrong("spec.stopTimeoutSeconds", "%d s is not between 1 and 3600", in.StopTimeoutSeconds)
	}
	if !hostnamePattern.MatchString(in.Hostname) {
		wrong("spec.hostname", "%q is no host name: lower case letters, digits and dashes, at most 63", in.Hostname)
	}
	if len(in.UserData) > MaxUserData {
		wrong("spec.userData", "%d bytes are more than the %d that are taken; compress it (cloud-init unpacks gzip itself), or let it fetch the rest", len(in.UserData), MaxUserData)
	}
	for i, key := range in.SSHKeys {
		if !isPublicKey(key) {
			wrong(fmt.Sprintf("spec.sshKeys[%d]", i), "this is no public key in one line, like \"ssh-ed25519 AAAA... name\"")
		}
	}
	for i, d := range in.Disks {
		field := fmt.Sprintf("spec.disks[%d]", i)
		switch {
		case d.Volume != "" && (d.SizeMiB != 0 || d.Datastore != ""):
			wrong(field, "a volume that is there has its size and place already; leave out sizeMiB and datastore")
		case d.SizeMiB < 0 || d.SizeMiB > MaxDiskMiB:
			wrong(field+".sizeMiB", "%d MiB is not between 1 and %d", d.SizeMiB, MaxDiskMiB)
		case d.Volume == "" && d.SizeMiB == 0 && (i > 0 || in.Image == ""):
			wrong(field+".sizeMiB", "how large? an empty disk needs a size, for example 10240")
		}
	}
	for i, n := range in.NICs {
		field := fmt.Sprintf("spec.nics[%d]", i)
		if n.Port != "" && (n.Network != "" || n.Address != "" || n.MAC != "") {
			wrong(field, "a port that is there has its network and addresses already; leave them out")
		}
		if a, err := netip.ParseAddr(n.Address); n.Address != "" && (err != nil || !a.Is4()) {
			wrong(field+".address", "%q is no IPv4 address", n.Address)
		}
		if _, why := network.ReadMAC(n.MAC); n.MAC != "" && why != "" {
			wrong(field+".mac", "%s", why)
		}
	}
	return out
}
