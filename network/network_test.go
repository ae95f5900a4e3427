package network_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/reconcile"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
)

type world struct {
	t        testing.TB
	db       *store.DB
	loops    []*reconcile.Loop
	seed     network.Seeder
	ports    *store.SpecWriter[network.PortSpec, network.PortStatus]
	bindings *store.SpecWriter[network.PortBindingSpec, network.PortBindingStatus]
}

func newWorld(t testing.TB) *world {
	registry := store.NewRegistry()
	catalog := resource.NewCatalog(network.Networks, network.Subnets, network.Ports, network.PortBindings, network.DNSZones, network.SecurityGroups, host.Hosts)
	db := store.NewDB(memory.New(), catalog)
	w := network.NewWriters(registry)
	out := &world{t: t, db: db, seed: network.Seeder{Networks: store.Specs(registry, network.Networks, "api"), Subnets: store.Specs(registry, network.Subnets, "api"), Groups: store.Specs(registry, network.SecurityGroups, "api")},
		ports: store.Specs(registry, network.Ports, "api"), bindings: store.Specs(registry, network.PortBindings, "compute"),
		loops: []*reconcile.Loop{network.NewNetworkLoop(db, w), network.NewSubnetLoop(db, w), network.NewPortLoop(db, w), zones(db, w)}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = db.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	if err := registry.Err(); err != nil {
		t.Fatal(err)
	}
	return out
}

// zones does what the report of OVN does besides.
func zones(db *store.DB, w *network.Writers) *reconcile.Loop {
	return &reconcile.Loop{Name: "zones", Kind: network.Networks.Kind, Step: func(ctx context.Context, id resource.ID) (reconcile.Result, error) {
		b, s := db.Begin(), db.Snapshot()
		if n := store.Find(s, network.Networks, id); n != nil && network.ZoneStale(s, n) {
			network.KeepZone(b, s, w, n)
		}
		return reconcile.Result{}, db.Commit(ctx, b)
	}}
}

func (w *world) commit(change func(*store.Batch)) {
	w.t.Helper()
	b := w.db.Begin()
	change(b)
	if err := w.db.Commit(context.Background(), b); err != nil {
		w.t.Fatal(err)
	}
}

// settle steps every loop for every record until nothing changes; it does not settle for ever.
func (w *world) settle() {
	w.t.Helper()
	for range 20 {
		before := w.db.Revision()
		for _, l := range w.loops {
			for x := range w.db.Snapshot().OfKind(l.Kind) {
				if _, err := l.Step(context.Background(), x.Head().ID); err != nil {
					w.t.Fatalf("%s: %v", l.Name, err)
				}
			}
		}
		if w.db.Revision() == before {
			return
		}
	}
	w.t.Fatal("a full resync still changes something")
}

func (w *world) defaults(project resource.ID) (*network.Network, *network.Subnet) {
	w.t.Helper()
	w.commit(func(b *store.Batch) { w.seed.SeedDefaults(b, project) })
	s := w.db.Snapshot()
	return store.Named(s, network.Networks, project, network.DefaultNetwork), store.Named(s, network.Subnets, project, network.DefaultNetwork)
}

func (w *world) port(n *network.Network, s *network.Subnet, name string) *network.Port {
	w.t.Helper()
	p := &network.Port{Meta: resource.Meta{ID: resource.NewID(), Name: name, Project: n.Project}, Spec: network.PortSpec{NetworkID: n.ID, SubnetID: s.ID, Hostname: name}}
	if err := network.Allocate(w.db.Snapshot(), p); err != nil {
		w.t.Fatal(err)
	}
	w.commit(func(b *store.Batch) { w.ports.Create(b, p, network.Holder) })
	return p
}

// unallocated is a port that has no addresses yet.
func unallocated(n *network.Network, spec network.PortSpec) *network.Port {
	spec.NetworkID = n.ID
	return &network.Port{Meta: resource.Meta{ID: resource.NewID(), Name: "x", Project: n.Project}, Spec: spec}
}

func TestTheDefaultNetworkGoesWithItsProject(t *testing.T) {
	w := newWorld(t)
	n, _ := w.defaults("a")
	kept, _ := w.defaults("b")
	own := &network.Subnet{Meta: resource.Meta{Name: "own", Project: "a"}, Spec: network.SubnetSpec{NetworkID: n.ID, CIDR: "10.99.0.0/24"}}
	w.commit(func(b *store.Batch) { w.seed.Subnets.Create(b, own, network.Holder) })
	w.settle()
	there := func(project resource.ID) (along, other int) {
		s := w.db.Snapshot()
		for _, kind := range []resource.Kind{network.Networks.Kind, network.Subnets.Kind, network.DNSZones.Kind, network.SecurityGroups.Kind} {
			for x := range s.OfKind(kind) {
				switch {
				case x.Head().Project != project:
				case w.seed.Has(s, x):
					along++
				default:
					other++
				}
			}
		}
		return along, other
	}
	if along, other := there("a"); along != 4 || other != 1 { // a network, its subnet, its DNS zone and its security group; what was made later
		t.Errorf("%d records go along, %d do not", along, other)
	}
	w.commit(func(b *store.Batch) { w.seed.Remove(b, w.db.Snapshot(), "a") })
	w.settle()
	if along, other := there("a"); along+other != 0 {
		t.Errorf("%d and %d records are left", along, other)
	}
	if along, _ := there("b"); along != 4 || store.Find(w.db.Snapshot(), network.Networks, kept.ID).Deleting != nil {
		t.Errorf("the other project has %d records", along)
	}
	before := w.db.Revision()
	w.commit(func(b *store.Batch) { w.seed.Remove(b, w.db.Snapshot(), "a") })
	if w.db.Revision() != before {
		t.Error("removing what is gone changed something")
	}
}

func TestANetworkGetsAnOutsideAddressAndADNSZone(t *testing.T) {
	w := newWorld(t)
	n, s := w.defaults("a")
	other, _ := w.defaults("b")
	p := w.port(n, s, "web")
	hostID := resource.NewID()
	w.commit(func(b *store.Batch) {
		w.bindings.Create(b, &network.PortBinding{Meta: resource.Meta{Project: "a"}, Spec: network.PortBindingSpec{PortID: p.ID, NetworkID: n.ID, HostID: hostID}}, network.AgentHolder)
	})
	w.settle()
	snap := w.db.Snapshot()
	a, b := store.Find(snap, network.Networks, n.ID).Status.OutsideAddress, store.Find(snap, network.Networks, other.ID).Status.OutsideAddress
	if a == "" || b == "" || a == b || a == network.OutsideGateway || b == network.OutsideGateway {
		t.Errorf("outside addresses %q and %q", a, b)
	}
	zones := store.Referring(snap, network.DNSZones, n.ID)
	if len(zones) != 1 {
		t.Fatalf("%d DNS zones, not 1", len(zones))
	}
	z := zones[0].Spec
	if !slices.Equal(z.Hosts, []network.DNSZoneHost{{Name: "web", Address: p.Status.Address}}) || !slices.Equal(z.HostIDs, []resource.ID{hostID}) || len(z.Subnets) != 1 || z.Subnets[0].Service != "10.20.0.2/20" || z.Domain != "internal" {
		t.Errorf("the DNS zone is %+v", z)
	}
	if free := store.Find(snap, network.Subnets, s.ID).Status.FreeAddresses; free != 4096-4-1 {
		t.Errorf("%d addresses are free, not %d", free, 4096-4-1)
	}
}

func TestADeletedNetworkGoesFromTheInsideOut(t *testing.T) {
	w := newWorld(t)
	n, s := w.defaults("a")
	p := w.port(n, s, "web")
	w.settle()
	binding := &network.PortBinding{Meta: resource.Meta{Project: "a"}, Spec: network.PortBindingSpec{PortID: p.ID, NetworkID: n.ID, HostID: "h"}}
	w.commit(func(b *store.Batch) { w.bindings.Create(b, binding, network.AgentHolder) })
	snap := w.db.Snapshot()
	w.commit(func(b *store.Batch) {
		w.ports.Delete(b, store.Find(snap, network.Ports, p.ID))
		w.seed.Subnets.Delete(b, store.Find(snap, network.Subnets, s.ID))
		w.seed.Networks.Delete(b, store.Find(snap, network.Networks, n.ID))
	})
	w.settle()
	if snap = w.db.Snapshot(); store.Find(snap, network.Ports, p.ID) == nil || store.Find(snap, network.Networks, n.ID) == nil {
		t.Fatal("a port with a port binding went, or its network")
	}
	w.commit(func(b *store.Batch) { // the agent lets go
		x := store.Find(w.db.Snapshot(), network.PortBindings, binding.ID)
		store.Release(b, x, network.AgentHolder)
		w.bindings.Delete(b, x)
	})
	w.settle()
	entries, _, err := w.db.Store().List(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Key.Kind != network.SecurityGroups.Kind && e.Key.ID != "securitygroup:"+network.DefaultGroup { // it is the project's
			t.Errorf("%s is left", e.Key)
		}
	}
}

func TestAnAddressIsNeverGivenTwice(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		w := newWorld(t)
		n := &network.Network{Meta: resource.Meta{ID: resource.NewID(), Name: "n", Project: "a"}}
		n.Spec.Default()
		s := &network.Subnet{Meta: resource.Meta{ID: resource.NewID(), Name: "s", Project: "a"}, Spec: network.SubnetSpec{NetworkID: n.ID, CIDR: rapid.SampledFrom([]string{"10.1.0.0/29", "10.1.0.0/28"}).Draw(r, "cidr")}}
		s.Spec.Default()
		w.commit(func(b *store.Batch) {
			w.seed.Networks.Create(b, n, network.Holder)
			w.seed.Subnets.Create(b, s, network.Holder)
		})
		taken, free := map[string]bool{}, map[string]int{"10.1.0.0/29": 4, "10.1.0.0/28": 12}[s.Spec.CIDR]
		for range free {
			p := w.port(n, s, fmt.Sprintf("p%d", len(taken)))
			if taken[p.Status.Address] || p.Status.Address == s.Spec.Gateway || p.Status.Address == s.Spec.Service {
				r.Fatalf("%s is given twice", p.Status.Address)
			}
			taken[p.Status.Address] = true
		}
		err := network.Allocate(w.db.Snapshot(), unallocated(n, network.PortSpec{SubnetID: s.ID}))
		if !fault.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), fmt.Sprintf("all %d", free)) {
			r.Fatalf("a full subnet says %v", err)
		}
	})
}

// TestAddressesStayLowAndNearlyAlwaysDiffer: those that are made at one moment see the same picture.
func TestAddressesStayLowAndNearlyAlwaysDiffer(t *testing.T) {
	w := newWorld(t)
	n, s := w.defaults("a")
	const ports, lowest = 32, 1024
	drawn := map[string]int{}
	for range ports {
		p := &network.Port{Meta: resource.Meta{ID: resource.NewID(), Project: n.Project}, Spec: network.PortSpec{NetworkID: n.ID}}
		if err := network.Allocate(w.db.Snapshot(), p); err != nil {
			t.Fatal(err)
		}
		address := p.Status.Address
		drawn[address]++
		a, first := netip.MustParseAddr(address).As4(), netip.MustParsePrefix(s.Spec.CIDR).Addr().As4()
		if at := binary.BigEndian.Uint32(a[:]) - binary.BigEndian.Uint32(first[:]); at > lowest {
			t.Errorf("%s is the %dth address of %s", address, at, s.Spec.CIDR)
		}
	}
	if len(drawn) < ports*3/4 {
		t.Errorf("%d ports drew %d addresses", ports, len(drawn))
	}
}

func TestARequestedAddressIsRefusedWithTheReason(t *testing.T) {
	w := newWorld(t)
	n, s := w.defaults("a")
	p := w.port(n, s, "web")
	for address, want := range map[string]struct {
		kind fault.Kind
		word string
	}{
		"10.20.0.1":      {fault.Exists, "gateway"},
		"10.20.0.2":      {fault.Exists, "DNS"},
		"10.20.0.0":      {fault.Invalid, "range itself"},
		"10.20.15.255":   {fault.Invalid, "broadcast"},
		"10.20.16.1":     {fault.Invalid, "outside"},
		"fe80::1":        {fault.Invalid, "IPv4"},
		p.Status.Address: {fault.Exists, "port web has it"},
	} {
		err := network.Allocate(w.db.Snapshot(), unallocated(n, network.PortSpec{SubnetID: s.ID, Address: address}))
		if !fault.Is(err, want.kind) || !strings.Contains(err.Error(), want.word) {
			t.Errorf("%s: %v", address, err)
		}
	}
	more := &network.Subnet{Meta: resource.Meta{ID: resource.NewID(), Name: "more", Project: "a"}, Spec: network.SubnetSpec{NetworkID: n.ID, CIDR: "10.21.0.0/24"}}
	more.Spec.Default()
	w.commit(func(b *store.Batch) { w.seed.Subnets.Create(b, more, network.Holder) })
	for address, word := range map[string]string{p.Status.Address: "port web has it", "10.21.0.1": "gateway", "10.22.0.1": "no subnet of network default has it"} {
		if err := network.Allocate(w.db.Snapshot(), unallocated(n, network.PortSpec{Address: address})); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s in any subnet: %v", address, err)
		}
	}
	second := unallocated(n, network.PortSpec{Address: "10.21.0.9"})
	if err := network.Allocate(w.db.Snapshot(), second); err != nil || second.Status.SubnetID != more.ID {
		t.Errorf("an address finds its subnet: %s, %v", second.Status.SubnetID, err)
	}
	if err := network.Allocate(w.db.Snapshot(), unallocated(n, network.PortSpec{MAC: p.Status.MAC})); !fault.Is(err, fault.Exists) {
		t.Errorf("a MAC that is taken: %v", err)
	}
	// Two that did not see each other: the second commit fails as a whole.
	twin := &network.Port{Meta: resource.Meta{ID: resource.NewID(), Name: "twin", Project: "a"}, Spec: p.Spec, Status: p.Status}
	b := w.db.Begin()
	w.ports.Create(b, twin, network.Holder)
	if err := w.db.Commit(context.Background(), b); !fault.Is(err, fault.Exists) {
		t.Errorf("a claimed address was claimed again: %v", err)
	}
}

func TestSpecsAreCheckedWordByWord(t *testing.T) {
	good := func() network.SubnetSpec { return network.SubnetSpec{NetworkID: "n", CIDR: "10.1.0.7/24"} }
	for name, c := range map[string]struct {
		change func(*network.SubnetSpec)
		field  string
	}{
		"good":              {func(*network.SubnetSpec) {}, ""},
		"no range":          {func(s *network.SubnetSpec) { s.CIDR = "10.1.0.0" }, "spec.cidr"},
		"IPv6":              {func(s *network.SubnetSpec) { s.CIDR = "fd00::/64" }, "spec.cidr"},
		"too small":         {func(s *network.SubnetSpec) { s.CIDR = "10.1.0.0/31" }, "spec.cidr"},
		"metadata's":        {func(s *network.SubnetSpec) { s.CIDR = "169.254.0.0/16" }, "spec.cidr"},
		"the way out's":     {func(s *network.SubnetSpec) { s.CIDR = "100.64.3.0/24" }, "spec.cidr"},
		"gateway elsewhere": {func(s *network.SubnetSpec) { s.Gateway = "10.2.0.1" }, "spec.gateway"},
		"service is both":   {func(s *network.SubnetSpec) { s.Service = "10.1.0.1" }, "spec.service"},
		"gateway is second": {func(s *network.SubnetSpec) { s.Gateway = "10.1.0.2" }, ""},
		"no resolver":       {func(s *network.SubnetSpec) { s.DNS = []string{"one.one"} }, "spec.dns[0]"},
	} {
		s := good()
		c.change(&s)
		s.Default()
		got := ""
		if wrong := s.Check(); len(wrong) > 0 {
			got = wrong[0].Field
		}
		if got != c.field {
			t.Errorf("%s: the first wrong field is %q, not %q", name, got, c.field)
		}
	}
}

func TestADomainThatMeansSomethingElseIsRefused(t *testing.T) {
	for domain, good := range map[string]bool{"internal": true, "corp.example": true, "home.arpa": true, "corp.local": true, "mylocalhost": true,
		"localhost": false, "a.localhost": false, "invalid": false, "onion": false, "10.in-addr.arpa": false, "ip6.arpa": false, "Corp": false, "a..b": false, "a.": false} {
		s := network.Spec{Domain: domain}
		s.Default()
		if wrong := s.Check(); (len(wrong) == 0) != good {
			t.Errorf("%s: %+v", domain, wrong)
		}
	}
}
