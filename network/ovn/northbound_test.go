package ovn

import (
	"context"
	"slices"
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
	"github.com/virga-cloud/virga/network"
)

// taker is a database of OVN that takes all, or refuses.
type taker struct {
	took    []*Owned
	trouble error
}

func (d *taker) Apply(_ context.Context, want []*Owned) error {
	if d.trouble == nil {
		d.took = want
	}
	return d.trouble
}

// north is a Northbound with the records it reads.
type north struct {
	*testing.T
	db       *store.DB
	sink     *taker
	it       *Northbound
	seed     network.Seeder
	ports    *store.SpecWriter[network.PortSpec, network.PortStatus]
	bindings *store.SpecWriter[network.PortBindingSpec, network.PortBindingStatus]
	networks *store.StatusWriter[network.Spec, network.Status]
}

func newNorth(t *testing.T) *north {
	l := store.NewRegistry()
	db := store.NewDB(memory.New(), resource.NewCatalog(network.Networks, network.Subnets, network.Ports, network.PortBindings, network.DNSZones, network.SecurityGroups, host.Hosts, host.Livenesses))
	db.Inline = true
	w := network.NewWriters(l)
	groups := store.Specs(l, network.SecurityGroups, "api")
	n := &north{T: t, db: db, sink: new(taker), networks: w.Networks,
		seed:     network.Seeder{Networks: store.Specs(l, network.Networks, "api"), Subnets: store.Specs(l, network.Subnets, "api"), Groups: groups},
		ports:    store.Specs(l, network.Ports, "api"),
		bindings: store.Specs(l, network.PortBindings, "compute"),
	}
	n.it = NewNorthbound(db, n.sink, w)
	return n
}

func (n *north) commit(change func(*store.Batch)) {
	n.Helper()
	b := n.db.Begin()
	change(b)
	if err := n.db.Commit(n.Context(), b); err != nil {
		n.Fatal(err)
	}
}

// project makes a project's default network with a port, which a host has.
func (n *north) project(name resource.ID) (*network.Network, *network.Port) {
	n.Helper()
	n.commit(func(b *store.Batch) { n.seed.SeedDefaults(b, name) })
	net := store.Named(n.db.Snapshot(), network.Networks, name, network.DefaultNetwork)
	p := &network.Port{Meta: resource.Meta{ID: resource.NewID(), Name: "web", Project: name}, Spec: network.PortSpec{NetworkID: net.ID, Hostname: "web"}}
	if err := network.Allocate(n.db.Snapshot(), p); err != nil {
		n.Fatal(err)
	}
	n.commit(func(b *store.Batch) {
		n.ports.Create(b, p, network.Holder)
		n.bindings.Create(b, &network.PortBinding{Meta: resource.Meta{Project: name}, Spec: network.PortBindingSpec{PortID: p.ID, NetworkID: net.ID, HostID: "h1", Address: p.Status.Address}}, network.AgentHolder)
	})
	return net, p
}

// settle steps until a step writes nothing.
func (n *north) settle() {
	n.Helper()
	for range 5 {
		before := n.db.Revision()
		if err := n.it.Step(n.Context()); err != nil {
			n.Fatal(err)
		}
		if n.db.Revision() == before {
			return
		}
	}
	n.Fatal("it does not settle")
}

func TestWhatOVNHasTakenIsReportedReadyWithItsNames(t *testing.T) {
	n := newNorth(t)
	net, p := n.project("a")
	n.settle()
	s := n.db.Snapshot()
	if got := store.Find(s, network.Networks, net.ID).Status; got.Phase != network.Ready || got.SeenGeneration != net.Generation {
		t.Errorf("the network is %+v", got)
	}
	for _, subnet := range store.Referring(s, network.Subnets, net.ID) {
		if subnet.Status.Phase != network.Ready {
			t.Errorf("subnet %s is %q", subnet.Name, subnet.Status.Phase)
		}
	}
	if got := store.Find(s, network.Ports, p.ID).Status; got.Phase != network.Ready || !slices.Equal(got.HostIDs, []resource.ID{"h1"}) {
		t.Errorf("the port is %+v", got)
	}
	zones := store.Referring(s, network.DNSZones, net.ID)
	if len(zones) != 1 || len(zones[0].Spec.Hosts) != 1 || zones[0].Spec.Hosts[0] != (network.DNSZoneHost{Name: "web", Address: p.Status.Address}) {
		t.Errorf("the DNS zones are %+v", zones)
	}
	if !slices.ContainsFunc(rowsOf(n.sink.took), func(r Row) bool { return r.Key == "lsp/"+string(p.ID) }) {
		t.Error("OVN did not get the port")
	}
}

func TestOVNBeingAwayIsSaidOnTheNetworksUntilItIsBack(t *testing.T) {
	n := newNorth(t)
	net, p := n.project("a")
	n.sink.trouble = fault.New(fault.Unavailable, "connect to OVN: nobody listens")
	if err := n.it.Step(t.Context()); !fault.Is(err, fault.Unavailable) {
		t.Fatalf("the step gives %v", err)
	}
	s := n.db.Snapshot()
	if got := store.Find(s, network.Networks, net.ID).Status; len(got.Problems) != 1 || got.Phase == network.Ready {
		t.Errorf("meanwhile the network is %+v", got)
	}
	if got := store.Find(s, network.Ports, p.ID).Status; got.Phase == network.Ready {
		t.Error("a port is ready that OVN does not know")
	}
	n.sink.trouble = nil
	n.settle()
	s = n.db.Snapshot()
	if got := store.Find(s, network.Networks, net.ID).Status; len(got.Problems) != 0 || got.Phase != network.Ready {
		t.Errorf("after it the network is %+v", got)
	}
	if got := store.Find(s, network.Ports, p.ID).Status; got.Phase != network.Ready {
		t.Errorf("after it the port is %+v", got)
	}
}

func TestOnlyNetworksThatChangedAreLookedAtForTheReport(t *testing.T) {
	n := newNorth(t)
	n.project("a")
	net, p := n.project("b")
	n.settle()
	want := n.it.compiler.Compile(Read(n.db.Snapshot()))
	if open := n.it.reports.open(n.db.Now(), want); len(open) != 0 {
		t.Fatalf("with nothing changed %d owners are looked at", len(open))
	}
	n.commit(func(b *store.Batch) {
		n.ports.Set(b, store.Find(n.db.Snapshot(), network.Ports, p.ID), func(s *network.PortSpec) { s.Hostname = "www" })
	})
	want = n.it.compiler.Compile(Read(n.db.Snapshot()))
	if open := n.it.reports.open(n.db.Now(), want); len(open) != 1 || open[0].Owner != net.ID {
		t.Fatalf("one port changed and %d owners are looked at", len(open))
	}
	n.settle()
	if z := store.Referring(n.db.Snapshot(), network.DNSZones, net.ID)[0]; z.Spec.Hosts[0].Name != "www" {
		t.Errorf("the name is %q", z.Spec.Hosts[0].Name)
	}
	if open := n.it.reports.open(n.db.Now().Add(2*relook), want); len(open) != len(want) {
		t.Errorf("after a while %d owners of %d are looked at", len(open), len(want))
	}
}

func TestAReportThatFailedIsMadeAgain(t *testing.T) {
	n := newNorth(t)
	net, _ := n.project("a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	snap := n.db.Snapshot()
	if err := n.it.reportReady(ctx, snap, Read(snap), n.it.compiler.Compile(Read(snap))); err == nil {
		t.Fatal("a commit without time did not fail")
	}
	n.settle()
	if got := store.Find(n.db.Snapshot(), network.Networks, net.ID).Status; got.Phase != network.Ready {
		t.Errorf("the network is %+v", got)
	}
}
