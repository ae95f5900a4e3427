package host

import (
	"fmt"
	"regexp"
	"slices"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
)

// What may be promised for 100 of what a host has.
const leastOvercommitPercent, mostOvercommitPercent = 10, 3200

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
}

// Check lists everything that is wrong with a host's spec.
func Check(s *Spec) []fault.Detail {
	var out []fault.Detail
	wrong := func(field, message string) { out = append(out, fault.Detail{Field: field, Message: message}) }
	if !slices.Contains([]Mode{Active, Cordoned, Maintenance}, s.Mode) {
		wrong("spec.mode", "must be active, cordoned or maintenance")
	}
	if s.Zone != "" && !zoneName.MatchString(s.Zone) {
		wrong("spec.zone", "must be lower case letters, digits and dashes, at most 63")
	}
	if s.CPUOvercommitPercent != 0 {
		out = append(out, CheckOvercommit("spec.cpuOvercommitPercent", "thread", s.CPUOvercommitPercent)...)
	}
	if s.MemoryOvercommitPercent != 0 {
		out = append(out, CheckOvercommit("spec.memoryOvercommitPercent", "MiB", s.MemoryOvercommitPercent)...)
	}
	if s.PageSharing != "" && s.PageSharing != NeverShare && s.PageSharing != ShareWhenShort {
		wrong("spec.pageSharing", "must be never or when-short")
	}
	return out
}

// CheckOvercommit judges a percentage of a host or a cluster.
func CheckOvercommit(field, unit string, percent int64) []fault.Detail {
	if percent >= leastOvercommitPercent && percent <= mostOvercommitPercent {
		return nil
	}
	return []fault.Detail{{Field: field, Message: fmt.Sprintf("must be between %d and %d; 100 promises each %s once",
		leastOvercommitPercent, mostOvercommitPercent, unit)}}
}
