package ovn

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
	"github.com/virga-cloud/virga/network/ovn/nbdb"
)

// drawnCloud is any cloud: networks of every kind, ports that hosts have and others, hosts alive and lost.
func drawnCloud(t *rapid.T) Cloud {
	var c Cloud
	for i := range rapid.IntRange(0, 6).Draw(t, "hosts") {
		id := resource.ID(fmt.Sprintf("h%d", i))
		c.Hosts = append(c.Hosts, &host.Host{Meta: resource.Meta{ID: id}, Status: host.Status{Address: fmt.Sprintf("192.0.2.%d:7444", i+1)}})
		state := rapid.SampledFrom([]host.LifeState{host.Alive, host.Alive, host.Lost}).Draw(t, "state")
		c.Lives = append(c.Lives, &host.Liveness{Spec: host.LivenessSpec{HostID: id}, Status: host.LivenessStatus{State: state}})
	}
	groups := []resource.ID{}
	for i := range rapid.IntRange(0, 3).Draw(t, "groups") {
		g := &network.SecurityGroup{Meta: resource.Meta{ID: resource.ID(fmt.Sprintf("g%d", i)), Name: fmt.Sprintf("group%d", i), Project: "p"}}
		for j := range rapid.IntRange(0, 3).Draw(t, "rules") {
			g.Spec.Rules = append(g.Spec.Rules, network.SecurityRule{Name: fmt.Sprintf("r%d", j),
				Direction: rapid.SampledFrom([]network.Direction{network.Ingress, network.Egress}).Draw(t, "direction"),
				Protocol:  rapid.SampledFrom([]network.Protocol{network.AnyProtocol, network.TCP}).Draw(t, "protocol"),
				GroupID:   rapid.SampledFrom([]resource.ID{"", "g0"}).Draw(t, "peer")})
		}
		g.Spec.Default()
		c.Groups, groups = append(c.Groups, g), append(groups, g.ID)
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "networks") {
		outside := rapid.SampledFrom([]network.Outside{network.NAT, network.Nowhere}).Draw(t, "outside")
		address := rapid.SampledFrom([]string{"", fmt.Sprintf("100.64.0.%d", i+2)}).Draw(t, "address")
		n := aNetwork(fmt.Sprintf("n%d", i), "p", outside, address)
		n.Spec.Domain = rapid.SampledFrom([]string{"", "example.test"}).Draw(t, "domain")
		c.Networks = append(c.Networks, n)
		for j := range rapid.IntRange(0, 3).Draw(t, "subnets") {
			s := aSubnet(fmt.Sprintf("s%d-%d", i, j), n, fmt.Sprintf("10.0.%d.0/24", j))
			c.Subnets = append(c.Subnets, s)
			for k := range rapid.IntRange(0, 4).Draw(t, "ports") {
				p := aPort(fmt.Sprintf("p%d-%d-%d", i, j, k), s, fmt.Sprintf("10.0.%d.%d", j, k+10))
				p.Spec.SendKbps = rapid.SampledFrom([]int64{0, 1000}).Draw(t, "send")
				p.Spec.ReceiveKbps = rapid.SampledFrom([]int64{0, 5000}).Draw(t, "receive")
				if len(groups) > 0 {
					p.Spec.SecurityGroupIDs = rapid.SliceOfNDistinct(rapid.SampledFrom(groups), 0, len(groups), rapid.ID[resource.ID]).Draw(t, "member of")
				}
				c.Ports = append(c.Ports, p)
				for b := range rapid.IntRange(0, 2).Draw(t, "bindings") {
					c.PortBindings = append(c.PortBindings, aBinding(fmt.Sprintf("b-%s-%d", p.ID, b), p, fmt.Sprintf("h%d", b), int64(b+1)))
				}
			}
		}
	}
	return c
}

// byKey renders each row alone, with its sets in order.
func byKey(rows []Row) map[string]string {
	out := map[string]string{}
	for _, r := range rows {
		t := tableOf(r.Model)
		for _, name := range t.columns {
			if v := column(r.Model, name); v.Kind() == reflect.Slice {
				slices.Sort(v.Interface().([]string))
			}
		}
		out[r.Key] = render([]Row{r})
	}
	return out
}

// unlike lists the keys whose rows are not the same in both.
func unlike(a, b map[string]string) (keys []string) {
	for key := range a {
		if a[key] != b[key] {
			keys = append(keys, key)
		}
	}
	for key := range b {
		if _, both := a[key]; !both {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	return keys
}

func TestRowsReferToRowsThatAreThere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		rows := Compile(drawnCloud(t))
		used, there := map[string]bool{}, map[string]table{}
		for _, r := range rows {
			there[r.Key] = tableOf(r.Model)
		}
		for _, r := range rows {
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
					if there[key].name == "" {
						t.Fatalf("%s of %s is %s, which is no row", name, r.Key, key)
					}
					used[key] = true
				}
			}
		}
		for key, table := range there {
			if !table.root && !used[key] {
				t.Fatalf("nothing refers to %s: the database would drop it, and each compare make it anew", key)
			}
		}
	})
}

func TestRowsDoNotFollowTheOrderOfRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawnCloud(t)
		other := Cloud{
			Networks: rapid.Permutation(c.Networks).Draw(t, "networks"), Subnets: rapid.Permutation(c.Subnets).Draw(t, "subnets"),
			Ports: rapid.Permutation(c.Ports).Draw(t, "ports"), PortBindings: rapid.Permutation(c.PortBindings).Draw(t, "bindings"),
			Groups: rapid.Permutation(c.Groups).Draw(t, "groups"), Hosts: rapid.Permutation(c.Hosts).Draw(t, "hosts"), Lives: rapid.Permutation(c.Lives).Draw(t, "lives"),
		}
		a, b := byKey(Compile(c)), byKey(Compile(other))
		for _, key := range unlike(a, b) {
			t.Fatalf("%s\nis in another order\n%s", a[key], b[key])
		}
	})
}

func TestANetworkThatGoesTakesItsOwnRowsAlone(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := drawnCloud(t)
		if len(c.Networks) == 0 {
			t.Skip("there is none")
		}
		gone := rapid.SampledFrom(c.Networks).Draw(t, "gone")
		less := c
		less.Networks = slices.DeleteFunc(slices.Clone(c.Networks), func(n *network.Network) bool { return n == gone })
		suffix := strings.TrimPrefix(string(gone.ID), "n")
		for _, key := range unlike(byKey(Compile(c)), byKey(Compile(less))) {
			if key == extSwitch || strings.HasPrefix(key, "addresses/members-") { // all go out by it; groups have members of all
				continue
			}
			if !strings.Contains(key, "n"+suffix) && !strings.Contains(key, "s"+suffix+"-") && !strings.Contains(key, "p"+suffix+"-") {
				t.Fatalf("network %s goes, and %s changes", gone.ID, key)
			}
		}
	})
}

func TestAnyPlanLeadsToWhatIsWanted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		before, after := Compile(drawnCloud(t)), Compile(drawnCloud(t))
		have := apply(existing{}, makePlan(existing{}, before))
		p := makePlan(have, after)
		for _, u := range p.update {
			if len(u.columns) == 0 {
				t.Fatalf("%s is written though nothing of it changes", keyOf(u.row))
			}
		}
		have = apply(have, p)
		if again := makePlan(have, after); !again.empty() {
			t.Fatalf("a second plan has %d new, %d changed, %d gone", len(again.create), len(again.update), len(again.remove))
		}
		wanted := map[string]bool{}
		for _, r := range after {
			wanted[r.Key] = true
		}
		for _, table := range tables {
			for _, row := range have[table.name] {
				if key := keyOf(row); table.root && !wanted[key] {
					t.Fatalf("%s stays, and nobody wants it", key)
				}
			}
		}
	})
}

// gatewaysOf gives the hosts of each network's way out, the first of them first.
func gatewaysOf(rows []Row) map[string][]string {
	type gateway struct {
		host     string
		priority int
	}
	found := map[string][]gateway{}
	for _, r := range rows {
		if g, is := r.Model.(*nbdb.GatewayChassis); is {
			id := strings.Split(r.Key, "/")[1]
			found[id] = append(found[id], gateway{g.ChassisName, g.Priority})
		}
	}
	out := map[string][]string{}
	for id, all := range found {
		slices.SortFunc(all, func(a, b gateway) int { return b.priority - a.priority })
		for i, g := range all {
			if i > 0 && g.priority == all[i-1].priority {
				return nil // no order
			}
			out[id] = append(out[id], g.host)
		}
	}
	return out
}

// manyWaysOut is a cloud of hosts and of networks that go out.
func manyWaysOut(hosts, networks int) (c Cloud) {
	for i := range hosts {
		c.Hosts = append(c.Hosts, &host.Host{Meta: resource.Meta{ID: resource.ID(fmt.Sprintf("h%02d", i))}})
	}
	for i := range networks {
		c.Networks = append(c.Networks, aNetwork(fmt.Sprintf("n%03d", i), "p", network.NAT, fmt.Sprintf("100.64.%d.%d", 1+i/200, 2+i%200)))
	}
	return c
}

func TestANetworkGoesOutByThreeHostsAtMost(t *testing.T) {
	for hosts, want := range map[int]int{0: 0, 1: 1, 2: 2, 3: 3, 20: 3} {
		all := gatewaysOf(Compile(manyWaysOut(hosts, 50)))
		firsts := map[string]int{}
		for id, order := range all {
			if len(order) != want {
				t.Errorf("of %d hosts network %s goes out by %v", hosts, id, order)
			}
			firsts[order[0]]++
		}
		if want > 0 && len(all) != 50 {
			t.Errorf("of %d hosts only %d networks have an order of gateways", hosts, len(all))
		}
		if hosts == 3 && len(firsts) != 3 {
			t.Errorf("all go out by %v first", slices.Collect(maps.Keys(firsts)))
		}
	}
}

func TestTheWaysOutAreSpreadOverTheHosts(t *testing.T) {
	const hosts, networks = 10, 1000
	firsts := map[string]int{}
	for _, order := range gatewaysOf(Compile(manyWaysOut(hosts, networks))) {
		firsts[order[0]]++
	}
	for _, h := range manyWaysOut(hosts, 0).Hosts {
		if n := firsts[string(h.ID)]; n < networks/hosts/2 || n > networks/hosts*3/2 {
			t.Errorf("%d of %d networks go out by %s, of %d hosts", n, networks, h.ID, hosts)
		}
	}
}

func TestAHostThatJoinsTakesOnlyWhatMovesToIt(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := manyWaysOut(rapid.IntRange(1, 12).Draw(t, "hosts"), 20)
		before := gatewaysOf(Compile(c))
		c.Hosts = append(c.Hosts, &host.Host{Meta: resource.Meta{ID: "new"}})
		after := gatewaysOf(Compile(c))
		for id, order := range after {
			others := slices.DeleteFunc(slices.Clone(order), func(h string) bool { return h == "new" })
			if !slices.Equal(others, before[id][:len(others)]) {
				t.Fatalf("network %s went out by %v, and goes out by %v", id, before[id], order)
			}
		}
	})
}

func TestNobodyGoesOutByAHostThatIsLostOrLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		c := manyWaysOut(rapid.IntRange(1, 8).Draw(t, "hosts"), 20)
		before := gatewaysOf(Compile(c))
		gone := rapid.SampledFrom(c.Hosts).Draw(t, "gone")
		if rapid.Bool().Draw(t, "lost") {
			c.Lives = append(c.Lives, &host.Liveness{Spec: host.LivenessSpec{HostID: gone.ID}, Status: host.LivenessStatus{State: host.Lost}})
		} else {
			leaves := resource.Copy(gone)
			now := leaves.Created
			leaves.Deleting = &now
			c.Hosts[slices.Index(c.Hosts, gone)] = leaves
		}
		for id, order := range gatewaysOf(Compile(c)) {
			if slices.Contains(order, string(gone.ID)) {
				t.Fatalf("network %s goes out by %v, with %s gone", id, order, gone.ID)
			}
			stay := slices.DeleteFunc(slices.Clone(before[id]), func(h string) bool { return h == string(gone.ID) })
			if !slices.Equal(stay, order[:len(stay)]) {
				t.Fatalf("network %s went out by %v, and goes out by %v", id, before[id], order)
			}
		}
	})
}

func TestTheMainHostOfAPortIsNeverTheOneThatLeaves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := aPort("p", aSubnet("s", aNetwork("n", "a", network.Nowhere, ""), "10.0.0.0/24"), "10.0.0.11")
		var bindings []*network.PortBinding
		stays, comes := map[resource.ID]bool{}, map[resource.ID]bool{}
		for i := range rapid.IntRange(0, 5).Draw(t, "bindings") {
			b := aBinding(fmt.Sprint("b", i), p, fmt.Sprint("h", i), rapid.Int64Range(1, 9).Draw(t, "epoch"))
			b.Spec.Left = rapid.Bool().Draw(t, "left")
			if rapid.Bool().Draw(t, "deleting") {
				now := b.Created
				b.Deleting = &now
			} else if stays[b.Spec.HostID] = true; !b.Spec.Left {
				comes[b.Spec.HostID] = true
			}
			bindings = append(bindings, b)
		}
		got := Binding(bindings)
		if len(got) != len(stays) {
			t.Fatalf("bound to %v, and %v stay", got, stays)
		}
		if len(comes) > 0 && !comes[got[0]] {
			t.Fatalf("bound to %v first, which the VM has left, while %v have it", got[0], comes)
		}
	})
}

func TestGuestsLearnTheirWayOutAndTheirNeighbours(t *testing.T) {
	for name, c := range map[string]struct {
		outside network.Outside
		router  string
		routes  []string // of the first subnet
	}{
		"out by NAT": {network.NAT, "10.0.0.1", []string{network.MetadataAddress + "/32,10.0.0.2", "0.0.0.0/0,10.0.0.1"}},
		"nowhere":    {network.Nowhere, "", []string{network.MetadataAddress + "/32,10.0.0.2", "10.0.1.0/24,10.0.0.1", "10.0.2.0/24,10.0.0.1"}},
	} {
		n := aNetwork("n", "p", c.outside, "100.64.0.2")
		k := Cloud{Networks: []*network.Network{n}}
		for i := range 3 {
			k.Subnets = append(k.Subnets, aSubnet(fmt.Sprint("s", i), n, fmt.Sprintf("10.0.%d.0/24", i)))
		}
		for _, r := range Compile(k) {
			options, is := r.Model.(*nbdb.DHCPOptions)
			if !is || r.Key != "dhcp/s0" {
				continue
			}
			want := "{" + strings.Join(c.routes, ", ") + "}"
			if options.Options["router"] != c.router || options.Options["classless_static_route"] != want {
				t.Errorf("%s: router %q, routes %s; want %q, %s", name, options.Options["router"], options.Options["classless_static_route"], c.router, want)
			}
			for option, value := range options.Options {
				if _, err := netip.ParseAddr(value); option == "dns_server" && err != nil {
					t.Errorf("%s: the resolver is %q", name, value)
				}
			}
		}
	}
}
