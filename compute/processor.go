package compute

import (
	"fmt"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/host"
)

// A VM has all the features of the processor that it was started on, until clusters have a baseline.
// Its guest uses what it found at its start: on a host that lacks one of them it would be killed by an
// instruction that is not there, at any moment after the switch.

// unfit says why a running VM cannot go on with another host's processor; empty: it can.
func unfit(source, target host.Profile) string {
	switch {
	case source.Accelerator != target.Accelerator:
		return fmt.Sprintf("runs guests with %s, not %s", target.Accelerator, source.Accelerator)
	case source.CPUFeatures == target.CPUFeatures && source.CPUVendor == target.CPUVendor:
		return ""
	case source.Accelerator == host.TCG && (source.CPUFeatures == "" || target.CPUFeatures == ""):
		return "" // software offers what its version offers, and the machine type answers for that
	case source.CPUFeatures == "":
		return "may lack features: the source has not reported those of its processor; its agent does at its next start"
	case target.CPUFeatures == "":
		return "has not reported the features of its processor; its agent does at its next start"
	case source.CPUVendor != target.CPUVendor:
		return fmt.Sprintf("has a processor by %s, not %s", target.CPUVendor, source.CPUVendor)
	}
	if missing := missingFeatures(source.CPUFeatures, target.CPUFeatures); len(missing) > 0 {
		return "has a processor without " + listed(missing)
	}
	return ""
}

// missingFeatures are those of the first list that the second lacks, in the order of the first.
func missingFeatures(need, have string) []string {
	offered := map[string]bool{}
	for _, f := range strings.Fields(have) {
		offered[f] = true
	}
	return slices.DeleteFunc(strings.Fields(need), func(f string) bool { return offered[f] })
}

// listed names some and counts the rest.
func listed(names []string) string {
	const shown = 8
	if len(names) > shown {
		return fmt.Sprintf("%s and %d more features", strings.Join(names[:shown], ", "), len(names)-shown)
	}
	return strings.Join(names, ", ")
}

// unfitHosts are the hosts whose processors a running VM cannot go on with, and why, in words. Where the
// target is given, only it is looked at.
func unfitHosts(snap *store.Snapshot, source *host.Host, i *Instance, target resource.ID) (ids []resource.ID, why []string) {
	from := source.Status.Profile
	from.Accelerator = i.Spec.Accelerator
	for _, h := range store.Every(snap, host.Hosts) {
		if h.ID == source.ID || target != "" && h.ID != target {
			continue
		}
		if words := unfit(from, h.Status.Profile); words != "" {
			ids, why = append(ids, h.ID), append(why, "host "+h.Name+" "+words)
		}
	}
	return ids, why
}

// otherwise adds to a refusal which hosts were left out for their processors.
func otherwise(err error, vm *VM, why []string) error {
	if err == nil || len(why) == 0 {
		return err
	}
	if len(why) > 5 {
		why = append(slices.Clone(why[:5]), fmt.Sprintf("%d more hosts likewise", len(why)-5))
	}
	return fault.Wrap(fault.New(fault.KindOf(err), "%w; %s", err, strings.Join(why, "; ")), "migrate VM %s", vm.Name)
}
