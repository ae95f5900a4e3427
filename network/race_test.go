package network

import (
	"testing"

	"github.com/virga-cloud/virga/engine/fault"
	"github.com/virga-cloud/virga/engine/httpapi"
	"github.com/virga-cloud/virga/engine/resource"
	"github.com/virga-cloud/virga/engine/store"
	"github.com/virga-cloud/virga/engine/store/memory"
	"github.com/virga-cloud/virga/host"
)

// moment is what the API sees of one network, and the requests of one moment all do.
type moment struct {
	*testing.T
	db  *store.DB
	api APIRights
	net *Network
}

func newMoment(t *testing.T) *moment {
	l := store.NewRegistry()
	m := &moment{T: t, api: APIRights{Networks: store.Specs(l, Networks, "api"), Subnets: store.Specs(l, Subnets, "api"), Ports: store.Specs(l, Ports, "api"), Groups: store.Specs(l, SecurityGroups, "api")}}
	m.db = store.NewDB(memory.New(), resource.NewCatalog(Networks, Subnets, Ports, PortBindings, DNSZones, SecurityGroups, host.Hosts))
	m.db.Inline = true
	n := &Network{Meta: resource.Meta{Name: "lan", Project: "p"}}
	n.Spec.Default()
	c := m.call()
	m.api.Networks.Create(c.Batch, n, Holder)
	if err := m.db.Commit(t.Context(), c.Batch); err != nil {
		t.Fatal(err)
	}
	m.net = store.Find(m.db.Snapshot(), Networks, n.ID)
	return m
}

func (m *moment) call() *httpapi.Call {
	return &httpapi.Call{Project: "p", DB: m.db, Snapshot: m.db.Snapshot(), Batch: m.db.Begin()}
}

func (m *moment) subnet(name, cidr string) *httpapi.Call {
	m.Helper()
	c := m.call()
	s := &Subnet{Meta: resource.Meta{Name: name, Project: "p"}, Spec: SubnetSpec{NetworkID: m.net.ID, CIDR: cidr}}
	s.Spec.Default()
	if err := createSubnet(m.Context(), c, s); err != nil {
		m.Fatal(err)
	}
	m.api.Subnets.Create(c.Batch, s, Holder)
	return c
}

func (m *moment) commit(c *httpapi.Call) error { return m.db.Commit(m.Context(), c.Batch) }

func TestSubnetsOfOneMomentDoNotOverlap(t *testing.T) {
	m := newMoment(t)
	first, second := m.subnet("one", "10.0.0.0/24"), m.subnet("two", "10.0.0.128/25")
	if err := m.commit(first); err != nil {
		t.Fatal(err)
	}
	if err := m.commit(second); !fault.Is(err, fault.Conflict) {
		t.Fatalf("a subnet that was judged before the other was there gives %v", err)
	}
	if err := CheckSubnet(m.db.Snapshot(), &Subnet{Meta: resource.Meta{Name: "two", Project: "p"}, Spec: SubnetSpec{NetworkID: m.net.ID, CIDR: "10.0.0.128/25"}}); !fault.Is(err, fault.Exists) {
		t.Errorf("judged again it gives %v", err)
	}
}

func TestANetworkThatGetsAPortIsNotDeletedAtThatMoment(t *testing.T) {
	m := newMoment(t)
	if err := m.commit(m.subnet("one", "10.0.0.0/24")); err != nil {
		t.Fatal(err)
	}
	port := func(name string) (*httpapi.Call, error) {
		c := m.call()
		p := &Port{Meta: resource.Meta{ID: resource.NewID(), Name: name, Project: "p"}, Spec: PortSpec{NetworkID: m.net.ID}}
		err := createPort(t.Context(), c, p)
		m.api.Ports.Create(c.Batch, p, Holder)
		return c, err
	}
	deletion := m.call()
	if err := m.api.deleteNetwork(t.Context(), deletion, m.net); err != nil {
		t.Fatal(err)
	}
	m.api.Networks.Delete(deletion.Batch, m.net)
	before, err := port("before")
	if err != nil {
		t.Fatal(err)
	}
	late, err := port("late")
	if err != nil {
		t.Fatal(err)
	}
	if err := m.commit(before); err != nil {
		t.Fatal(err)
	}
	if err := m.commit(deletion); !fault.Is(err, fault.Precondition) {
		t.Fatalf("a deletion that was judged before the port was there gives %v", err)
	}
	again := m.call()
	p := store.Named(again.Snapshot, Ports, "p", "before")
	m.api.Ports.Delete(again.Batch, p)
	store.Release(again.Batch, p, Holder)
	m.api.Networks.Delete(again.Batch, m.net)
	if err := m.commit(again); err != nil {
		t.Fatal(err)
	}
	if err := m.commit(late); !fault.Is(err, fault.Precondition) {
		t.Fatalf("a port that was judged before the deletion gives %v", err)
	}
}
