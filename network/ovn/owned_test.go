package ovn

import (
	"fmt"
	"slices"
	"testing"

	"github.com/ovn-kubernetes/libovsdb/model"
	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/ovn/nbdb"
)

// oneChange gives a cloud in which one record is another, has gone or has come.
func oneChange(t *rapid.T, c Cloud) Cloud {
	next := Cloud{Networks: slices.Clone(c.Networks), Subnets: slices.Clone(c.Subnets), Ports: slices.Clone(c.Ports),
		PortBindings: slices.Clone(c.PortBindings), Groups: slices.Clone(c.Groups), Hosts: slices.Clone(c.Hosts), Lives: slices.Clone(c.Lives)}
	pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "which") }
	switch what := rapid.SampledFrom([]string{"port", "no port", "no binding", "no subnet", "network", "no network", "host", "new network", "rules", "member", "no group", "nothing"}).Draw(t, "what"); {
	case what == "port" && len(c.Ports) > 0:
		i := pick(len(c.Ports))
		next.Ports[i] = resource.Copy(c.Ports[i])
		next.Ports[i].Spec.SendKbps += 7
		next.Ports[i].Spec.Hostname = "renamed"
	case what == "no port" && len(c.Ports) > 0:
		next.Ports = slices.Delete(next.Ports, 0, 1)
	case what == "no binding" && len(c.PortBindings) > 0:
		i := pick(len(c.PortBindings))
		next.PortBindings = slices.Delete(next.PortBindings, i, i+1)
	case what == "no subnet" && len(c.Subnets) > 0:
		i := pick(len(c.Subnets))
		next.Subnets = slices.Delete(next.Subnets, i, i+1)
	case what == "network" && len(c.Networks) > 0:
		i := pick(len(c.Networks))
		next.Networks[i] = resource.Copy(c.Networks[i])
		if goesOut(c.Networks[i]) {
			next.Networks[i].Spec.Outside = network.Nowhere
		} else {
			next.Networks[i].Spec.Outside, next.Networks[i].Status.OutsideAddress = network.NAT, fmt.Sprintf("100.64.9.%d", i+2)
		}
	case what == "no network" && len(c.Networks) > 0:
		i := pick(len(c.Networks))
		next.Networks = slices.Delete(next.Networks, i, i+1)
	case what == "rules" && len(c.Groups) > 0:
		i := pick(len(c.Groups))
		next.Groups[i] = resource.Copy(c.Groups[i])
		next.Groups[i].Spec.Rules = append(next.Groups[i].Spec.Rules, network.SecurityRule{Name: fmt.Sprint("more", len(c.Groups[i].Spec.Rules)), Direction: network.Ingress, Protocol: network.ICMP, CIDR: network.Anywhere})
	case what == "member" && len(c.Groups)*len(c.Ports) > 0:
		i := pick(len(c.Ports))
		next.Ports[i] = resource.Copy(c.Ports[i])
		next.Ports[i].Spec.SecurityGroupIDs = []resource.ID{c.Groups[pick(len(c.Groups))].ID}
	case what == "no group" && len(c.Groups) > 0:
		next.Groups = slices.Delete(next.Groups, 0, 1)
	case what == "host":
		next.Hosts = append(next.Hosts, &host.Host{Meta: resource.Meta{ID: resource.ID(fmt.Sprint("new", len(c.Hosts)))}, Status: host.Status{Address: "192.0.2.99:1"}})
	case what == "new network":
		id := "new"
		for slices.ContainsFunc(c.Networks, func(x *network.Network) bool { return string(x.ID) == id }) {
			id += "er"
		}
		n := aNetwork(id, "p", network.NAT, fmt.Sprintf("100.64.8.%d", len(c.Networks)+2))
		next.Networks, next.Subnets = append(next.Networks, n), append(next.Subnets, aSubnet("new-"+string(n.ID), n, "10.9.0.0/24"))
	}
	return next
}

func TestWhatIsKeptIsWhatWouldBeCompiledAnew(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var kept Compiler
		c := drawnCloud(t)
		for range rapid.IntRange(1, 6).Draw(t, "changes") {
			kept.Compile(c)
			c = oneChange(t, c)
			a, b := byKey(rowsOf(kept.Compile(c))), byKey(Compile(c))
			for _, key := range unlike(a, b) {
				t.Fatalf("kept is\n%s\nwhat is true is\n%s", a[key], b[key])
			}
		}
	})
}

func TestAnOwnersRowsReferToItsOwnAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		for _, o := range new(Compiler).Compile(drawnCloud(t)) {
			own := map[string]bool{}
			for _, r := range o.Rows {
				own[r.Key] = true
			}
			for _, r := range o.Rows {
				for _, name := range tableOf(r.Model).refs {
					var keys []string
					switch v := column(r.Model, name).Interface().(type) {
					case []string:
						keys = v
					case *string:
						if v != nil {
							keys = []string{*v}
						}
					}
					for _, key := range keys {
						if !own[key] {
							t.Fatalf("%s of %s is %s, which is not of owner %q", name, r.Key, key, o.Owner)
						}
					}
				}
			}
		}
	})
}

// narrowed is what there is of some rows, as Database.existingOf reads it.
func narrowed(have existing, lists ...[]Row) existing {
	out := existing{}
	for _, rows := range lists {
		for _, r := range rows {
			name := tableOf(r.Model).name
			for uuid, row := range have[name] {
				if keyOf(row) == r.Key {
					if out[name] == nil {
						out[name] = map[string]model.Model{}
					}
					out[name][uuid] = row
				}
			}
		}
	}
	return out
}

func TestWhatChangedIsSentWithoutAllTheRest(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var k Compiler
		c := drawnCloud(t)
		inForce := k.Compile(c)
		have := apply(existing{}, makePlan(existing{}, rowsOf(inForce)))
		for range rapid.IntRange(1, 5).Draw(t, "changes") {
			c = oneChange(t, c)
			want := k.Compile(c)
			now, before := changed(inForce, want)
			have = apply(have, makePlan(narrowed(have, before, now), now))
			if whole := makePlan(have, rowsOf(want)); !whole.empty() {
				t.Fatalf("a look at all finds %d new, %d changed, %d gone", len(whole.create), len(whole.update), len(whole.remove))
			}
			inForce = want
		}
	})
}

func TestOnlyOwnersThatChangeAreSent(t *testing.T) {
	c := manyWaysOut(5, 20)
	s := aSubnet("s", c.Networks[3], "10.0.0.0/24")
	p := aPort("p", s, "10.0.0.11")
	c.Subnets, c.Ports = []*network.Subnet{s}, []*network.Port{p}
	var k Compiler
	first := k.Compile(c)
	owners := func(c Cloud) (out []resource.ID) {
		for i, o := range k.Compile(c) {
			if i >= len(first) || o != first[i] {
				out = append(out, o.Owner)
			}
		}
		return out
	}
	if got := owners(c); got != nil {
		t.Errorf("nothing changed, and %v are other rows", got)
	}
	bound := c
	bound.PortBindings = []*network.PortBinding{aBinding("b", p, "h00", 1)}
	if got := owners(bound); !slices.Equal(got, []resource.ID{c.Networks[3].ID}) {
		t.Errorf("a port is bound, and %v are other rows", got)
	}
	seen := c // a host says something that is no fact of the network
	seen.Hosts = slices.Clone(c.Hosts)
	seen.Hosts[0] = resource.Copy(c.Hosts[0])
	k.Compile(c)
	now, before := changed(k.Compile(c), k.Compile(seen))
	if len(now)+len(before) != 0 {
		t.Errorf("a host's record is written, and %d rows are sent", len(now))
	}
}

func TestTheRowsOfAnOwnerThatGoesAreRemoved(t *testing.T) {
	var k Compiler
	all := k.Compile(someCloud())
	have := apply(existing{}, makePlan(existing{}, rowsOf(all)))
	less := someCloud()
	less.Networks = less.Networks[1:]
	now, before := changed(all, new(Compiler).Compile(less))
	p := makePlan(narrowed(have, before, now), now)
	gone := map[string]bool{}
	for _, row := range p.remove {
		gone[keyOf(row)] = true
	}
	for _, key := range []string{"switch/net-blue", "router/net-blue", "dhcp/sub-blue", "mac/virga-out-net-blue"} {
		if !gone[key] {
			t.Errorf("%s stays", key)
		}
	}
	if len(gone) != 4 {
		t.Errorf("removed are %v", gone)
	}
	if len(have[nbdb.LogicalSwitchTable]) != 3 {
		t.Errorf("the plan changed what it was given")
	}
}
