package ovn

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/ovn-kubernetes/libovsdb/model"
	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/ovn/nbdb"
)

var updateGolden = flag.Bool("update", false, "write the golden files anew")

func aNetwork(id string, project resource.ID, outside network.Outside, address string) *network.Network {
	n := &network.Network{Meta: resource.Meta{ID: resource.ID(id), Name: id, Project: project}}
	n.Spec.Outside = outside
	n.Spec.Default()
	n.Status.OutsideAddress = address
	return n
}

func aSubnet(id string, n *network.Network, cidr string) *network.Subnet {
	s := &network.Subnet{Meta: resource.Meta{ID: resource.ID(id), Name: id, Project: n.Project}, Spec: network.SubnetSpec{NetworkID: n.ID, CIDR: cidr}}
	s.Spec.Default()
	return s
}

func aPort(id string, s *network.Subnet, address string) *network.Port {
	return &network.Port{Meta: resource.Meta{ID: resource.ID(id), Name: id, Project: s.Project}, Spec: network.PortSpec{
		NetworkID: s.Spec.NetworkID, Hostname: id}, Status: network.PortStatus{SubnetID: s.ID, MAC: "52:54:00:00:00:" + address[len(address)-2:], Address: address}}
}

func aBinding(id string, p *network.Port, hostID string, epoch int64) *network.PortBinding {
	return &network.PortBinding{Meta: resource.Meta{ID: resource.ID(id)}, Spec: network.PortBindingSpec{PortID: p.ID, NetworkID: p.Spec.NetworkID, HostID: resource.ID(hostID), Epoch: epoch}}
}

func someCloud() Cloud {
	blue, red := aNetwork("net-blue", "a", network.NAT, "100.64.0.2"), aNetwork("net-red", "b", network.Nowhere, "")
	bs, rs := aSubnet("sub-blue", blue, "10.0.0.0/24"), aSubnet("sub-red", red, "10.0.0.0/24")
	rs2 := aSubnet("sub-red2", red, "10.0.1.0/24")
	p1, p2, p3 := aPort("port-one", bs, "10.0.0.11"), aPort("port-two", bs, "10.0.0.12"), aPort("port-red", rs, "10.0.0.11")
	p1.Spec.SendKbps, p1.Spec.ReceiveKbps, p2.Spec.SendKbps, p3.Spec.ReceiveKbps = 20_000, 50_000, 9, 1_000_000_000
	return Cloud{
		Networks: []*network.Network{blue, red}, Subnets: []*network.Subnet{bs, rs, rs2}, Ports: []*network.Port{p1, p2, p3},
		PortBindings: []*network.PortBinding{aBinding("binding-new", p1, "host-2", 2), aBinding("binding-old", p1, "host-1", 1), aBinding("binding-red", p3, "host-2", 1)},
		Hosts:        []*host.Host{{Meta: resource.Meta{ID: "host-1"}}, {Meta: resource.Meta{ID: "host-2"}}, {Meta: resource.Meta{ID: "host-3"}}},
		Lives:        []*host.Liveness{{Spec: host.LivenessSpec{HostID: "host-3"}, Status: host.LivenessStatus{State: host.Lost}}},
	}
}

// render writes rows as text: the columns that say something, by name.
func render(rows []Row) string {
	var out strings.Builder
	for _, r := range rows {
		t := tableOf(r.Model)
		fmt.Fprintf(&out, "%s  %s\n", t.name, r.Key)
		for _, name := range t.columns {
			v := reflect.Indirect(column(r.Model, name))
			if name == "external_ids" || !v.IsValid() || v.IsZero() || (v.Kind() == reflect.Slice || v.Kind() == reflect.Map) && v.Len() == 0 {
				continue
			}
			if v.Kind() == reflect.Map {
				for _, k := range slices.SortedFunc(slices.Values(v.MapKeys()), func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) }) {
					fmt.Fprintf(&out, "    %s:%s = %v\n", name, k, v.MapIndex(k))
				}
				continue
			}
			fmt.Fprintf(&out, "    %s = %v\n", name, v.Interface())
		}
	}
	return out.String()
}

func TestACloudCompilesToTheseRows(t *testing.T) {
	got := render(Compile(someCloud()))
	const file = "testdata/cloud.txt"
	if *updateGolden {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, _ := os.ReadFile(file)
	if got != string(want) {
		t.Errorf("the rows have changed; look at the difference and run with -update if it is meant:\n%s", got)
	}
}

func TestGuardListsTheHostsOwnAddressesOnce(t *testing.T) {
	c := Cloud{Hosts: []*host.Host{
		{Meta: resource.Meta{ID: "h2"}, Status: host.Status{Address: "192.0.2.2:7444", TunnelAddress: "192.0.2.2", Addresses: []string{"100.64.0.1", "198.51.100.2", "2001:db8::2"}}},
		{Meta: resource.Meta{ID: "h1"}, Status: host.Status{Address: "127.0.0.1:7444", TunnelAddress: "192.0.2.1"}},
		{Meta: resource.Meta{ID: "new"}},
	}}
	for _, r := range Compile(c) {
		if set, ok := r.Model.(*nbdb.AddressSet); ok {
			if want := []string{"192.0.2.1", "192.0.2.2", "198.51.100.2"}; !slices.Equal(set.Addresses, want) {
				t.Errorf("the hosts' addresses are %v, want %v", set.Addresses, want)
			}
			return
		}
	}
	t.Error("there is no set of the hosts' addresses")
}

func TestAPortWithoutAHostHasNoRow(t *testing.T) {
	c := someCloud()
	of := func(c Cloud, id string) (rows int) {
		for _, r := range Compile(c) {
			if r.Key == "lsp/"+id {
				rows++
			}
		}
		return rows
	}
	if of(c, "port-one") != 1 || of(c, "port-two") != 0 {
		t.Errorf("port-one, which a host has, has %d rows; port-two, which none has, %d", of(c, "port-one"), of(c, "port-two"))
	}
	going := c.Ports[0].Created
	c.Ports[0].Deleting = &going
	if of(c, "port-one") != 1 {
		t.Error("a port that is being deleted has lost its row before its host has let go")
	}
	stopped := len(Compile(c))
	for i := range 100 {
		c.Ports = append(c.Ports, aPort(fmt.Sprintf("port-%d", i), c.Subnets[0], fmt.Sprintf("10.0.0.1%02d", i)))
	}
	if n := len(Compile(c)); n != stopped {
		t.Errorf("a hundred ports of stopped VMs cost OVN %d rows", n-stopped)
	}
}

func TestAPortIsBoundToTheHostsOfItsPortBindings(t *testing.T) {
	p := aPort("p", aSubnet("s", aNetwork("n", "a", network.NAT, ""), "10.0.0.0/24"), "10.0.0.11")
	source, target := aBinding("x1", p, "source", 1), aBinding("x2", p, "target", 2)
	left, leaving, closed := resource.Copy(source), resource.Copy(source), resource.Copy(source)
	now := source.Created
	left.Spec.Left, leaving.Deleting, closed.Status.Phase = true, &now, network.PortBindingClosed
	for name, c := range map[string]struct {
		bindings []*network.PortBinding
		want     []resource.ID
	}{
		"none":              {nil, nil},
		"one":               {[]*network.PortBinding{source}, []resource.ID{"source"}},
		"while it moves":    {[]*network.PortBinding{target, source}, []resource.ID{"source", "target"}},
		"after the switch":  {[]*network.PortBinding{left, target}, []resource.ID{"target", "source"}},
		"the source leaves": {[]*network.PortBinding{leaving, target}, []resource.ID{"target"}},
		"the source closed": {[]*network.PortBinding{closed, target}, []resource.ID{"target"}},
		"twice on one host": {[]*network.PortBinding{source, aBinding("x3", p, "source", 3)}, []resource.ID{"source"}},
	} {
		if got := Binding(c.bindings); !slices.Equal(got, c.want) {
			t.Errorf("%s: bound to %v, not %v", name, got, c.want)
		}
	}
}

// apply does a plan to what is there, as the database would.
func apply(have existing, p plan) existing {
	out := existing{}
	for table, rows := range have {
		out[table] = maps.Clone(rows)
	}
	put := func(m model.Model) {
		name := tableOf(m).name
		if out[name] == nil {
			out[name] = map[string]model.Model{}
		}
		out[name][*uuidOf(m)] = model.Clone(m)
	}
	for _, m := range p.create {
		put(m)
	}
	for _, u := range p.update {
		put(u.row)
	}
	for _, m := range p.remove {
		delete(out[tableOf(m).name], *uuidOf(m))
	}
	return out
}

func TestAPlanThatWasDoneLeavesNothingToDo(t *testing.T) {
	want := Compile(someCloud())
	have := apply(existing{}, makePlan(existing{}, want))
	if p := makePlan(have, want); !p.empty() {
		t.Errorf("a second plan has %d new, %d changed, %d gone", len(p.create), len(p.update), len(p.remove))
	}
	less := someCloud()
	less.Ports, less.Networks = less.Ports[:1], less.Networks[:1]
	p := makePlan(have, Compile(less))
	if len(p.create) != 0 || len(p.remove) == 0 {
		t.Errorf("to have less, the plan makes %d and removes %d rows", len(p.create), len(p.remove))
	}
	have = apply(have, p)
	if p := makePlan(have, Compile(less)); !p.empty() {
		t.Errorf("a second plan has %d new, %d changed, %d gone", len(p.create), len(p.update), len(p.remove))
	}
}

func TestForeignRowsAreLeftAlone(t *testing.T) {
	want := Compile(someCloud())
	have := apply(existing{}, makePlan(existing{}, want))
	have[nbdb.LogicalSwitchTable]["theirs"] = &nbdb.LogicalSwitch{UUID: "theirs", Name: "theirs", Ports: []string{"p"}}
	have[nbdb.StaticMACBindingTable]["theirs"] = &nbdb.StaticMACBinding{UUID: "theirs", LogicalPort: "x", IP: "1.2.3.4"}
	for _, m := range have[nbdb.LogicalSwitchTable] {
		if ls := m.(*nbdb.LogicalSwitch); ls.Name == "virga-net-blue" {
			ls.Ports = append(ls.Ports, "their-port") // somebody's port on a switch of ours
		}
	}
	if p := makePlan(have, want); !p.empty() {
		t.Errorf("a plan would change foreign rows: %+v", p)
	}
}

func TestNoTwoPortsOfASwitchShareAnAddress(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c Cloud
		for i := range rapid.IntRange(1, 4).Draw(t, "networks") {
			n := aNetwork(fmt.Sprintf("n%d", i), "p", rapid.SampledFrom([]network.Outside{network.NAT, network.Nowhere}).Draw(t, "outside"), fmt.Sprintf("100.64.0.%d", i+2))
			c.Networks = append(c.Networks, n)
			for j := range rapid.IntRange(0, 3).Draw(t, "subnets") {
				s := aSubnet(fmt.Sprintf("s%d-%d", i, j), n, fmt.Sprintf("10.0.%d.0/24", j))
				c.Subnets = append(c.Subnets, s)
				for k := range rapid.IntRange(0, 5).Draw(t, "ports") {
					p := aPort(fmt.Sprintf("p%d-%d-%d", i, j, k), s, fmt.Sprintf("10.0.%d.%d", j, k+10))
					p.Status.MAC = fmt.Sprintf("52:54:00:00:%02x:%02x", j, k)
					c.Ports, c.PortBindings = append(c.Ports, p), append(c.PortBindings, aBinding("b-"+string(p.ID), p, "host", 1))
				}
			}
		}
		rows := Compile(c)
		byKey := map[string]model.Model{}
		for _, r := range rows {
			if byKey[r.Key] != nil {
				t.Fatalf("two rows have the key %s", r.Key)
			}
			byKey[r.Key] = r.Model
		}
		for _, r := range rows {
			ls, ok := r.Model.(*nbdb.LogicalSwitch)
			if !ok {
				continue
			}
			taken := map[string]string{}
			claim := func(key string, words []string) {
				for _, w := range words {
					if who := taken[w]; who != "" && w != "unknown" {
						t.Fatalf("%s and %s share %s on %s", who, key, w, ls.Name)
					}
					taken[w] = key
				}
			}
			for _, key := range ls.Ports {
				lsp := byKey[key].(*nbdb.LogicalSwitchPort)
				if lsp.Type != "router" {
					claim(key, strings.Fields(strings.Join(lsp.Addresses, " ")))
					continue
				}
				for _, r := range rows {
					if lrp, ok := r.Model.(*nbdb.LogicalRouterPort); ok && lrp.Name == lsp.Options["router-port"] {
						claim(key, []string{lrp.MAC, strings.Split(lrp.Networks[0], "/")[0]})
					}
				}
			}
		}
		have := apply(existing{}, makePlan(existing{}, rows))
		if p := makePlan(have, rows); !p.empty() {
			t.Fatal("a second plan is not empty")
		}
	})
}
