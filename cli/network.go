package cli

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/virga-cloud/virga/client"
)

func networks() *noun {
	return &noun{api: client.As[record](client.Networks), group: groupNetwork, sample: "lan", short: "Virtual networks",
		long:  "A network belongs to one project and reaches over all hosts. Its subnets say which addresses its\nVMs get.",
		verbs: everyVerb, commands: networkCommands,
		columns: []column{state("State"), computed("Subnets", subnetsText), field("Outside", at(&networkOf.Spec.Outside)), field("Domain", at(&networkOf.Spec.Domain)).wide(),
			field("MTU", at(&networkOf.Spec.MTU)).wide(), field("Outside address", at(&networkOf.Status.OutsideAddress)).wide(), field("Description", at(&networkOf.Spec.Description)).only(), trouble()}}
}

func subnetsText(s *lookup, r *record) string {
	var out string
	all, _ := s.list(s.ctx, subnets(), r.Project)
	for _, x := range all {
		if x.text(at(&subnetOf.Spec.NetworkID)) != r.ID {
			continue
		}
		if out != "" {
			out += ", "
		}
		out += x.text(at(&subnetOf.Spec.CIDR))
	}
	return out
}

func networkCommands(s *session, n *noun) []*cobra.Command {
	var cidr, outside, domain, description string
	var mtu int64
	c := &cobra.Command{Use: "create NAME [--cidr RANGE]", Short: "Create a network, and its first subnet", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga network create lan --cidr 10.1.0.0/24\n  virga network create inner --cidr 10.2.0.0/24 --outside none"}
	f := c.Flags()
	f.StringVar(&cidr, "cidr", "", "range of a subnet of the same name, for example 10.1.0.0/24")
	f.StringVar(&outside, "outside", "", "how it reaches the world: nat or none (default nat)")
	f.StringVar(&domain, "domain", "", "DNS domain of its VMs")
	f.StringVar(&description, "description", "", "for people")
	f.Int64Var(&mtu, "mtu", 0, "largest packet, in bytes (default: what fits)")
	fixed(c, "outside", "nat", "none")
	m := addMaking(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		spec := texts(map[string]string{key(&networkOf.Spec.Outside): outside, key(&networkOf.Spec.Domain): domain, key(&networkOf.Spec.Description): description})
		if mtu != 0 {
			spec[key(&networkOf.Spec.MTU)] = mtu
		}
		r, err := s.post(cmd, n, args[0], spec, m)
		if err != nil {
			return err
		}
		// A subnet of a network that is not there cannot be judged.
		if dry, _ := dryRun(cmd); cidr != "" && !dry {
			if _, err := s.post(cmd, subnets(), args[0], map[string]any{key(&subnetOf.Spec.NetworkID): r.ID, key(&subnetOf.Spec.CIDR): cidr}, m); err != nil {
				// A network without the range that was asked for is not what was asked for.
				if undo := s.do(context.WithoutCancel(cmd.Context()), client.Call{Method: "DELETE", Path: s.path(n, r.Project, r.ID)}); undo != nil {
					return fmt.Errorf("network %s is created, but its subnet is not (`virga subnet create` makes one): %w", args[0], err)
				}
				return err
			}
		}
		return s.made(cmd, n, r, m)
	}
	return []*cobra.Command{c, s.traceCommand()}
}

// texts makes a spec of what is not empty.
func texts(in map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range in {
		if v != "" {
			out[k] = v
		}
	}
	return out
}

func subnets() *noun {
	return &noun{api: client.As[record](client.Subnets), group: groupNetwork, sample: "lan", short: "Ranges of addresses in networks",
		long: "The first address of a range is its router's, the second that of DNS and metadata.", verbs: everyVerb, commands: subnetCommands,
		columns: []column{state("State"), name("Network", "network", at(&subnetOf.Spec.NetworkID)), field("Range", at(&subnetOf.Spec.CIDR)), field("Gateway", at(&subnetOf.Spec.Gateway)),
			field("Free", at(&subnetOf.Status.FreeAddresses)), field("DNS and metadata", at(&subnetOf.Spec.Service)).wide(), field("Resolvers", at(&subnetOf.Spec.DNS)).only(), trouble()}}
}

func subnetCommands(s *session, n *noun) []*cobra.Command {
	var network, cidr, gateway string
	var dns []string
	c := &cobra.Command{Use: "create NAME --network NETWORK --cidr RANGE", Short: "Add a range of addresses to a network", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga subnet create more --network lan --cidr 10.1.1.0/24"}
	f := c.Flags()
	f.StringVar(&network, "network", "", "the network")
	f.StringVar(&cidr, "cidr", "", "the range, for example 10.1.1.0/24")
	f.StringVar(&gateway, "gateway", "", "the router's address (default: the first)")
	f.StringSliceVar(&dns, "dns", nil, "a resolver for names of the world; may be repeated (default: the hosts' own)")
	s.completeFlag(c, "network", "network")
	m := addMaking(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		if network == "" || cidr == "" {
			return refuse("%s: say --network and --cidr", called(cmd))
		}
		spec := texts(map[string]string{key(&subnetOf.Spec.NetworkID): network, key(&subnetOf.Spec.CIDR): cidr, key(&subnetOf.Spec.Gateway): gateway})
		if len(dns) > 0 {
			spec[key(&subnetOf.Spec.DNS)] = dns
		}
		return s.create(cmd, n, args[0], spec, m)
	}
	return []*cobra.Command{c}
}

func ports() *noun {
	return &noun{api: client.As[record](client.Ports), group: groupNetwork, sample: "web-nic0", short: "MAC and IP addresses in networks",
		long: "A port has a MAC and an IP address. The ports of a VM's NICs are made and go with it;\none that was made by itself keeps its addresses for the next VM.", verbs: everyVerb, commands: portCommands,
		columns: []column{state("State"), name("Network", "network", at(&portOf.Spec.NetworkID)), field("Address", at(&portOf.Status.Address)), field("MAC", at(&portOf.Status.MAC)),
			computed("VM", func(s *lookup, r *record) string { return userText(s, r, "nics", "portID") }), name("Hosts", "host", at(&portOf.Status.HostIDs)).wide(), name("Subnet", "subnet", at(&portOf.Status.SubnetID)).wide(), field("Hostname", at(&portOf.Spec.Hostname)).wide(), computed("Security groups", groupsText).wide(), computed("Limits", portLimits).only(), trouble()}}
}

// groupsText names the security groups of a port.
func groupsText(s *lookup, r *record) string {
	var out []string
	for _, id := range r.list(at(&portOf.Spec.SecurityGroupIDs)) {
		out = append(out, s.nameOf(s.ctx, "securitygroup", r.Project, fmt.Sprint(id)))
	}
	return strings.Join(out, ", ")
}

func portLimits(_ *lookup, r *record) string {
	send, receive := r.number(at(&portOf.Spec.SendKbps)), r.number(at(&portOf.Spec.ReceiveKbps))
	if send == 0 && receive == 0 {
		return ""
	}
	return "sends " + rateText(send) + ", receives " + rateText(receive)
}

func portCommands(s *session, n *noun) []*cobra.Command {
	var network, subnet, address, mac, hostname string
	c := &cobra.Command{Use: "create NAME [--network NETWORK]", Short: "Reserve addresses in a network", Args: exactly("NAME"), ValidArgsFunction: cobra.NoFileCompletions,
		Example: "  virga port create web --network lan --address 10.1.0.10\n  virga vm create web --image tiny --network port=web"}
	f := c.Flags()
	f.StringVar(&network, "network", "default", "the network")
	f.StringVar(&subnet, "subnet", "", "the subnet (default: the network's first with free addresses)")
	f.StringVar(&address, "address", "", "its address (default: the lowest that is free)")
	f.StringVar(&mac, "mac", "", "its hardware address (default: made up)")
	f.StringVar(&hostname, "hostname", "", "the name that DNS gives it")
	s.completeFlag(c, "network", "network")
	s.completeFlag(c, "subnet", "subnet")
	var more portFlags
	more.flags(s, c)
	m := addMaking(c)
	c.RunE = func(cmd *cobra.Command, args []string) error {
		spec := texts(map[string]string{key(&portOf.Spec.NetworkID): network, key(&portOf.Spec.SubnetID): subnet, key(&portOf.Spec.Address): address, key(&portOf.Spec.MAC): mac, key(&portOf.Spec.Hostname): hostname})
		if err := more.put(cmd, spec); err != nil {
			return err
		}
		return s.create(cmd, n, args[0], spec, m)
	}
	return []*cobra.Command{c, s.portSet(n)}
}
