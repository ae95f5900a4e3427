package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func pools() *noun {
	return &noun{api: client.As[record](client.Pools), typed: "pool", says: "resource pool", group: groupCloud, sample: "gold", short: "Capacity of a cluster that VMs share",
		long: "A resource pool has shares, a reservation and a limit of its cluster's processors and memory; the VMs in it\n" +
			"(`virga vm create --pool`) and the pools in it divide what it gets.", verbs: everyVerb, commands: poolCommands,
		columns: []column{name("Cluster", "cluster", at(&poolOf.Spec.ClusterID)), name("Parent", "resourcepool", at(&poolOf.Spec.ParentID)), field("VMs", at(&poolOf.Status.Vms)),
			computed("CPU reserved", func(_ *lookup, r *record) string {
				return ofMHz(r.number(at(&poolOf.Status.CPUReservedMHz)), r.number(at(&poolOf.Spec.CPUReservationMHz)))
			}),
			computed("Memory reserved", func(_ *lookup, r *record) string {
				return ofSize(r.number(at(&poolOf.Status.MemoryReservedMiB)), r.number(at(&poolOf.Spec.MemoryReservationMiB)))
			}),
			field("CPU shares", at(&poolOf.Spec.CPUShares)).wide(), field("CPU limit MHz", at(&poolOf.Spec.CPULimitMHz)).wide(),
			field("Memory shares", at(&poolOf.Spec.MemoryShares)).wide(), sized("Memory limit", at(&poolOf.Spec.MemoryLimitMiB)).wide(),
			name("Project", "project", at(&poolOf.Spec.ProjectID)).wide(), computed("On hosts", partsText).only(), field("Description", at(&poolOf.Spec.Description)).only(), trouble()}}
}

// ofMHz says how much of a reservation is reserved in turn.
func ofMHz(used, all int64) string {
	if all == 0 && used == 0 {
		return "-"
	}
	return fmt.Sprintf("%d of %d MHz", used, all)
}

func ofSize(used, all int64) string {
	if all == 0 && used == 0 {
		return "-"
	}
	return strings.Replace(size(used), "-", "0", 1) + " of " + strings.Replace(size(all), "-", "0", 1)
}

// partsText says what each host has of a pool.
func partsText(s *lookup, r *record) string {
	var out []string
	for _, p := range r.list(at(&poolOf.Status.Parts)) {
		number := func(field string) string { return cmp.Or(strings.Trim(member(p, field), "-"), "0") }
		limit := ""
		if l := number("cpuLimitMHz"); l != "0" {
			limit = ", at most " + l + " MHz"
		}
		out = append(out, fmt.Sprintf("%s: %s CPU shares, %s MHz reserved%s; %s memory shares, %s MiB reserved", s.nameOf(s.ctx, "host", "", member(p, "hostID")),
			number("cpuShares"), number("cpuReservationMHz"), limit, number("memoryShares"), number("memoryReservationMiB")))
	}
	return strings.Join(out, "\n")
}

// poolFlags are the settings of a pool.
type poolFlags struct {
	policy               cpuFlags
	share                memoryFlags
	description, project string
}

func (p *poolFlags) flags(s *session, c *cobra.Command) {
	f := c.Flags()
	f.Int64Var(&p.policy.shares, "cpu-shares", 0, "weight against the VMs and pools beside it where processors are short (default 4000, as 4 virtual CPUs)")
	f.Int64Var(&p.policy.reservation, "cpu-reservation", 0, "what those in it get together however busy the hosts are, in MHz")
	f.Int64Var(&p.policy.limit, "cpu-limit", 0, "the most that those in it get together, in MHz; 0: no limit")
	f.Int64Var(&p.share.shares, "memory-shares", 0, "weight against the VMs and pools beside it where memory is short (default 163840, as 16 GiB)")
	f.Var(&p.share.reservation, "memory-reservation", "what those in it keep together however short memory is, for example 4GiB")
	f.Var(&p.share.limit, "memory-limit", "the most that those in it get together, for example 16GiB; 0: no limit")
	f.StringVar(&p.project, "for-project", "", "the project whose VMs alone may be in it; any: all projects")
	f.StringVar(&p.description, "description", "", "for people")
	s.completeFlag(c, "for-project", "project")
}

// said is what was said of a pool.
func (p *poolFlags) said(cmd *cobra.Command) (map[string]any, error) {
	if err := errors.Join(p.policy.check(cmd), p.share.check(cmd)); err != nil {
		return nil, err
	}
	project := p.project
	if project == "any" {
		project = ""
	}
	out := map[string]any{}
	for flag, is := range map[string]struct {
		field string
		value any
	}{
		"cpu-shares": {key(&poolOf.Spec.CPUShares), p.policy.shares}, "cpu-reservation": {key(&poolOf.Spec.CPUReservationMHz), p.policy.reservation}, "cpu-limit": {key(&poolOf.Spec.CPULimitMHz), p.policy.limit},
		"memory-shares": {key(&poolOf.Spec.MemoryShares), p.share.shares}, "memory-reservation": {key(&poolOf.Spec.MemoryReservationMiB), p.share.reservation.mib}, "memory-limit": {key(&poolOf.Spec.MemoryLimitMiB), p.share.limit.mib},
		"for-project": {key(&poolOf.Spec.ProjectID), project}, "description": {key(&poolOf.Spec.Description), p.description},
	} {
		if cmd.Flags().Changed(flag) {
			out[is.field] = is.value
		}
	}
	return out, nil
}

func poolCommands(s *session, n *noun) []*cobra.Command {
	var cluster, parent string
	var wanted, changed poolFlags
	create := &cobra.Command{Use: "create NAME", Short: "Create a resource pool", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga pool create gold --cpu-reservation 8000 --cpu-shares 8000\n  virga pool create web --parent gold --cpu-limit 4000"}
	create.Flags().StringVar(&cluster, "cluster", "", "the cluster whose capacity it divides (default: its parent's, else default)")
	create.Flags().StringVar(&parent, "parent", "", "the pool that it lies in (default: none)")
	s.completeFlag(create, "cluster", "cluster")
	s.completeFlag(create, "parent", "resourcepool")
	wanted.flags(s, create)
	m := addMaking(create)
	create.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := wanted.said(cmd)
		if err != nil {
			return err
		}
		for field, text := range texts(map[string]string{key(&poolOf.Spec.ClusterID): cluster, key(&poolOf.Spec.ParentID): parent}) {
			spec[field] = text
		}
		return s.create(cmd, n, args[0], spec, m)
	}
	set := &cobra.Command{Use: "set NAME", Short: "Change what a resource pool gets", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Example: "  virga pool set gold --cpu-reservation 12000 --cpu-limit 0"}
	changed.flags(s, set)
	set.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := changed.said(cmd)
		if err == nil && len(spec) == 0 {
			err = refuse("%s: say what to change, for example --cpu-shares 8000", called(cmd))
		}
		if err != nil {
			return err
		}
		return s.patch(cmd, n, args[0], map[string]any{"spec": spec}, "has new settings")
	}
	return []*cobra.Command{create, set, s.poolTop()}
}
