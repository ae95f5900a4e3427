package host

import (
	"regexp"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// The overcommitment of a host that nobody decided about: processors are idle most of the time
// and can be shared; memory cannot.
const (
	DefaultCPUOvercommitPercent    = 400
	DefaultMemoryOvercommitPercent = 100
)

const maxOvercommitPercent = 3200

var zoneName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

// New makes a host that takes work.
func New(id resource.ID, name string) *Host {
	h := &Host{Meta: resource.Meta{Kind: Hosts.Kind, ID: id, Name: name}}
	Default(&h.Spec)
	return h
}

// Default fills in what a host's spec leaves out.
func Default(s *Spec) {
	if s.Mode == "" {
		s.Mode = Active
	}
	if s.CPUOvercommitPercent == 0 {
		s.CPUOvercommitPercent = DefaultCPUOvercommitPercent
	}
	if s.MemoryOvercommitPercent == 0 {
		s.MemoryOvercommitPercent = DefaultMemoryOvercommitPercent
	}
}

// Check lists everything that is wrong with a host's spec.
func Check(s *Spec) []fault.Detail {
	var out []fault.Detail
	wrong := func(field, message string) { out = append(out, fault.Detail{Field: field, Message: message}) }
	if s.Mode != Active && s.Mode != Maintenance {
		wrong("spec.mode", "must be active or maintenance")
	}
	if s.Zone != "" && !zoneName.MatchString(s.Zone) {
		wrong("spec.zone", "must be lower case letters, digits and dashes, at most 63")
	}
	if s.CPUOvercommitPercent < 10 || s.CPUOvercommitPercent > maxOvercommitPercent {
		wrong("spec.cpuOvercommitPercent", "must be between 10 and 3200; 100 promises each thread once")
	}
	if s.MemoryOvercommitPercent < 10 || s.MemoryOvercommitPercent > maxOvercommitPercent {
		wrong("spec.memoryOvercommitPercent", "must be between 10 and 3200; 100 promises each MiB once")
	}
	return out
}
