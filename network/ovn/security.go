package ovn

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/ovn/nbdb"
)

// A network has a port group for each security group that some of its ports are in, with the rules of the group
// as ACLs: what no rule lets through is dropped. The members of a group, of all networks, are an address set,
// which rules of others name; it belongs to the group, so that a new member changes no network but its own.

// The priorities of ACLs. What the platform answers for itself passes every firewall, as rules could only break it.
const (
	dropPriority     = 1000
	rulePriority     = 2000
	platformPriority = 3000
)

// said is in external_ids of an ACL the rule that it is made of: group/rule.
const said = "virga-rule"

// membersSet names the addresses of a group's members, as matches write it.
func membersSet(group resource.ID) string {
	return "virga_members_" + strings.ReplaceAll(string(group), "-", "_")
}

// members makes the addresses of a group's members.
func (k *compiler) members(g *network.SecurityGroup) {
	key := "addresses/members-" + string(g.ID)
	var addresses []string
	for _, p := range k.ports {
		addresses = append(addresses, p.Status.Address)
	}
	slices.Sort(addresses)
	k.add(key, &nbdb.AddressSet{Name: membersSet(g.ID), Addresses: slices.Compact(addresses), ExternalIDs: marked(key)})
}

// closed are the groups that hold a port back: none, where one of its groups is open.
func closed(p *network.Port, groups map[resource.ID]*network.SecurityGroup) (out []*network.SecurityGroup) {
	for _, id := range p.Spec.SecurityGroupIDs {
		g := groups[id]
		if g == nil {
			continue
		}
		if g.Spec.Open() {
			return nil
		}
		out = append(out, g)
	}
	return out
}

// firewalls makes the port groups of a network, of the ports that have rows.
func (k *compiler) firewalls(n *network.Network) {
	groups := map[resource.ID]*network.SecurityGroup{}
	for _, g := range k.groups {
		groups[g.ID] = g
	}
	members := map[*network.SecurityGroup][]string{}
	for _, p := range k.onHosts() {
		for _, g := range closed(p, groups) {
			members[g] = append(members[g], portKey(p.ID))
		}
	}
	for _, g := range k.groups {
		if len(members[g]) > 0 {
			k.firewall(n, g, members[g])
		}
	}
}

func (k *compiler) firewall(n *network.Network, g *network.SecurityGroup, ports []string) {
	id := string(n.ID) + "-" + string(g.ID)
	key := "portgroup/" + id
	pg := &nbdb.PortGroup{Name: "virga_" + strings.ReplaceAll(id, "-", "_"), Ports: ports, ExternalIDs: marked(key)}
	k.add(key, pg)
	acl := func(name, rule string, priority int, direction, match, action string) {
		key := "acl/" + id + "/" + name
		pg.ACLs = append(pg.ACLs, k.add(key, &nbdb.ACL{Priority: priority, Direction: direction, Match: match, Action: action,
			ExternalIDs: map[string]string{mark: key, said: g.Name + "/" + rule}}))
	}
	from, to := "inport == @"+pg.Name, "outport == @"+pg.Name
	acl("drop.in", "", dropPriority, nbdb.ACLDirectionToLport, to+" && ip", nbdb.ACLActionDrop)
	acl("drop.out", "", dropPriority, nbdb.ACLDirectionFromLport, from+" && ip", nbdb.ACLActionDrop)
	acl("dhcp", "", platformPriority, nbdb.ACLDirectionFromLport, from+" && ip4 && udp.src == 68 && udp.dst == 67", nbdb.ACLActionAllow)
	acl("service", "", platformPriority, nbdb.ACLDirectionFromLport, from+" && ip4.dst == {"+strings.Join(k.services(), ", ")+"}", nbdb.ACLActionAllowRelated)
	for _, r := range g.Spec.Rules {
		direction, port := nbdb.ACLDirectionToLport, to
		if r.Direction == network.Egress {
			direction, port = nbdb.ACLDirectionFromLport, from
		}
		acl(r.Name, r.Name, rulePriority, direction, port+" && "+matchOf(r), nbdb.ACLActionAllowRelated)
	}
}

// matchOf writes what a rule lets through, besides the port.
func matchOf(r network.SecurityRule) string {
	words := []string{map[network.Protocol]string{network.TCP: "ip4 && tcp", network.UDP: "ip4 && udp", network.ICMP: "icmp4"}[r.Protocol]}
	if words[0] == "" {
		words[0] = "ip4"
	}
	side := "ip4.src"
	if r.Direction == network.Egress {
		side = "ip4.dst"
	}
	switch {
	case r.GroupID != "":
		words = append(words, side+" == $"+membersSet(r.GroupID))
	case r.CIDR != network.Anywhere:
		words = append(words, side+" == "+r.CIDR)
	}
	switch {
	case r.FirstPort == 0:
	case r.FirstPort == r.LastPort:
		words = append(words, fmt.Sprintf("%s.dst == %d", r.Protocol, r.FirstPort))
	default:
		words = append(words, fmt.Sprintf("%[1]s.dst >= %[2]d && %[1]s.dst <= %[3]d", r.Protocol, r.FirstPort, r.LastPort))
	}
	return strings.Join(words, " && ")
}

// groupFacts deals groups out: to the networks of their ports, and to themselves where rules speak of their members.
func groupFacts(c Cloud, all []facts, at map[resource.ID]int) []facts {
	groups, spoken := map[resource.ID]*network.SecurityGroup{}, map[resource.ID]bool{}
	for _, g := range c.Groups {
		groups[g.ID] = g
		for _, r := range g.Spec.Rules {
			spoken[r.GroupID] = true
		}
	}
	used, members := map[[2]resource.ID]bool{}, map[resource.ID][]*network.Port{}
	for _, p := range c.Ports {
		for _, id := range p.Spec.SecurityGroupIDs {
			g, i, pair := groups[id], at[p.Spec.NetworkID], [2]resource.ID{p.Spec.NetworkID, id}
			if g == nil || i == 0 {
				continue
			}
			members[id] = append(members[id], p)
			if !used[pair] {
				used[pair] = true
				all[i].groups = append(all[i].groups, g)
			}
		}
	}
	for _, f := range all {
		slices.SortFunc(f.groups, func(a, b *network.SecurityGroup) int { return cmp.Compare(a.ID, b.ID) })
	}
	for _, g := range c.Groups {
		if spoken[g.ID] {
			all = append(all, facts{group: g, ports: members[g.ID]})
		}
	}
	return all
}
