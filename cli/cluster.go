package cli

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func clusters() *noun {
	return &noun{api: client.As[record](client.Clusters), group: groupCloud, sample: "edge", short: "Hosts that share capacity and settings",
		long: "Every host is in one cluster: the one that `virga join --cluster` names, else the cluster default. What\na host does not say of itself (`virga host set`), its cluster says.", verbs: everyVerb, commands: clusterCommands,
		columns: []column{computed("Hosts", clusterHosts), field("CPU overcommit %", at(&clusterOf.Spec.CPUOvercommitPercent)), field("Memory overcommit %", at(&clusterOf.Spec.MemoryOvercommitPercent)),
			field("Description", at(&clusterOf.Spec.Description)), trouble()}}
}

// clusterHosts counts the hosts of a cluster.
func clusterHosts(s *lookup, r *record) string {
	all, _ := s.remembered(s.ctx, "host")
	n := 0
	for _, h := range all {
		if h.text(at(&hostOf.Spec.ClusterID)) == r.ID {
			n++
		}
	}
	return strconv.Itoa(n)
}

// overcommit are the flags of a cluster's settings, and of a host's own.
type overcommit struct{ cpu, memory string }

func addOvercommit(c *cobra.Command, none string) *overcommit {
	o := &overcommit{}
	c.Flags().StringVar(&o.cpu, "cpu-overcommit", "", "virtual CPUs promised for 100 threads of a host, for example 400"+none)
	c.Flags().StringVar(&o.memory, "memory-overcommit", "", "memory promised for 100 MiB of a host, for example 150"+none)
	return o
}

// spec is what was said; cluster stands for what the cluster says.
func (o *overcommit) spec(ofHost bool) (map[string]any, error) {
	out := map[string]any{}
	for name, text := range map[string]string{key(&clusterOf.Spec.CPUOvercommitPercent): o.cpu, key(&clusterOf.Spec.MemoryOvercommitPercent): o.memory} {
		n, err := strconv.ParseInt(strings.TrimSuffix(text, "%"), 10, 64)
		switch {
		case text == "":
		case ofHost && text == "cluster":
			out[name] = 0
		case err != nil:
			return nil, refuse("%q is no percentage: write a number, for example 150", text)
		default:
			out[name] = n
		}
	}
	return out, nil
}

func clusterCommands(s *session, n *noun) []*cobra.Command {
	var description string
	create := &cobra.Command{Use: "create NAME", Short: "Create a cluster", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga cluster create edge --cpu-overcommit 200 --memory-overcommit 100\n  virga host set h2 --cluster edge"}
	create.Flags().StringVar(&description, "description", "", "for people")
	settings, m := addOvercommit(create, ""), addMaking(create)
	create.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := settings.spec(false)
		if err != nil {
			return err
		}
		if description != "" {
			spec[key(&clusterOf.Spec.Description)] = description
		}
		return s.create(cmd, n, args[0], spec, m)
	}
	set := &cobra.Command{Use: "set NAME", Short: "Change the settings of a cluster", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Example: "  virga cluster set default --cpu-overcommit 300 --memory-overcommit 150"}
	set.Flags().StringVar(&description, "description", "", "for people")
	changed := addOvercommit(set, "")
	set.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := changed.spec(false)
		if err == nil && cmd.Flags().Changed("description") {
			spec[key(&clusterOf.Spec.Description)] = description
		}
		if err == nil && len(spec) == 0 {
			err = refuse("%s: say what to change, for example --memory-overcommit 150", called(cmd))
		}
		if err != nil {
			return err
		}
		return s.patch(cmd, n, args[0], map[string]any{"spec": spec}, "has new settings")
	}
	return []*cobra.Command{create, set}
}

// hostSet changes what a host says of itself beside its mode.
func (s *session) hostSet(n *noun) *cobra.Command {
	var cluster, sharing string
	c := &cobra.Command{Use: "set NAME", Short: "Change the cluster of a host, its own overcommitment, and whether guests share pages", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Example: "  virga host set h2 --cluster edge\n  virga host set h2 --memory-overcommit 150\n  virga host set h2 --memory-overcommit cluster\n  virga host set h2 --page-sharing when-short"}
	c.Flags().StringVar(&cluster, "cluster", "", "the cluster that it belongs to")
	s.completeFlag(c, "cluster", "cluster")
	c.Flags().StringVar(&sharing, "page-sharing", "", "when memory pages of the same content are kept once for all guests: never (default), when-short")
	own := addOvercommit(c, "; cluster: what its cluster says")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		spec, err := own.spec(true)
		if err == nil && cluster != "" {
			spec[key(&hostOf.Spec.ClusterID)] = cluster
		}
		if err == nil && sharing != "" {
			spec[key(&hostOf.Spec.PageSharing)] = sharing
		}
		if err == nil && len(spec) == 0 {
			err = refuse("%s: say what to change, for example --cluster edge", called(cmd))
		}
		if err != nil {
			return err
		}
		return s.patch(cmd, n, args[0], map[string]any{"spec": spec}, "has new settings")
	}
	return c
}

// ratio is how many percent of what a host has are promised, and who says so.
func ratio(s *lookup, r *record, setting string) (percent int64, from string) {
	if own := r.number("spec." + setting); own > 0 {
		return own, "its own"
	}
	if id := r.text(at(&hostOf.Spec.ClusterID)); id != "" {
		all, _ := s.remembered(s.ctx, "cluster")
		for _, c := range all {
			if n := c.number("spec." + setting); c.ID == id && n > 0 {
				return n, "of cluster " + c.Name
			}
		}
	}
	return 100, ""
}

func ratioText(setting string) func(*lookup, *record) string {
	return func(s *lookup, r *record) string {
		percent, from := ratio(s, r, setting)
		if from == "" {
			return ""
		}
		return fmt.Sprintf("%d (%s)", percent, from)
	}
}
