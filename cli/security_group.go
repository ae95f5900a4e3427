package cli

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func securityGroups() *noun {
	return &noun{api: client.As[record](client.SecurityGroups), typed: "security-group", says: "security group", aliases: []string{"security-groups"}, group: groupNetwork, sample: "web", short: "Firewalls that ports share",
		long: "A security group lets connections through to and from the ports that are in it, by its rules; all others are\n" +
			"dropped. Answers need no rule. A port in several groups has the rules of all of them. Ports that name no\n" +
			"group are in the project's \"default\", which lets everything through until its rules are others.",
		verbs: everyVerb, commands: groupCommands,
		columns: []column{state("State"), computed("Rules", rulesText), computed("Ports", membersText), field("Description", at(&securityGroupOf.Spec.Description)), trouble()}}
}

// rulesText says what each rule lets through.
func rulesText(s *lookup, r *record) string {
	var out []string
	for _, x := range r.list(at(&securityGroupOf.Spec.Rules)) {
		out = append(out, member(x, "name")+": "+ruleText(s, r, x))
	}
	return strings.Join(out, "; ")
}

func ruleText(s *lookup, r *record, rule any) string {
	word := func(field string) string { return strings.Trim(member(rule, field), "-") }
	to, from := "from", word("cidr")
	if word("direction") == string(client.Egress) {
		to = "to"
	}
	what := word("protocol")
	switch first, last := word("firstPort"), word("lastPort"); {
	case first == "" || first == "0":
	case first == last:
		what += " " + first
	default:
		what += " " + first + "-" + last
	}
	switch {
	case word("groupID") != "":
		from = "members of " + s.nameOf(s.ctx, "securitygroup", r.Project, word("groupID"))
	case from == "0.0.0.0/0":
		from = "anywhere"
	}
	return word("direction") + " " + what + " " + to + " " + from
}

// membersText names the ports that are in a group.
func membersText(s *lookup, r *record) string {
	var out []string
	all, _ := s.list(s.ctx, ports(), r.Project)
	for _, p := range all {
		if slices.ContainsFunc(p.list(at(&portOf.Spec.SecurityGroupIDs)), func(id any) bool { return id == r.ID }) {
			out = append(out, p.Name)
		}
	}
	slices.Sort(out)
	return strings.Join(out, ", ")
}

func groupCommands(s *session, n *noun) []*cobra.Command {
	var description string
	var closed bool
	create := &cobra.Command{Use: "create NAME", Short: "Create a security group", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Long:    "Create a security group, which lets its members connect to everybody and nobody to them, until it has more rules.",
		Example: "  virga security-group create web\n  virga security-group rule add web http --protocol tcp --ports 80\n  virga vm create web --image tiny --security-group web"}
	create.Flags().StringVar(&description, "description", "", "for people")
	create.Flags().BoolVar(&closed, "closed", false, "let its members connect to nobody either")
	m := addMaking(create)
	create.RunE = func(cmd *cobra.Command, args []string) error {
		spec := map[string]any{key(&securityGroupOf.Spec.Rules): []client.SecurityRule{{Name: "out", Direction: client.Egress}}}
		if closed {
			spec = map[string]any{}
		}
		if description != "" {
			spec[key(&securityGroupOf.Spec.Description)] = description
		}
		return s.create(cmd, n, args[0], spec, m)
	}
	rule := &cobra.Command{Use: "rule", Short: "Add and remove rules"}
	rule.AddCommand(s.addRule(n), s.removeRule(n))
	return []*cobra.Command{create, rule}
}

func (s *session) addRule(n *noun) *cobra.Command {
	var direction, protocol, ports, from, to, group, description string
	c := &cobra.Command{Use: "add GROUP RULE", Short: "Let connections through", Args: exactly("GROUP", "RULE"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Let connections through to the ports of a group (--from, --from-group, or from anywhere), or from them (--to,\n" +
			"--to-group). It holds at once, for connections that are open too.",
		Example: "  virga security-group rule add web http --protocol tcp --ports 80\n  virga security-group rule add db from-web --protocol tcp --ports 5432 --from-group web\n" +
			"  virga security-group rule add web dns --protocol udp --ports 53 --to 192.0.2.53"}
	f := c.Flags()
	f.StringVar(&protocol, "protocol", "any", "any, tcp, udp or icmp")
	f.StringVar(&ports, "ports", "", "a port, or several: 8000-8010 (default: all)")
	f.StringVar(&from, "from", "", "the range that may connect to its members, for example 10.0.0.0/8")
	f.StringVar(&group, "from-group", "", "the group whose members may")
	f.StringVar(&to, "to", "", "the range that its members may connect to")
	toGroup := f.String("to-group", "", "the group whose members they may connect to")
	f.StringVar(&description, "description", "", "for people")
	fixed(c, "protocol", "any", "tcp", "udp", "icmp")
	s.completeFlag(c, "from-group", "securitygroup")
	s.completeFlag(c, "to-group", "securitygroup")
	c.MarkFlagsMutuallyExclusive("from", "from-group", "to", "to-group")
	addDryRun(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		first, last, err := parsePorts(ports)
		if err != nil {
			return err
		}
		direction = string(client.Ingress)
		if to != "" || *toGroup != "" {
			direction = string(client.Egress)
		}
		added := client.SecurityRule{Name: args[1], Direction: client.SecurityRuleDirection(direction), Protocol: client.SecurityRuleProtocol(protocol),
			FirstPort: first, LastPort: last, CIDR: from + to, GroupID: group + *toGroup, Description: description}
		return s.changeRules(cmd, n, args[0], "has rule "+args[1], func(rules []client.SecurityRule) ([]client.SecurityRule, error) {
			return append(rules, added), nil
		})
	}
	return c
}

func (s *session) removeRule(n *noun) *cobra.Command {
	c := &cobra.Command{Use: "remove GROUP RULE", Aliases: []string{"rm"}, Short: "Let connections through no more", Args: exactly("GROUP", "RULE"), ValidArgsFunction: s.completeNames(n, 1),
		Long: "Remove a rule. What it let through is dropped at once, connections that are open too.", Example: "  virga security-group rule remove web http"}
	addDryRun(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		return s.changeRules(cmd, n, args[0], "has rule "+args[1]+" no more", func(rules []client.SecurityRule) ([]client.SecurityRule, error) {
			left := slices.DeleteFunc(slices.Clone(rules), func(r client.SecurityRule) bool { return r.Name == args[1] })
			if len(left) == len(rules) {
				return nil, fail("not-found", "security group %s has no rule %q; see virga security-group show %s", args[0], args[1], args[0])
			}
			return left, nil
		})
	}
	return c
}

// changeRules changes the rules of a group, again where somebody else was faster.
func (s *session) changeRules(cmd *cobra.Command, n *noun, name, done string, change func([]client.SecurityRule) ([]client.SecurityRule, error)) error {
	c, err := s.connection()
	if err != nil {
		return err
	}
	for attempt := 0; ; attempt++ {
		g, err := client.SecurityGroups.Get(cmd.Context(), c, s.project, name)
		if err != nil {
			return err
		}
		rules, err := change(g.Spec.Rules)
		if err != nil {
			return err
		}
		dry, query := dryRun(cmd)
		err = s.do(cmd.Context(), client.Call{Method: "PATCH", Path: s.path(n, s.project, g.ID), Query: query, In: map[string]any{"spec": map[string]any{key(&securityGroupOf.Spec.Rules): rules}}, Out: &record{}, IfMatch: g.Revision})
		if client.IsKind(err, "stale") && attempt < 20 {
			continue
		}
		if err != nil {
			return err
		}
		if dry {
			done = "would be changed"
		}
		fmt.Fprintf(cmd.OutOrStdout(), "security group %s %s\n", g.Name, done)
		return nil
	}
}

// parsePorts reads a port, or a range of them.
func parsePorts(text string) (first, last int64, err error) {
	if text == "" {
		return 0, 0, nil
	}
	a, b, several := strings.Cut(text, "-")
	if !several {
		b = a
	}
	x, wrongA := strconv.ParseUint(a, 10, 16)
	y, wrongB := strconv.ParseUint(b, 10, 16)
	if wrongA != nil || wrongB != nil || x == 0 || y < x {
		return 0, 0, refuse("--ports: %q is no port and no range of ports; write 80, or 8000-8010", text)
	}
	return int64(x), int64(y), nil
}
