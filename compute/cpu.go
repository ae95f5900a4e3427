package compute

import "github.com/virga-cloud/virga/engine/fault"

// SharesPerCPU are the shares of a VM that nobody decided about, for each virtual CPU.
const SharesPerCPU = 1000

// maxShares keeps the ratio of two VMs within what the kernel can keep apart.
const maxShares = 1_000_000

// CPUPolicy is what a VM gets of its host's processors where they are short: first reservations are
// kept, then what is left is divided by shares, and nobody gets more than its limit.
type CPUPolicy struct {
	// CPUShares are the VM's weight against others, in no unit; 0: 1000 for each virtual CPU, of which a resource pool counts 4.
	CPUShares int64 `json:"cpuShares,omitempty"`
	// CPUReservationMHz is what it gets however busy its host is, in MHz of processor clock. A host
	// promises no more than it has.
	CPUReservationMHz int64 `json:"cpuReservationMHz,omitempty"`
	// CPULimitMHz is the most it gets however idle its host is, in MHz; 0: no limit.
	CPULimitMHz int64 `json:"cpuLimitMHz,omitempty"`
}

// Shares are those of a VM with so many virtual CPUs.
func (p CPUPolicy) Shares(cpus int64) int64 {
	if p.CPUShares == 0 {
		return SharesPerCPU * cpus
	}
	return p.CPUShares
}

// Check lists everything that is wrong with it.
func (p CPUPolicy) Check() (out []fault.Detail) {
	if p.CPUShares < 0 || p.CPUShares > maxShares {
		out = append(out, fault.Detail{Field: "spec.cpuShares", Message: "must be 1 to 1000000; leave it out for 1000 for each virtual CPU"})
	}
	if p.CPUReservationMHz < 0 {
		out = append(out, fault.Detail{Field: "spec.cpuReservationMHz", Message: "must be 0 or more, in MHz"})
	}
	if p.CPULimitMHz < 0 {
		out = append(out, fault.Detail{Field: "spec.cpuLimitMHz", Message: "must be 0, for no limit, or more, in MHz"})
	}
	if p.CPULimitMHz > 0 && p.CPUReservationMHz > p.CPULimitMHz {
		out = append(out, fault.Detail{Field: "spec.cpuReservationMHz", Message: "must not be above cpuLimitMHz: what is reserved could never be used"})
	}
	return out
}
