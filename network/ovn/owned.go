package ovn

import (
	"cmp"
	"slices"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/network"
)

// Owned is the rows of one owner: a network, a security group, or what all networks share. They refer to no rows of another
// owner, so that each can be compiled, compared and sent without the others. It is never changed: other
// rows are another Owned.
type Owned struct {
	Owner resource.ID // of the network or the group; empty for what is shared
	Rows  []Row

	facts facts
}

// facts is all that the rows of an owner are made of. A record that changes is another record in the next
// snapshot, so that facts are the same when their records are.
type facts struct {
	network *network.Network
	subnets []*network.Subnet
	ports   []*network.Port // of a network, or the members of a security group
	bound   []*network.PortBinding
	groups  []*network.SecurityGroup // those that its ports are in
	ways    []resource.ID            // the hosts that it goes out by

	group *network.SecurityGroup // whose members others speak of

	routers []resource.ID // of what is shared: the networks that go out
	hosts   []string      // of what is shared: the addresses of all hosts
}

func (f facts) same(g facts) bool {
	return f.network == g.network && f.group == g.group && slices.Equal(f.groups, g.groups) && slices.Equal(f.subnets, g.subnets) && slices.Equal(f.ports, g.ports) &&
		slices.Equal(f.bound, g.bound) && slices.Equal(f.ways, g.ways) &&
		slices.Equal(f.hosts, g.hosts) && slices.Equal(f.routers, g.routers)
}

// Compiler compiles a cloud again and again: owners of which no fact has changed keep what they have.
type Compiler struct {
	gateways []resource.ID
	owned    map[resource.ID]*Owned
}

// Compile makes the rows of the whole cloud, by owner.
func (c *Compiler) Compile(cloud Cloud) []*Owned {
	hosts := gateways(cloud)
	redraw := !slices.Equal(hosts, c.gateways)
	now, out := map[resource.ID]*Owned{}, []*Owned(nil)
	for _, f := range factsOf(cloud) {
		id := f.owner()
		old := c.owned[id]
		if f.network != nil && goesOut(f.network) { // to draw costs more than all else: it is done when hosts change
			if old != nil && !redraw && goesOut(old.facts.network) {
				f.ways = old.facts.ways
			} else {
				f.ways = drawn(hosts, id)
			}
		}
		if old == nil || !old.facts.same(f) {
			old = &Owned{Owner: id, Rows: f.rows(), facts: f}
		}
		now[id] = old
		out = append(out, old)
	}
	c.gateways, c.owned = hosts, now
	return out
}

// Compile makes the rows of the whole cloud.
func Compile(cloud Cloud) []Row { return rowsOf(new(Compiler).Compile(cloud)) }

func rowsOf(all []*Owned) (out []Row) {
	for _, o := range all {
		out = append(out, o.Rows...)
	}
	return out
}

// factsOf deals a cloud out to owners, what is shared first.
func factsOf(c Cloud) []facts {
	all, at := make([]facts, 1, len(c.Networks)+1), map[resource.ID]int{}
	for _, n := range c.Networks {
		at[n.ID] = len(all)
		all = append(all, facts{network: n})
		if goesOut(n) {
			all[0].routers = append(all[0].routers, n.ID)
		}
	}
	all[0].hosts = addressesOf(c.Hosts)
	for _, s := range c.Subnets {
		if i := at[s.Spec.NetworkID]; i > 0 {
			all[i].subnets = append(all[i].subnets, s)
		}
	}
	for _, p := range c.Ports {
		if i := at[p.Spec.NetworkID]; i > 0 {
			all[i].ports = append(all[i].ports, p)
		}
	}
	for _, b := range c.PortBindings {
		if i := at[b.Spec.NetworkID]; i > 0 {
			all[i].bound = append(all[i].bound, b)
		}
	}
	for _, f := range all { // guests are told of all of a network, in an order that stays
		slices.SortFunc(f.subnets, func(a, b *network.Subnet) int { return cmp.Compare(a.ID, b.ID) })
	}
	return groupFacts(c, all, at)
}

func (f facts) owner() resource.ID {
	switch {
	case f.network != nil:
		return f.network.ID
	case f.group != nil:
		return f.group.ID
	}
	return ""
}

func (f facts) rows() []Row {
	k := &compiler{facts: f, bindings: map[resource.ID][]*network.PortBinding{}}
	for _, b := range f.bound {
		k.bindings[b.Spec.PortID] = append(k.bindings[b.Spec.PortID], b)
	}
	switch {
	case f.network != nil:
		k.makeNetwork(f.network)
	case f.group != nil:
		k.members(f.group)
	default:
		k.outside(f.routers)
		k.guard(f.hosts)
	}
	return k.rows
}

// changed gives those of want that are not in force as they are, and the rows that were there for them and for
// owners that have gone.
func changed(inForce, want []*Owned) (now, before []Row) {
	stays := map[*Owned]bool{}
	for _, o := range inForce {
		stays[o] = false
	}
	for _, o := range want {
		if _, same := stays[o]; same {
			stays[o] = true
		} else {
			now = append(now, o.Rows...)
		}
	}
	for _, o := range inForce {
		if !stays[o] {
			before = append(before, o.Rows...)
		}
	}
	return now, before
}
