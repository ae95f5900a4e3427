package compute

import (
	"cmp"
	"fmt"
	"net/netip"
	"regexp"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/host/numa"
	"github.com/virga-cloud/virga/network"
)

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

// DefaultVM fills in what was not said. Disks and NICs get names when they are known to be new.
func DefaultVM(s *VMSpec) {
	if s.CPUs == 0 {
		s.CPUs = 1
	}
	if s.MemoryMiB == 0 {
		s.MemoryMiB = 512
	}
	if len(s.Disks) == 0 {
		s.Disks = []Disk{{}}
	}
	if s.NICs == nil {
		s.NICs = []NIC{{}}
	}
	s.Hardware.fill()
	disk, nic := s.Hardware.models()
	for i := range s.Disks {
		s.Disks[i].Model = cmp.Or(s.Disks[i].Model, disk)
		s.Disks[i].IOProfile = cmp.Or(s.Disks[i].IOProfile, DefaultIO)
	}
	for i := range s.NICs {
		s.NICs[i].Model = cmp.Or(s.NICs[i].Model, nic)
		s.NICs[i].IOProfile = cmp.Or(s.NICs[i].IOProfile, DefaultIO)
		if mac, why := network.ReadMAC(s.NICs[i].MAC); why == "" {
			s.NICs[i].MAC = mac
		}
	}
	if s.Power == "" {
		s.Power = Running
	}
	if s.RestartPolicy == "" {
		s.RestartPolicy = OnFailure
	}
	if s.StopTimeoutSeconds == 0 {
		s.StopTimeoutSeconds = 60
	}
	s.NUMA = cmp.Or(s.NUMA, numa.Preferred)
}

var hostnamePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// CheckVM lists everything that is wrong with a spec after its defaults, without looking at records.
func CheckVM(s *VMSpec) []fault.Detail {
	var out []fault.Detail
	wrong := func(field, format string, args ...any) {
		out = append(out, fault.Detail{Field: field, Message: fmt.Sprintf(format, args...)})
	}
	if s.CPUs < 1 || s.CPUs > MaxCPUs {
		wrong("spec.cpus", "%d is not between 1 and %d", s.CPUs, MaxCPUs)
	}
	if s.MemoryMiB < MinMemoryMiB || s.MemoryMiB > MaxMemoryMiB {
		wrong("spec.memoryMiB", "%d MiB is not between %d and %d", s.MemoryMiB, MinMemoryMiB, MaxMemoryMiB)
	}
	out = append(out, checkGrowth(s)...)
	out = append(out, s.CPUPolicy.Check()...)
	out = append(out, s.MemoryPolicy.Check(s.MemoryMiB)...)
	if !slices.Contains([]numa.Policy{numa.Preferred, numa.Required, numa.None}, s.NUMA) {
		wrong("spec.numa", "%q is none of preferred, required, none", s.NUMA)
	}
	if s.StopTimeoutSeconds < 1 || s.StopTimeoutSeconds > 3600 {
		wrong("spec.stopTimeoutSeconds", "%d s is not between 1 and 3600", s.StopTimeoutSeconds)
	}
	if s.Hostname != "" && !hostnamePattern.MatchString(s.Hostname) {
		wrong("spec.hostname", "%q is no host name: lower case letters, digits and dashes, at most 63", s.Hostname)
	}
	if len(s.UserData) > MaxUserData {
		wrong("spec.userData", "%d bytes are more than the %d that are taken; compress it (cloud-init unpacks gzip itself), or let it fetch the rest", len(s.UserData), MaxUserData)
	}
	for i, key := range s.SSHKeys {
		if !isPublicKey(key) {
			wrong(fmt.Sprintf("spec.sshKeys[%d]", i), "this is no public key in one line, like \"ssh-ed25519 AAAA... name\"")
		}
	}
	s.Hardware.check(wrong)
	checkHugePages(s, wrong)
	checkDisks(s.Disks, wrong)
	checkNICs(s.NICs, wrong)
	return out
}

func checkDisks(disks []Disk, wrong func(field, format string, args ...any)) {
	if len(disks) > MaxDisks {
		wrong("spec.disks", "%d disks are more than the %d that fit", len(disks), MaxDisks)
	}
	for i, d := range disks {
		field := fmt.Sprintf("spec.disks[%d]", i)
		checkDeviceName(field, d.Name, slices.IndexFunc(disks, func(x Disk) bool { return x.Name == d.Name }) < i, wrong)
		first := slices.IndexFunc(disks, func(x Disk) bool { return x.VolumeID == d.VolumeID })
		switch {
		case d.VolumeID != "" && first < i:
			wrong(field+".volumeID", "the volume is there already, as %s", cmp.Or(disks[first].Name, "another disk"))
		case d.VolumeID != "" && (d.SizeMiB != 0 || d.DatastoreID != ""):
			wrong(field, "a volume that is there has its size and place already; leave out sizeMiB and datastoreID")
		case d.SizeMiB < 0 || d.SizeMiB > MaxDiskMiB:
			wrong(field+".sizeMiB", "%d MiB is not between 1 and %d", d.SizeMiB, MaxDiskMiB)
		}
		d.Limits.check(field+".limits", wrong)
		d.IOProfile.check(field+".ioProfile", d.Model, VirtioBlk, wrong)
	}
}

func checkNICs(nics []NIC, wrong func(field, format string, args ...any)) {
	if len(nics) > MaxNICs {
		wrong("spec.nics", "%d NICs are more than the %d that fit", len(nics), MaxNICs)
	}
	for i, n := range nics {
		field := fmt.Sprintf("spec.nics[%d]", i)
		checkDeviceName(field, n.Name, slices.IndexFunc(nics, func(x NIC) bool { return x.Name == n.Name }) < i, wrong)
		n.IOProfile.check(field+".ioProfile", n.Model, VirtioNet, wrong)
		if first := slices.IndexFunc(nics, func(x NIC) bool { return x.PortID == n.PortID }); n.PortID != "" && first < i {
			wrong(field+".portID", "the port is there already, as %s", cmp.Or(nics[first].Name, "another NIC"))
		}
		if n.PortID != "" && (n.NetworkID != "" || n.Address != "" || n.MAC != "") {
			wrong(field, "a port that is there has its network and addresses already; leave them out")
		}
		if a, err := netip.ParseAddr(n.Address); n.Address != "" && (err != nil || !a.Is4()) {
			wrong(field+".address", "%q is no IPv4 address", n.Address)
		}
		if _, why := network.ReadMAC(n.MAC); n.MAC != "" && why != "" {
			wrong(field+".mac", "%s", why)
		}
	}
}

// checkDeviceName judges the name of a disk or a NIC within its VM; one that has none gets one.
func checkDeviceName(field, name string, twice bool, wrong func(field, format string, args ...any)) {
	switch {
	case name == "":
	case len(name) > 32 || !hostnamePattern.MatchString(name):
		wrong(field+".name", "%q is no name: lower case letters, digits and dashes, at most 32", name)
	case twice:
		wrong(field+".name", "%q is there twice", name)
	}
}

// nextName is the first of disk0, disk1, … or nic0, nic1, … that is not taken.
func nextName(word string, taken map[string]bool) string {
	for i := 0; ; i++ {
		if name := fmt.Sprintf("%s%d", word, i); !taken[name] {
			taken[name] = true
			return name
		}
	}
}
