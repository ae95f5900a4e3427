package cli

import (
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func projects() *noun {
	return &noun{api: client.As[record](client.Projects), group: groupCloud, sample: "shop", short: "Tenants, and what they may use",
		long: "A project owns VMs, disks, networks and images, and sees nothing of other projects. It is deleted when\nnothing is in it but the network default, which was made with it and goes with it.", verbs: everyVerb, commands: projectCommands,
		columns: []column{limit("VMs", "vms", false), limit("CPUs", "cpus", false), limit("Memory", "memoryMiB", true), limit("Disk", "diskMiB", true),
			field("Description", at(&projectOf.Spec.Description)), trouble()}}
}

// limit is a part of a quota, and what is used of it.
func limit(title, part string, isSize bool) column {
	say := func(n int64) string {
		if isSize && n > 0 {
			return size(n)
		}
		return strconv.FormatInt(n, 10)
	}
	return computed(title, func(s *lookup, r *record) string {
		most := "no limit"
		if n := r.number("spec.quota." + part); n > 0 {
			most = say(n)
		}
		if u := s.usageOf(r.Name); u != nil {
			return say(u.number("used."+part)) + " of " + most
		}
		return most
	})
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
	vms, cpus    string
	memory, disk string
}

func addQuota(c *cobra.Command) *quota {
	q := &quota{}
	c.Flags().StringVar(&q.vms, "quota-vms", "", "how many VMs; none: no limit")
	c.Flags().StringVar(&q.cpus, "quota-cpus", "", "how many virtual CPUs; none: no limit")
	c.Flags().StringVar(&q.memory, "quota-memory", "", "how much memory, for example 16GiB; none: no limit")
	c.Flags().StringVar(&q.disk, "quota-disk", "", "how much disk, for example 1TiB; none: no limit")
	return q
}

func (q *quota) spec() (map[string]any, error) {
	out := map[string]any{}
	for _, part := range []struct {
		name, text string
		isSize     bool
	}{{"vms", q.vms, false}, {"cpus", q.cpus, false}, {"memoryMiB", q.memory, true}, {"diskMiB", q.disk, true}} {
		var n int64
		var err error
		switch {
		case part.text == "":
			continue
		case part.text == "none":
		case part.isSize:
			n, err = parseSize(part.text)
		default:
			n, err = parseCount(part.text)
		}
		if err != nil {
			return nil, refuse("--quota-%s: %v", strings.TrimSuffix(part.name, "MiB"), err)
		}
		out[part.name] = n
	}
	return out, nil
}

func projectCommands(s *session, n *noun) []*cobra.Command {
	var description string
	create := &cobra.Command{Use: "create NAME", Short: "Create a project", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga project create shop --quota-vms 20 --quota-memory 64GiB\n  virga vm list --project shop"}
	create.Flags().StringVar(&description, "description", "", "for people")
	limits, m := addQuota(create), addMaking(create)
	create.RunE = func(cmd *cobra.Command, args []string) error {
		spec := texts(map[string]string{"description": description})
		q, err := limits.spec()
		if err != nil {
			return err
		}
		if len(q) > 0 {
			spec["quota"] = q
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
		return s.patch(cmd, n, args[0], map[string]any{"spec": map[string]any{"quota": q}}, "has new limits")
	}
	return []*cobra.Command{create, change}
}
