package cli

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func projects() *noun {
	return &noun{api: client.As[record](client.Projects), group: groupCloud, sample: "shop", short: "Tenants, and what they may use",
		long: "A project owns VMs, disks, networks and images, and sees nothing of other projects. It is deleted when\nnothing is in it but the network default, which was made with it and goes with it.", verbs: everyVerb, commands: projectCommands,
		columns: []column{limit("VMs", "vms"), limit("CPUs", "cpus"), limit("Memory", "memoryMiB"), limit("Disk", "diskMiB"), computed("Other limits", otherLimits),
			field("Description", at(&projectOf.Spec.Description)), trouble()}}
}

// limit is a part of a quota, and what is used of it.
func limit(title, part string) column {
	return computed(title, func(s *lookup, r *record) string { return s.limited(r, part) })
}

// otherLimits are the parts of a quota that have no column of their own.
func otherLimits(s *lookup, r *record) string {
	var out []string
	quota, _ := r.at(at(&projectOf.Spec.Quota)).(map[string]any)
	for _, part := range slices.Sorted(maps.Keys(quota)) {
		if !slices.Contains([]string{"vms", "cpus", "memoryMiB", "diskMiB"}, part) {
			out = append(out, part+" "+s.limited(r, part))
		}
	}
	return strings.Join(out, ", ")
}

func (s *lookup) limited(r *record, part string) string {
	say := func(n int64) string {
		if strings.HasSuffix(part, "MiB") && n > 0 {
			return size(n)
		}
		return strconv.FormatInt(n, 10)
	}
	most := "no limit"
	if quota, _ := r.at(at(&projectOf.Spec.Quota)).(map[string]any); quota[part] != nil {
		most = say(r.number(at(&projectOf.Spec.Quota) + "." + part))
	}
	if u := s.usageOf(r.Name); u != nil {
		return say(u.number("used."+part)) + " of " + most
	}
	return most
}

// usageOf is what a project uses, asked once for all; nil where nobody says it.
func (s *lookup) usageOf(project string) *record {
	if s.usage == nil {
		var answer struct{ Items []*record }
		_ = s.do(s.ctx, client.Call{Method: "GET", Path: "/v1/usage", Out: &answer}) // an older server has no such route
		s.usage = map[string]*record{}
		for _, u := range answer.Items {
			s.usage[u.text("project")] = u
		}
	}
	return s.usage[project]
}

// quota are the flags that limit a project.
type quota struct {
	named map[string]*string // what has a flag of its own, by its name in a quota
	more  []string           // NAME=NUMBER
}

func addQuota(c *cobra.Command) *quota {
	q := &quota{named: map[string]*string{}}
	for _, f := range []struct{ flag, name, help string }{
		{"vms", "vms", "how many VMs; none: no limit"},
		{"cpus", "cpus", "how many virtual CPUs; none: no limit"},
		{"memory", "memoryMiB", "how much memory, for example 16GiB; none: no limit"},
		{"disk", "diskMiB", "how much disk, for example 1TiB; none: no limit"},
	} {
		q.named[f.name] = c.Flags().String("quota-"+f.flag, "", f.help)
	}
	c.Flags().StringArrayVar(&q.more, "quota", nil, "how many of anything that is counted, as NAME=NUMBER, for example networks=5; NAME=none: no limit; can be repeated")
	return q
}

// spec gives what is said of the quota: a number, or nil for no limit.
func (q *quota) spec() (map[string]any, error) {
	out := map[string]any{}
	for name, text := range q.named {
		if err := say(out, name, *text, "--quota-"+strings.TrimSuffix(name, "MiB")); err != nil {
			return nil, err
		}
	}
	for _, pair := range q.more {
		name, text, both := strings.Cut(pair, "=")
		if !both || name == "" || text == "" {
			return nil, refuse("--quota %s: say NAME=NUMBER, for example networks=5", pair)
		}
		if _, twice := out[name]; twice {
			return nil, refuse("--quota %s: %s is limited twice", pair, name)
		}
		if err := say(out, name, text, "--quota "+name); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// say reads one limit of a quota; what is not said is left out.
func say(out map[string]any, name, text, flag string) error {
	read := parseCount
	if strings.HasSuffix(name, "MiB") {
		read = parseSize
	}
	switch text {
	case "":
	case "none":
		out[name] = nil
	default:
		n, err := read(text)
		if err != nil {
			return refuse("%s: %v", flag, err)
		}
		out[name] = n
	}
	return nil
}

func projectCommands(s *session, n *noun) []*cobra.Command {
	var description string
	create := &cobra.Command{Use: "create NAME", Short: "Create a project", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga project create shop --quota-vms 20 --quota-memory 64GiB\n  virga vm list --project shop"}
	create.Flags().StringVar(&description, "description", "", "for people")
	limits, m := addQuota(create), addMaking(create)
	create.RunE = func(cmd *cobra.Command, args []string) error {
		spec := texts(map[string]string{key(&projectOf.Spec.Description): description})
		q, err := limits.spec()
		if err != nil {
			return err
		}
		if len(q) > 0 {
			spec[key(&projectOf.Spec.Quota)] = q
		}
		return s.create(cmd, n, args[0], spec, m)
	}
	change := &cobra.Command{Use: "quota NAME", Short: "Change what a project may use", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Example: "  virga project quota shop --quota-vms 40 --quota-disk none"}
	changed := addQuota(change)
	change.RunE = func(cmd *cobra.Command, args []string) error {
		q, err := changed.spec()
		if err == nil && len(q) == 0 {
			err = refuse("%s: say at least one limit, for example --quota-vms 40", called(cmd))
		}
		if err != nil {
			return err
		}
		return s.patch(cmd, n, args[0], map[string]any{"spec": map[string]any{key(&projectOf.Spec.Quota): q}}, "has new limits")
	}
	return []*cobra.Command{create, change}
}
