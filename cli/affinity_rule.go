package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func affinityRules() *noun {
	return &noun{api: client.As[record](client.AffinityRules), typed: "affinity-rule", says: "affinity rule", aliases: []string{"affinity-rules"}, group: groupVMs, sample: "apart", short: "Rules that keep VMs together, or apart",
		long: "An affinity rule keeps the VMs that name it together or apart, on hosts or in availability zones. Who is\n" +
			"placed keeps it: a VM that starts or moves. Where \"must\" cannot be kept no host is taken; \"should\" only prefers.",
		verbs: everyVerb, commands: affinityCommands,
		columns: []column{state("State"), field("Policy", at(&affinityRuleOf.Spec.Policy)), field("Strength", at(&affinityRuleOf.Spec.Strength)), field("Topology", at(&affinityRuleOf.Spec.Topology)),
			computed("VMs", ruledText), field("Description", at(&affinityRuleOf.Spec.Description)).only(), trouble()}}
}

// ruledText names the VMs that are in a rule.
func ruledText(s *lookup, r *record) string {
	var out []string
	all, _ := s.list(s.ctx, vms(), r.Project)
	for _, vm := range all {
		if slices.ContainsFunc(vm.list(at(&vmOf.Spec.AffinityRuleIDs)), func(id any) bool { return id == r.ID }) {
			out = append(out, vm.Name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

// ruleFlags are what is said of a rule.
type ruleFlags struct{ policy, strength, topology, description string }

func addRuleFlags(c *cobra.Command) *ruleFlags {
	f := &ruleFlags{}
	c.Flags().StringVar(&f.policy, "policy", "", "affinity (together) or anti-affinity (apart) (default anti-affinity)")
	c.Flags().StringVar(&f.strength, "strength", "", "must (a host that breaks it is refused) or should (it is taken if no better one is left) (default must)")
	c.Flags().StringVar(&f.topology, "topology", "", "what they share, or do not: host, zone (default host)")
	c.Flags().StringVar(&f.description, "description", "", "for people")
	fixed(c, "policy", "affinity", "anti-affinity")
	fixed(c, "strength", "must", "should")
	fixed(c, "topology", "host", "zone")
	return f
}

func (f *ruleFlags) spec(cmd *cobra.Command) map[string]any {
	out := map[string]any{}
	for flag, is := range map[string]struct{ field, value string }{
		"policy":      {key(&affinityRuleOf.Spec.Policy), f.policy},
		"strength":    {key(&affinityRuleOf.Spec.Strength), f.strength},
		"topology":    {key(&affinityRuleOf.Spec.Topology), f.topology},
		"description": {key(&affinityRuleOf.Spec.Description), f.description},
	} {
		if cmd.Flags().Changed(flag) {
			out[is.field] = is.value
		}
	}
	return out
}

func affinityCommands(s *session, n *noun) []*cobra.Command {
	create := &cobra.Command{Use: "create NAME", Short: "Create an affinity rule", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga affinity-rule create apart\n  virga affinity-rule create near --policy affinity --strength should\n  virga vm create web1 --image tiny --affinity-rule apart"}
	wanted, m := addRuleFlags(create), addMaking(create)
	create.RunE = func(cmd *cobra.Command, args []string) error {
		return s.create(cmd, n, args[0], wanted.spec(cmd), m)
	}
	set := &cobra.Command{Use: "set NAME", Short: "Change an affinity rule", Args: exactly("NAME"), ValidArgsFunction: s.completeNames(n, 1),
		Long:    "Change an affinity rule. VMs that run stay where they are; virga affinity-rule show says which of them break it.",
		Example: "  virga affinity-rule set apart --strength should"}
	changed := addRuleFlags(set)
	addDryRun(set)
	set.RunE = func(cmd *cobra.Command, args []string) error {
		spec := changed.spec(cmd)
		if len(spec) == 0 {
			return refuse("%s: say what to change, for example --strength should", called(cmd))
		}
		return s.patch(cmd, n, args[0], map[string]any{"spec": spec}, "has changed")
	}
	return []*cobra.Command{create, set, s.ruleMembers(n, "add", "Put VMs into an affinity rule"), s.ruleMembers(n, "remove", "Take VMs out of an affinity rule")}
}

// ruleMembers puts VMs into a rule, or takes them out. One that runs stays where it is.
func (s *session) ruleMembers(n *noun, verb, summary string) *cobra.Command {
	c := &cobra.Command{Use: verb + " NAME VM...", Short: summary, ValidArgsFunction: s.completeNames(n, 1),
		Long:    summary + ". A VM that runs stays where it is; the rule holds when it is placed next.",
		Example: "  virga affinity-rule " + verb + " apart web1 web2",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 2 {
				return refuse("%s: say the rule, and which VMs", called(cmd))
			}
			return nil
		}}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		rule, err := s.get(cmd.Context(), n, s.project, args[0])
		if err != nil {
			return err
		}
		for _, name := range args[1:] {
			vm, err := s.get(cmd.Context(), vms(), s.project, name)
			if err != nil {
				return err
			}
			ids := slices.DeleteFunc(slices.Clone(vm.list(at(&vmOf.Spec.AffinityRuleIDs))), func(id any) bool { return id == rule.ID })
			done := "is not in affinity rule " + rule.Name + " any more"
			if verb == "add" {
				ids, done = append(ids, rule.ID), "is in affinity rule "+rule.Name
			}
			if err := s.patch(cmd, vms(), name, map[string]any{"spec": map[string]any{key(&vmOf.Spec.AffinityRuleIDs): ids}}, done); err != nil {
				return err
			}
		}
		return nil
	}
	return c
}
